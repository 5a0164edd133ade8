"""Pruned weights: how many of their elements masks make zero, wherever the forward takes them.

Masks are buffers of zeros and ones, which a model multiplies its parameters by: those of ``torch.nn.utils.prune``, of
parametrisations, and of layers of one's own. What is pruned is found by following masks through the ops that they and
the weights go through. Zeros of a weight's own, which stay when masks are removed, are values like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from costmodel.graph import TensorSpec
from costmodel.torch_private import HigherOrderOperator, OpOverload, registered_on, without_modes
from costmodel.trace.executor import Executor, leaves
from costmodel.trace.recorder import Recorder
from costmodel.trace.signature import signature
from costmodel.trace.tensor_table import TensorTable
from costmodel.trace.traced_tensor import is_on_meta

_PARAMETER, _MASK = "_orig", "_mask"
"""What torch appends to a parameter's name to call the dense parameter, and the buffer that it is multiplied by."""

Masks = dict[TensorSpec, torch.Tensor]
"""By a tensor's record, which of its elements may be other than zero."""


def masks_of(modules: Iterable[nn.Module], table: TensorTable) -> Masks:
    """The masks that a model has. Parameters that ``torch.nn.utils.prune`` masks get their zeros at once."""
    masks: Masks = {}
    infos = table.log.modules_by_id
    if any(len(buffer.shape) > 1 for info in infos.values() for buffer in info.buffers):
        shapes = {parameter.shape for info in infos.values() for parameter in info.parameters}
        for module in modules:
            for buffer in registered_on(module)[1].values():
                if buffer is not None and buffer.dim() > 1 and _fits_any(tuple(buffer.shape), shapes):
                    _add(masks, table.spec(buffer), buffer)
    if "torch.nn.utils.prune" in sys.modules:
        for module in modules:
            _add_pruned(masks, module, table)
    return masks


def _add_pruned(masks: Masks, module: nn.Module, table: TensorTable) -> None:
    parameters, buffers, _ = registered_on(module)
    for name, parameter in parameters.items():
        if parameter is None or not name.endswith(_PARAMETER):
            continue
        mask = buffers.get(name.removesuffix(_PARAMETER) + _MASK)
        if mask is not None and mask.shape == parameter.shape:
            _add(masks, table.spec(mask), mask)
            if table.spec(mask) in masks:
                table.spec(parameter).zeros = _zeros(masks[table.spec(mask)])


def _fits_any(shape: tuple[int, ...], of_parameters: Iterable[tuple[int, ...]]) -> bool:
    """Whether a mask of this shape covers a parameter, rows or channels of it at once among others."""
    return any(
        len(shape) == len(whole) and all(n in (1, m) for n, m in zip(shape, whole, strict=True))
        for whole in of_parameters
    )


def _add(masks: Masks, spec: TensorSpec, buffer: torch.Tensor) -> None:
    if spec in masks or buffer.is_meta or buffer.is_complex() or buffer.layout is not torch.strided:
        return
    with without_modes():
        nonzero = buffer != 0
        if not bool(nonzero.all()) and bool((buffer.to(torch.float32) == nonzero).all()):
            masks[spec] = nonzero


def _zeros(mask: torch.Tensor) -> int:
    return mask.numel() - int(mask.count_nonzero())


class PruningRecorder(Recorder):
    """A recorder that notes of every tensor made of a mask, or of a masked weight, how many elements are zero."""

    def __init__(self, table: TensorTable, executor: Executor, masks: Masks) -> None:
        super().__init__(table, executor)
        self._masks = masks

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs or {})
        if any(self._mask(tensor) is not None for tensor in leaves(args)):
            with without_modes():
                self._follow(func, args, kwargs or {}, result)
        return result

    def _follow(
        self, func: OpOverload | HigherOrderOperator, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        follow = _FOLLOWED.get(str(func))
        if follow is not None:
            self._note(follow(self._mask, *args), result)
            if str(func) in _PRODUCTS:
                self._note_pruned(args, result)
        elif isinstance(func, HigherOrderOperator):
            return
        elif signature(func).is_view:
            views = func(self._mask(args[0]), *args[1:], **kwargs)
            for mask, tensor in zip(leaves(views), leaves(result), strict=True):
                self._note(mask, tensor)
        elif signature(func).is_inplace:
            self._note(None, result)

    def _mask(self, tensor: Any) -> torch.Tensor | None:
        spec = self._table.specs.get(id(tensor))
        return None if spec is None else self._masks.get(spec)

    def _note(self, mask: torch.Tensor | None, tensor: Any) -> None:
        spec = self._table.specs.get(id(tensor))
        if spec is None:
            return
        if mask is None:
            self._masks.pop(spec, None)
            spec.zeros = 0
        else:
            mask = self._masks[spec] = mask.expand(spec.shape)
            spec.zeros = _zeros(mask)

    def _note_pruned(self, args: Sequence[Any], result: Any) -> None:
        """A parameter that is multiplied by a mask is pruned by it."""
        masked = self._table.specs[id(result)]
        for tensor in leaves(args):
            spec = self._table.specs.get(id(tensor))
            if spec is not None and spec.role == "parameter" and spec.shape == masked.shape:
                spec.zeros = masked.zeros


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
