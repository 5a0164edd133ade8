"""Traces a forward with what other counters look at: ops before torch takes them apart, classes of modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from costmodel.graph import TensorSpec, tensors_in
from costmodel.reading import Reading, ReadModule, ReadOp
from costmodel.torch_private import HigherOrderOperator, OpOverload
from costmodel.trace import Execution, Mode, trace
from costmodel.trace.executor import Executor
from costmodel.trace.recorder import Recorder
from costmodel.trace.signature import signature
from costmodel.trace.specs import DTYPE_NAME, PLAIN, map_tensors
from costmodel.trace.target import target_of
from costmodel.trace.tensor_table import LAZY, TensorTable


class ReadingRecorder(Recorder):
    """Notes each op as it arrives, and whether it became others."""

    def __init__(self, table: TensorTable, executor: Executor, found: list[ReadOp]) -> None:
        super().__init__(table, executor)
        self._outer = found
        """Where the next op is noted: at the top, or inside of the op that torch takes apart now."""
        found.clear()

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return super().__torch_dispatch__(func, types, args, kwargs)
        outer, inside, first = self._outer, list[ReadOp](), len(self._log.events)
        self._outer = inside
        try:
            result = super().__torch_dispatch__(func, types, args, kwargs)
        finally:
            self._outer = outer
        if result is NotImplemented:
            return result
        sig = signature(func)
        given, named, _ = sig.read(args, kwargs, self._find)
        outputs = tuple(tensors_in(map_tensors(result, self._table.spec)))
        end, call = len(self._log.events), self._log.module
        outer.append(ReadOp(str(func), sig.bind(given, named), outputs, first, end, call, sig.is_inplace, inside))
        return result


def read(
    model: nn.Module | Callable[..., Any], inputs: Any, *, mode: Mode, execution: Execution = "auto", dtype: Any = None
) -> Reading:
    """Traces one forward. Raises what ``trace`` raises."""
    found: list[ReadOp] = []
    graph = trace(
        model, inputs, mode=mode, execution=execution, dtype=dtype,
        recorder=lambda table, executor: ReadingRecorder(table, executor, found),
    )  # fmt: skip
    return Reading(graph, tuple(found), _modules(target_of(model).module))


def _modules(model: nn.Module) -> dict[str, ReadModule]:
    names = {module: name for name, module in model.named_modules()}
    return {name: _module(module, name, names) for module, name in names.items()}


def _module(module: nn.Module, name: str, names: Mapping[nn.Module, str]) -> ReadModule:
    bases = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__ if issubclass(kind, nn.Module)]
    attributes = {key: value for key, value in vars(module).items() if _is_plain(value)}
    buffers = dict(module.named_buffers())
    parameters = {key: _parameter(value, key, buffers) for key, value in module.named_parameters()}
    held = vars(module)["_modules"]
    children = [(key, names[child]) for key, child in held.items() if child is not None]
    return ReadModule(name, tuple(bases), attributes, parameters, tuple(children))


def _is_plain(value: Any) -> bool:
    return type(value) in PLAIN or (type(value) is tuple and all(type(item) in PLAIN for item in value))


def _parameter(value: torch.Tensor, name: str, buffers: Mapping[str, torch.Tensor]) -> TensorSpec:
    shape = () if type(value) in LAZY else tuple(value.shape)
    mask = buffers.get(f"{name.removesuffix('_orig')}_mask") if name.endswith("_orig") else None
    zeros = 0 if mask is None or mask.is_meta else mask.numel() - int(mask.sum())
    dtype = DTYPE_NAME[value.dtype]
    return TensorSpec(shape, dtype, role="parameter", name=name, trainable=value.requires_grad, zeros=zeros)
