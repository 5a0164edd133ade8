"""Constants that a model makes of its parameters and buffers: computed when a value is asked for, which is rare.

Swin's attention looks up in a parameter how much each pair of positions counts, and adds that to activations, which
have no values either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

import torch

from costmodel.graph import TensorSpec
from costmodel.records import dataclass
from costmodel.torch_private import without_modes
from costmodel.trace.executor import leaves, map_leaves

_LONGEST = 50
"""The most ops that wait for each other: computing one is a recursion."""


@dataclass(eq=False, slots=True)
class _Deferred:
    """A call of an op, one result of which is a constant.

    It holds no tensor that an op of the trace has made, as the model decides how long those live.
    """

    op: Callable[..., Any]
    args: Sequence[Any]
    """With a ``_Deferred`` in the place of each tensor that is one."""
    kwargs: Mapping[str, Any]
    position: int | None
    """Which of the results, of an op that returns several."""
    length: int
    """How many ops have to be computed at most, one after the other."""
    computed: torch.Tensor | None = field(default=None, init=False)

    def value(self) -> torch.Tensor:
        """The constant."""
        if self.computed is None:
            with without_modes(), torch.no_grad():
                result = self.op(*_values(self.args), **_values(dict(self.kwargs)))
            self.computed = result if self.position is None else result[self.position]
            self.args, self.kwargs = (), {}
        return self.computed


class Constants:
    """The constants of one trace that are meta tensors, and how each is computed."""

    def __init__(self, specs: Mapping[int, TensorSpec], storages: Sequence[TensorSpec]) -> None:
        """``specs`` has the record of every live tensor, by ``id()``; ``storages`` the first of each storage."""
        self._specs, self._storages = specs, storages
        self._by_spec: dict[TensorSpec, _Deferred] = {}

    def __bool__(self) -> bool:
        return bool(self._by_spec)

    def __contains__(self, tensor: torch.Tensor) -> bool:
        return self._of(tensor) is not None

    def may_wait(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether nothing but parameters, buffers and constants that wait themselves decides what an op returns."""
        length = 0
        for tensor in leaves((args, kwargs)):
            known, deferred = self._specs.get(id(tensor)), self._of(tensor)
            if known is None or (deferred is None and known.role not in ("parameter", "buffer")):
                return False  # a number or an array of the user's, whose memory may change
            if deferred is None and self._is_detached(known):
                return False  # as ``weight.data``: what is made of it may become the data of a real tensor
            if known.sparse is not None or tensor.is_quantized:
                return False
            length = max(length, 1 if deferred is None else 1 + deferred.length)
        return 0 < length <= _LONGEST

    def _is_detached(self, known: TensorSpec) -> bool:
        """Whether a tensor is another one on the memory of a whole parameter or buffer."""
        whole = self._storages[known.storage]
        return known is not whole and (known.shape, known.strides) == (whole.shape, whole.strides)

    def add(self, spec: TensorSpec, op: Any, args: Any, kwargs: Any, position: int | None = None) -> None:
        """Notes how the tensor of a record is computed."""
        length = max(1 if (d := self._of(tensor)) is None else 1 + d.length for tensor in leaves((args, kwargs)))

        def waiting(value: Any) -> Any:
            return map_leaves(value, lambda tensor: self._of(tensor) or tensor)

        self._by_spec[spec] = _Deferred(op, waiting(args), waiting(dict(kwargs)), position, length)

    def add_views(self, views: Sequence[TensorSpec], of: torch.Tensor, op: Any, args: Any, kwargs: Any) -> None:
        """Notes how views are computed, where they are views of a tensor that is deferred."""
        if of in self:
            for i, spec in enumerate(views):
                self.add(spec, op, args, kwargs, i if len(views) > 1 else None)

    def computed(self, value: Any) -> Any:
        """Arguments of an op with the values in the place of the constants."""
        return map_leaves(value, lambda tensor: tensor if (d := self._of(tensor)) is None else d.value())

    def compute_all(self) -> None:
        """Computes all that there are: before something is written that they may be made of."""
        for deferred in self._by_spec.values():
            deferred.value()

    def clear(self) -> None:
        """Lets go of every tensor."""
        self._by_spec.clear()

    def _of(self, tensor: torch.Tensor) -> _Deferred | None:
        spec = self._specs.get(id(tensor))
        return None if spec is None else self._by_spec.get(spec)


def _values(value: Any) -> Any:
    """Arguments with every ``_Deferred`` computed."""
    if isinstance(value, _Deferred):
        return value.value()
    if isinstance(value, (tuple, list)):
        return type(value)(map(_values, value))
    if isinstance(value, dict):
        return {key: _values(item) for key, item in value.items()}
    return value
