"""Traces a forward with what other counters look at: ops before torch takes them apart, classes of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from costmodel.graph import TensorSpec, tensors_in
from costmodel.reading import ReadFunction, Reading, ReadModule, ReadOp
from costmodel.torch_private import MODULES, HigherOrderOperator, OpOverload
from costmodel.trace import Execution, Mode, trace
from costmodel.trace.executor import Executor
from costmodel.trace.isolation import one_at_a_time
from costmodel.trace.patched import patched
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
        self._in_op = False
        self.functions: list[ReadFunction] = []
        """The calls of Python functions so far."""
        found.clear()

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return super().__torch_dispatch__(func, types, args, kwargs)
        outer, inside, first = self._outer, list[ReadOp](), len(self._log.events)
        in_op, self._in_op, self._outer = self._in_op, True, inside
        try:
            result = super().__torch_dispatch__(func, types, args, kwargs)
        finally:
            self._in_op, self._outer = in_op, outer
        if result is NotImplemented:
            return result
        sig = signature(func)
        given, named, _ = sig.read(args, kwargs, self._find)
        outputs = tuple(tensors_in(map_tensors(result, self._table.spec)))
        end, call = len(self._log.events), self._log.module
        outer.append(ReadOp(str(func), sig.bind(given, named), outputs, first, end, call, sig.is_inplace, inside))
        return result

    def note_call(self, name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Calls a function that the model's code calls, and notes it; torch's own kernels call some in an op."""
        if self._in_op:
            return function(*args, **kwargs)
        found, spec = self.functions, self._table.spec
        given, named, first = map_tensors(args, spec), map_tensors(kwargs, spec), len(self._log.events)
        index, call = len(found), self._log.module
        found.append(ReadFunction(name, given, named, first, first, call))
        result = function(*args, **kwargs)
        found[index] = ReadFunction(name, given, named, first, len(self._log.events), call)
        return result


class _Reader:
    """Makes the recorders of a trace's attempts, of which the last is the one that came to the end."""

    def __init__(self) -> None:
        self.ops: list[ReadOp] = []
        self.recorder: ReadingRecorder | None = None

    def recorder_of(self, table: TensorTable, executor: Executor) -> Recorder:
        """The recorder of one more attempt."""
        self.recorder = ReadingRecorder(table, executor, self.ops)
        return self.recorder

    def note(self, name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Calls a function, and notes the call."""
        if self.recorder is None:
            return function(*args, **kwargs)
        return self.recorder.note_call(name, function, args, kwargs)


@one_at_a_time()
def read(
    model: nn.Module | Callable[..., Any],
    inputs: Any,
    *,
    mode: Mode,
    execution: Execution = "auto",
    dtype: Any = None,
    functions: Iterable[str] = (),
) -> Reading:
    """Traces one forward, and looks for calls of Python functions. Raises what ``trace`` raises."""
    reader = _Reader()
    with patched(functions, reader.note):
        graph = trace(model, inputs, mode=mode, execution=execution, dtype=dtype, recorder=reader.recorder_of)
    assert reader.recorder is not None
    modules = _modules(target_of(model).module)
    return Reading(graph, tuple(reader.ops), modules, tuple(reader.recorder.functions))


def _modules(model: nn.Module) -> dict[str, ReadModule]:
    names = {module: name for name, module in model.named_modules()}
    return {name: _module(module, name, names) for module, name in names.items()}


def _module(module: nn.Module, name: str, names: Mapping[nn.Module, str]) -> ReadModule:
    bases = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__ if issubclass(kind, nn.Module)]
    attributes = {key: value for key, value in vars(module).items() if _is_plain(value)}
    buffers = dict(module.named_buffers())
    parameters = {key: _parameter(value, key, buffers) for key, value in module.named_parameters()}
    held = vars(module)[MODULES]
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
