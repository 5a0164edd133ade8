"""Records a training step, as it runs without a dispatch mode.

torch takes tensors on meta, and all tensors under a dispatch mode, for such of a subclass of its own
(``at::isTensorSubclassLike``), to which nothing is done in place that can be done otherwise. For others

- autograd's engine adds a gradient to the first in place, where it holds the only reference to that
  (``can_accumulate_inplace`` in torch/csrc/autograd/input_buffer.cpp);
- formulas of gradients write into the zeros that they have just made, and compute in place
  (torch/csrc/autograd/FunctionsManual.cpp).

What is recorded, and what of memory it takes, is that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction

from costmodel.ops.layout import is_dense
from costmodel.torch_private import DispatchMode, OpOverload, without_modes
from costmodel.torch_private.autograd import current_node, use_counts
from costmodel.trace.backward import StepLog
from costmodel.trace.executor import Executor
from costmodel.trace.recorder import Recorder
from costmodel.trace.tensor_table import TensorTable

_ATEN = torch.ops.aten
_ADD, _ADD_IN_PLACE = _ATEN.add.Tensor, _ATEN.add_.Tensor

_ZEROS = frozenset({_ATEN.zeros.default, _ATEN.new_zeros.default, _ATEN.zeros_like.default})
_INTO_ZEROS: dict[OpOverload, OpOverload] = {
    _ATEN.scatter.src: _ATEN.scatter_.src,
    _ATEN.scatter_add.default: _ATEN.scatter_add_.default,
    _ATEN.index_add.default: _ATEN.index_add_.default,
    _ATEN.index_put.default: _ATEN._index_put_impl_.default,
    _ATEN.index_fill.int_Tensor: _ATEN.index_fill_.int_Tensor,
    _ATEN.put.default: _ATEN.put_.default,
}
"""Of whatever formula: maximum, gather, indices, index_select, trace, take."""
_IN_PLACE: dict[OpOverload, tuple[str, OpOverload]] = {
    _ATEN.sub.Tensor: ("BinaryCrossEntropyWithLogitsBackward0", _ATEN.sub_.Tensor),
    _ATEN.mul.Tensor: ("BinaryCrossEntropyWithLogitsBackward0", _ATEN.mul_.Tensor),
    _ATEN.div.Scalar: ("BinaryCrossEntropyWithLogitsBackward0", _ATEN.div_.Scalar),
    _ATEN.masked_fill.Scalar: ("Atan2Backward0", _ATEN.masked_fill_.Scalar),
}
"""The node whose formula computes it in place, in what the formula has made itself."""


class StepRecorder(Recorder):
    """Records a training step, inside ``above_autograd``, which applies autocast."""

    _log: StepLog

    def __init__(self, table: TensorTable, executor: Executor) -> None:
        super().__init__(table, executor, applies_autocast=False)
        self._only_reference = _only_reference()
        self._node: int | None = None
        """The node whose ops were recorded last."""
        self._made: dict[int, OpOverload] = {}
        """What has made each of its results, by their ``id()``."""

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] = {}
    ) -> Any:
        log = self._log
        if not log.is_in_backward:
            return super().__torch_dispatch__(func, types, args, kwargs)
        first, node, is_recomputed = len(log.events), log.running_node(), log.is_recomputed()
        if node is None:
            if func is _ADD and self._is_free(args[0]):
                func = _ADD_IN_PLACE
        elif not is_recomputed:
            func = self._in_formula(node, func, args)
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if is_recomputed:
            log.recomputed.update(range(first, len(log.events)))
        elif node is None:
            log.accumulations.update(range(first, len(log.events)))
        else:
            self._made[id(result)] = func
        return result

    def _in_formula(self, node: int, func: OpOverload, args: Sequence[Any]) -> OpOverload:
        """What the formula of a node's gradient really runs."""
        if node != self._node:
            self._node = node
            self._made.clear()
        if torch.is_grad_enabled():
            return func
        if func in _INTO_ZEROS and self._made.get(id(args[0])) in _ZEROS:
            is_users = isinstance(current_node(), BackwardCFunction)  # who writes what is to run
            return func if is_users else _INTO_ZEROS[func]
        if func in _IN_PLACE and id(args[0]) in self._made:
            name, in_place = _IN_PLACE[func]
            return in_place if current_node().name() == name else func
        return func

    def _is_free(self, tensor: torch.Tensor) -> bool:
        """Whether torch may write into a tensor, since nobody has it but who asks."""
        is_plain = tensor.layout is torch.strided and not tensor.is_nested and not torch.is_grad_enabled()
        return is_plain and use_counts(tensor) == self._only_reference and is_dense(self._table.spec(tensor))


@cache
def _only_reference() -> tuple[int, int]:
    """The use counts that a dispatch mode sees of a gradient to which the engine holds the only reference."""
    seen = []

    class Counting(DispatchMode):
        def __torch_dispatch__(
            self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] = {}
        ) -> Any:
            if func is _ADD:
                seen.append(use_counts(args[0]))
            return func(*args, **kwargs)

    x = torch.ones((), requires_grad=True)
    with without_modes(), Counting(), torch.enable_grad():
        torch.autograd.grad([x.exp(), x.exp()], x)
    (found,) = seen
    return found
