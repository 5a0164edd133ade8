"""Runs one forward of a model in isolation, and records it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias

import torch
from torch import nn

from costmodel.declared import DECLARED
from costmodel.errors import CostModelError, NeedsValuesError
from costmodel.graph import Graph, tensors_in
from costmodel.ops.defaults import default_float_is
from costmodel.ops.third_party import load_imported
from costmodel.records import dataclass
from costmodel.torch_private import autocast_nesting, below_autograd, without_modes
from costmodel.trace.calls import Calls, Capture
from costmodel.trace.events import EventLog
from costmodel.trace.executor import Executor
from costmodel.trace.failure import Failure
from costmodel.trace.garbage import gc_paused
from costmodel.trace.inputs import arguments, record_of
from costmodel.trace.isolation import one_at_a_time, plain_eager, rng_restored, training_mode
from costmodel.trace.layer_cache import LayerCache
from costmodel.trace.lazy import materialised
from costmodel.trace.meta_executor import MetaExecutor
from costmodel.trace.modules import register_module_tree
from costmodel.trace.pruned import Pruning, pruning_of
from costmodel.trace.recorder import Recorder
from costmodel.trace.snapshot import restored
from costmodel.trace.specs import DTYPE_NAME, map_tensors
from costmodel.trace.target import Target
from costmodel.trace.tensor_table import TensorTable
from costmodel.trace.traced_tensor import reads_noted, tensors_on, values_from
from costmodel.trace.tree_cache import KNOWN_MODELS
from costmodel.trace.values import MetaInputs, RealInputs

Mode = Literal["eval", "train"]
MakeExecutor: TypeAlias = Callable[[TensorTable, str], Executor]
"""Takes the trace's tensors and the type of device that the model is on."""
MakeRecorder: TypeAlias = Callable[[TensorTable, Executor], Recorder]


class Program(Protocol):
    """What a trace runs around a forward, where that is more than the forward alone."""

    running: str
    """What of it runs: ``forward``, ``loss``, ``backward`` or ``update``."""
    returned: Any
    """What the forward has returned, records in the place of tensors."""

    def log(self) -> EventLog:
        """The log of the trace's events."""

    def table(self, log: EventLog) -> TensorTable:
        """The table of the trace's tensors. A program is asked for one first, in each attempt."""

    def prepare(self, modules: Sequence[nn.Module], table: TensorTable, device: torch.device, *, real: bool) -> None:
        """Changes the model, which is restored at the end."""

    def capture(self, capture: Capture) -> Capture:
        """What is read off each module that was called."""

    def recorder(self, table: TensorTable, executor: Executor) -> Recorder:
        """What records the ops."""

    def run(self, forward: Callable[[], Any]) -> Any:
        """Runs it all; returns what the forward returns, records in the place of tensors."""


@dataclass(frozen=True)
class Attempt:
    """One way to run a forward."""

    executor: MakeExecutor = MetaExecutor
    integers_are_zeros: bool = False
    """Whether integer inputs that are given as shapes have values on meta: zeros, as in a real run."""
    autograd: bool = False
    """Whether autograd records the forward, which may then differentiate. Composite ops fall apart above it."""
    reason: str = ""
    """Why it is made with real tensors."""
    program: Program | None = None
    """What is run, if more than a forward."""
    recorder: MakeRecorder | None = None
    """What records the ops, where that is not the library's own choice."""


@one_at_a_time()
@gc_paused()
def run(
    target: Target, inputs: Any, mode: Mode, dtype: torch.dtype | None, capture: Capture, attempt: Attempt
) -> Graph:
    """The ops and module calls of one forward. Raises ``Failure`` where it fails, ``InputError`` for its arguments."""
    model = target.module
    program = attempt.program
    log = EventLog() if program is None else program.log()
    table = TensorTable(log) if program is None else program.table(log)
    # A program changes records, as another dtype does, and a real run has copies of the buffers.
    known = KNOWN_MODELS.of(model) if program is None and dtype is None and attempt.executor is MetaExecutor else None
    registered = None if known is None else known.register(table)
    modules, tensors = registered or register_module_tree(model, table)
    table.modules = modules
    kinds = set(map(type, modules))
    own = tensors or list(model.parameters())  # those of lazy modules, too
    device = own[0].device if own else torch.device("cpu")
    executor = attempt.executor(table, device.type)
    real = executor.is_real
    differentiates = program is not None or attempt.autograd
    with (
        without_modes(),
        restored(modules, tensors, inputs),
        rng_restored(kinds),
        plain_eager(kinds),
        tensors_on(device),
        default_float_is(DTYPE_NAME[torch.get_default_dtype()]),
        torch.inference_mode(False) if differentiates else nullcontext(),  # whatever the caller's mode is
        torch.enable_grad() if differentiates else torch.no_grad(),
        training_mode(model, modules, mode == "train"),
        materialised(modules, table, real=real),
    ):
        if dtype is not None:
            from costmodel.trace.cast import cast_model

            cast_model(modules, table, dtype, real=real)
        if real:
            from costmodel.trace.real_executor import clone_buffers

            clone_buffers(model, table)
        pruning = None
        if program is not None:
            program.prepare(modules, table, device, real=real)
            capture = program.capture(capture)
        elif registered is None:
            pruning = pruning_of(modules, table)
            if known is not None and not pruning.may_be:
                known.keep(modules, tensors, table)
        given = RealInputs(device) if real else MetaInputs(device, attempt.integers_are_zeros)
        try:
            args, kwargs = arguments(inputs, given.make, given.keep, own, target.forward, dtype)
        except NeedsValuesError as error:
            raise Failure(target, error, (), (), is_real=real, needed_bytes=0, could_have_values=False) from error

        record = partial(table.add_input, copies=given.copies)
        graph = Graph(
            target.name, log,
            tuple(map_tensors(record_of(args), record)),
            map_tensors(record_of(kwargs), record),
            None, "real" if real else "meta", mode, attempt.reason,
        )  # fmt: skip
        recorder = _recorder(table, executor, pruning, attempt)
        recorder.given((args, kwargs))
        layers = None
        if type(recorder) is Recorder and executor.fills_cache and not attempt.autograd:
            layers = LayerCache(table, recorder.cache, None if known is None else known.layers(recorder.cache))
        # A real run may hand the modules' dictionaries on, to replicas on other devices.
        calls = Calls(table, capture, modules, real=real, layers=layers)
        output = None
        try:
            if autocast_nesting():
                torch.clear_autocast_cache()  # casts that a real run made in the same block are none of this trace's
            unseen = _unseen(table, real, modules)
            autograd = nullcontext() if attempt.autograd or program is not None else below_autograd()

            def forward(args: Any = args, kwargs: Any = kwargs) -> Any:
                if target.method is None:
                    return model(*args, **kwargs)
                return calls.enclose(model, target.method, args, kwargs)

            values = values_from(executor.value_of)
            with calls, unseen, autograd, reads_noted(recorder.note_need), values, recorder:
                output = forward() if program is None else program.run(forward)
            if recorder.needs_values is not None:
                raise recorder.needs_values
            recorder.returned(output)
            if isinstance(output, (Generator, Coroutine)):
                log.add_note(
                    f"the forward returns a {type(output).__name__}, of which nothing has run: have it consumed"
                )
            graph.outputs = map_tensors(output, table.spec) if program is None else output
        except (Exception, SystemExit) as error:  # a forward that ends Python must not end a check with its status
            if isinstance(error, CostModelError) and not isinstance(error, NeedsValuesError):
                raise
            part = "forward" if program is None else program.running
            taken = program.returned if program is not None and part == "loss" else (graph.inputs, graph.kwargs)
            raise Failure(
                target, recorder.needs_values or error, calls.broken(), tensors_in(taken), part=part,
                is_real=real, needed_bytes=log.most_bytes(), could_have_values=given.withheld_integers,
            ) from error  # fmt: skip
        finally:
            torch.clear_autocast_cache()  # casts of real weights that were made on meta must not reach a real run
            executor.close()
            table.forget()
            del output, args, kwargs, given
    return graph


def _unseen(table: TensorTable, real: bool, modules: Sequence[nn.Module]) -> AbstractContextManager[Any]:
    """Where something is declared, a context in which one op is recorded for each call of it."""
    load_imported()
    if not DECLARED:
        return nullcontext()
    from costmodel.trace.unseen import UnseenCalls

    return UnseenCalls(table, real, modules)


def _recorder(table: TensorTable, executor: Executor, pruning: Pruning | None, attempt: Attempt) -> Recorder:
    if attempt.recorder is not None:
        return attempt.recorder(table, executor)
    if attempt.program is not None:
        return attempt.program.recorder(table, executor)
    if pruning:
        from costmodel.trace.pruning_recorder import PruningRecorder

        return PruningRecorder(table, executor, pruning)
    return Recorder(table, executor)
