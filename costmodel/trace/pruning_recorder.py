"""Which elements of a pruned weight are zero where it is used: masks are followed through the ops that take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from costmodel.graph import TensorSpec
from costmodel.torch_private import HigherOrderOperator, OpOverload, without_modes
from costmodel.trace.executor import Executor, leaves
from costmodel.trace.pruned import Pruning, zeros_of
from costmodel.trace.recorder import Recorder
from costmodel.trace.signature import signature
from costmodel.trace.tensor_table import TensorTable
from costmodel.trace.traced_tensor import is_on_meta


class PruningRecorder(Recorder):
    """A recorder that notes which elements are zero of tensors that are made of parameters and masks alone."""

    def __init__(
        self, table: TensorTable, executor: Executor, pruning: Pruning, *, applies_autocast: bool = True
    ) -> None:
        super().__init__(table, executor, applies_autocast=applies_autocast)
        table.may_defer = False  # masks are followed by their values
        self._masks = pruning.masks
        """Masks, and what is made of them alone."""
        self._weights: dict[TensorSpec, torch.Tensor | None] = {}
        """What is made of parameters and masks, and its mask, where it has zeros."""
        self._computed = pruning.computed
        self._kept: dict[int, torch.Tensor] = {}
        """By a parameter's storage, the elements that some use of it leaves, in the order of memory."""
        self._whole: set[int] = set()
        """The storages of parameters that some op takes unmasked."""
        self._constants: set[TensorSpec] = set()
        """What is made of nothing that the model's input has to do with."""

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs or {})
        tensors = list(leaves((args, kwargs or {})))
        for tensor in tensors:
            if id(tensor) in self._computed and (spec := self._spec(tensor)) is not None:
                self._note(spec, self._computed[id(tensor)][1])
        given = [spec for tensor in tensors if (spec := self._spec(tensor)) is not None]
        weights = [spec for spec in given if spec.role == "parameter" or spec in self._weights]
        if all(map(self._is_fixed, given)):
            self._constants.update(spec for tensor in leaves(result) if (spec := self._spec(tensor)) is not None)
        if weights or any(spec in self._masks for spec in given):
            with without_modes():
                self._follow(func, args, kwargs or {}, result, given, weights)
        return result

    def _follow(
        self,
        func: OpOverload | HigherOrderOperator,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        result: Any,
        given: Sequence[TensorSpec],
        weights: Sequence[TensorSpec],
    ) -> None:
        if isinstance(func, HigherOrderOperator):
            return
        made = [spec for tensor in leaves(result) if (spec := self._spec(tensor)) is not None]
        if not all(map(self._is_fixed, given)):  # an op on activations uses the weights
            self._constants.difference_update(made)
            self._whole.update(spec.storage for spec in weights if spec.role == "parameter")
            for spec in weights:
                if spec.role == "parameter":
                    self._table.log.storage_specs[spec.storage].zeros = 0
            found: list[torch.Tensor | None] = [None] * len(made)
            weights = ()
        elif str(func) in _FOLLOWED:
            found = [_FOLLOWED[str(func)](self._mask, *args)]
        elif signature(func).is_view and self._mask(args[0]) is not None:
            found = list(leaves(func(self._mask(args[0]), *args[1:], **kwargs)))
        else:
            if not signature(func).is_inplace:  # what a composite op made was noted as its last part ran
                made = [spec for spec in made if spec not in self._weights and spec not in self._masks]
            found = [None] * len(made)
        for spec, mask in zip(made, found, strict=True):
            if weights:
                self._note(spec, mask)
            elif mask is None:
                self._masks.pop(spec, None)
                self._weights.pop(spec, None)
                spec.zeros = 0 if spec.role != "parameter" else spec.zeros
            else:
                self._masks[spec] = mask.expand(spec.shape)
        if str(func) in _PRODUCTS and found and found[0] is not None:
            for spec in weights:
                if spec.role == "parameter" and spec.shape == made[0].shape:
                    self._keep(spec, found[0].expand(spec.shape))

    def _is_fixed(self, spec: TensorSpec) -> bool:
        """Whether a tensor is the same whatever the model's input is."""
        if spec in self._constants or spec in self._weights or spec in self._masks:
            return True
        return spec.role != "input" and self._table.log.allocated_at[spec.storage] < 0

    def _spec(self, tensor: Any) -> TensorSpec | None:
        return self._table.specs.get(id(tensor))

    def _mask(self, tensor: Any) -> torch.Tensor | None:
        spec = self._spec(tensor)
        return None if spec is None else self._weights.get(spec, self._masks.get(spec))

    def _note(self, spec: TensorSpec, mask: torch.Tensor | None) -> None:
        if spec.role == "parameter":  # a view of one
            return
        self._weights[spec] = mask = None if mask is None else mask.expand(spec.shape)
        spec.zeros = 0 if mask is None else zeros_of(mask)

    def _keep(self, spec: TensorSpec, mask: torch.Tensor) -> None:
        """A parameter, or a view of it all, that is multiplied by a mask: what any use of it leaves counts."""
        whole = self._table.log.storage_specs[spec.storage]
        if spec.storage in self._whole or spec.size != whole.size:
            return
        kept = torch.zeros(whole.size, dtype=torch.bool)
        kept.as_strided(spec.shape, spec.full_strides).copy_(mask)
        if spec.storage in self._kept:
            kept |= self._kept[spec.storage]
        self._kept[spec.storage] = kept
        whole.zeros = zeros_of(kept)


FindMask = Callable[[Any], torch.Tensor | None]


def _product(find: FindMask, left: Any, right: Any, *_: Any) -> torch.Tensor | None:
    """Zero where either factor is."""
    masks = [mask for mask in (find(left), find(right)) if mask is not None]
    if len(masks) == 2:
        return masks[0] & masks[1]
    return masks[0] if masks else None


def _first(find: FindMask, tensor: Any, *_: Any) -> torch.Tensor | None:
    """Zero where the first argument is."""
    return find(tensor)


def _chosen(find: FindMask, condition: Any, chosen: Any, otherwise: Any) -> torch.Tensor | None:
    """The weight where a mask says so, and else 0."""
    mask, weight = find(condition), find(chosen)
    is_zero = otherwise.numel() == 1 and not is_on_meta(otherwise) and not bool(otherwise)
    if mask is None or not is_zero:
        return None
    return mask if weight is None else mask & weight


def _filled(find: FindMask, tensor: Any, condition: Any, value: Any) -> torch.Tensor | None:
    """0 where a mask says so."""
    mask, weight = find(condition), find(tensor)
    if mask is None or value != 0:
        return None
    return ~mask if weight is None else ~mask & weight


def _inverted(find: FindMask, tensor: torch.Tensor) -> torch.Tensor | None:
    """A mask of what another one leaves."""
    mask = find(tensor)
    return None if mask is None or tensor.dtype is not torch.bool else ~mask


def _joined(find: FindMask, tensors: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """Tensors one after the other, of which some have zeros."""
    masks = [find(t) for t in tensors]
    whole = [
        torch.ones(t.shape, dtype=torch.bool) if m is None else m.cpu() for m, t in zip(masks, tensors, strict=True)
    ]
    return torch.cat(whole, dim)


_PRODUCTS = frozenset({"aten.mul.Tensor", "aten.where.self", "aten.masked_fill.Scalar"})
_FOLLOWED: Mapping[str, Callable[..., torch.Tensor | None]] = {
    "aten.mul.Tensor": _product, "aten.mul_.Tensor": _product, "aten.div.Tensor": _first, "aten.div_.Tensor": _first,
    "aten.where.self": _chosen, "aten.masked_fill.Scalar": _filled, "aten.cat.default": _joined,
    "aten.neg.default": _first, "aten.clone.default": _first, "aten._to_copy.default": _first,
    "aten.lift_fresh.default": _first, "aten.bitwise_not.default": _inverted, "aten.logical_not.default": _inverted,
}  # fmt: skip
"""Ops of whose result it is known which elements are zero, besides views."""
