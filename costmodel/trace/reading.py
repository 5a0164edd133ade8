"""Traces a forward with what other counters look at: ops before torch takes them apart, classes of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pkgutil import resolve_name
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from costmodel.graph import TensorSpec, tensors_in
from costmodel.reading import ReadFunction, Reading, ReadModule, ReadOp
from costmodel.torch_private import MODULES, HigherOrderOperator, OpOverload, registered_on
from costmodel.torch_private.autograd import runs_in_engine
from costmodel.trace import Execution, Mode, trace
from costmodel.trace.above_autograd import above_autograd
from costmodel.trace.executor import Executor, leaves
from costmodel.trace.isolation import one_at_a_time
from costmodel.trace.patched import patched
from costmodel.trace.recorder import Recorder
from costmodel.trace.signature import signature
from costmodel.trace.specs import DTYPE_NAME, PLAIN, map_tensors
from costmodel.trace.target import target_of
from costmodel.trace.tensor_table import LAZY, TensorTable


class ReadingRecorder(Recorder):
    """Notes each op as it arrives, and whether it became others."""

    def __init__(self, table: TensorTable, executor: Executor, found: list[ReadOp], around: str = "") -> None:
        """``around`` names a context for a forward that autograd records: it is given what the model's device runs."""
        super().__init__(table, executor)
        self._around = around
        self._entered, self._depth = ExitStack(), 0
        self.differentiates = False
        """Whether autograd records this attempt, or its engine has run in it."""
        self._outer = found
        """Where the next op is noted: at the top, or inside of the op that torch takes apart now."""
        self._in_op = False
        self.functions: list[ReadFunction] = []
        """The calls of Python functions so far."""
        self._differentiated: dict[int, TensorSpec] = {}
        """The tensors that depend on one that requires a gradient, by the ``id()`` of their records."""
        found.clear()

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]  # torch has not annotated it
        if not self._depth:
            self.begin()
        self._depth += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._depth -= 1
        if not self._depth:
            self.end(error)
        super().__exit__(kind, error, at)  # type: ignore[no-untyped-call]  # likewise

    def begin(self) -> None:
        """Is called before the forward."""
        self.differentiates = torch.is_grad_enabled()
        if self._around:
            self._applies_autocast = False
            self._entered.enter_context(above_autograd(self._executor.model_device))
            self._entered.enter_context(resolve_name(self._around)())

    def end(self, error: BaseException | None) -> None:
        """Is called after the forward, or after its failure."""
        self._entered.close()

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
        bound = sig.bind(given, named)
        found = self._named(sig.bind(args, kwargs), bound)
        if found and func is not torch.ops.aten.detach.default:
            self._differentiated.update((id(spec), spec) for spec in outputs)
        in_engine = runs_in_engine()
        self.differentiates |= in_engine
        outer.append(ReadOp(str(func), bound, outputs, first, end, call, sig.is_inplace, in_engine, found, inside))
        return result

    def _cast(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        outer, self._outer = self._outer, []  # autocast is above the op, which does not come apart into its casts
        try:
            return super()._cast(tensor, dtype)
        finally:
            self._outer = outer

    def _named(self, given: Mapping[str, Any], bound: Mapping[str, Any]) -> frozenset[str]:
        """The arguments that require a gradient: parameters that say so, and what was made of those."""
        return frozenset(
            name
            for name, value in bound.items()
            if any(id(spec) in self._differentiated for spec in tensors_in(value))
            or any(tensor.requires_grad for tensor in leaves(given[name]))
        )

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


class Reader:
    """Makes the recorders of a trace's attempts, of which the last is the one that came to the end."""

    def __init__(self, make: Callable[[TensorTable, Executor, list[ReadOp]], ReadingRecorder]) -> None:
        self._make = make
        self.ops: list[ReadOp] = []
        self.recorder: ReadingRecorder | None = None

    def recorder_of(self, table: TensorTable, executor: Executor) -> Recorder:
        """The recorder of one more attempt."""
        self.recorder = self._make(table, executor, self.ops)
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
    around: str = "",
) -> Reading:
    """Traces one forward, and looks for calls of Python functions. Raises what ``trace`` raises.

    With ``around``, the name of a context, the forward runs in that, and autograd records it.
    """
    reader = Reader(partial(ReadingRecorder, around=around))
    with patched(functions, reader.note):
        graph = trace(
            model,
            inputs,
            mode=mode,
            execution=execution,
            dtype=dtype,
            recorder=reader.recorder_of,
            autograd=bool(around),
        )
    assert reader.recorder is not None
    modules = modules_of(target_of(model).module)
    recorder = reader.recorder
    return Reading(graph, tuple(reader.ops), modules, tuple(recorder.functions), differentiates=recorder.differentiates)


def modules_of(model: nn.Module) -> dict[str, ReadModule]:
    """What each module of the tree is, by its first name."""
    names = {module: name for name, module in model.named_modules()}
    return {name: _module(module, name, names) for module, name in names.items()}


def _module(module: nn.Module, name: str, names: Mapping[nn.Module, str]) -> ReadModule:
    bases = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__ if issubclass(kind, nn.Module)]
    attributes = {key: value for key, value in vars(module).items() if _is_plain(value)}
    buffers = dict(module.named_buffers())
    masks = {key: _mask(key, buffers) for key, _ in module.named_parameters()}
    parameters = {key: _parameter(value, key, masks[key]) for key, value in module.named_parameters()}
    masked = frozenset(key for key, mask in masks.items() if mask is not None)
    held = vars(module)[MODULES]
    children = [(key, names[child]) for key, child in held.items() if child is not None]
    return ReadModule(name, tuple(bases), attributes, parameters, masked, _tensors(module), tuple(children))


def _is_plain(value: Any) -> bool:
    return type(value) in PLAIN or (type(value) is tuple and all(type(item) in PLAIN for item in value))


def _tensors(module: nn.Module) -> frozenset[str]:
    parameters, buffers, _ = registered_on(module)
    found = {**vars(module), **parameters, **buffers}
    kept = {key for key, value in found.items() if isinstance(value, torch.Tensor)}
    return frozenset(kept.union(module.parametrizations if is_parametrized(module) else ()))  # type: ignore[arg-type]


def _mask(name: str, buffers: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    return buffers.get(f"{name.removesuffix('_orig')}_mask") if name.endswith("_orig") else None


def _parameter(value: torch.Tensor, name: str, mask: torch.Tensor | None) -> TensorSpec:
    shape = () if type(value) in LAZY else tuple(value.shape)
    zeros = 0 if mask is None or mask.is_meta else mask.numel() - int(mask.sum())
    dtype = DTYPE_NAME[value.dtype]
    return TensorSpec(shape, dtype, role="parameter", name=name, trainable=value.requires_grad, zeros=zeros)
