"""Traces one training step: forward, loss, backward and update run as they are, on twins of the model's parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import nn

from costmodel.arguments import short
from costmodel.errors import InputError
from costmodel.graph import CapturedLayer, LayerSpec, TensorSpec
from costmodel.step_record import Phase, SavedTensor, StepRecord
from costmodel.torch_private.autograd import foreach_takes, import_for_optimizers, saved_tensors_noted
from costmodel.trace import trace
from costmodel.trace.above_autograd import above_autograd
from costmodel.trace.arrivals import Arrivals, Places, places_of
from costmodel.trace.backward import Backward, StepLog
from costmodel.trace.calls import Capture
from costmodel.trace.events import EventLog
from costmodel.trace.executor import Executor, leaves
from costmodel.trace.recorder import Recorder
from costmodel.trace.specs import map_tensors
from costmodel.trace.step_recorder import StepRecorder
from costmodel.trace.storage_table import StorageTable
from costmodel.trace.tensor_table import TensorTable
from costmodel.trace.twins import TracedParameter, learnt, put_back, replace_parameters
from costmodel.trace.update_loop import update_loop

Loss: TypeAlias = Callable[[Any], Any]
"""Takes what the forward returns, and returns a tensor of one element, or several such tensors."""
MakeOptimizer: TypeAlias = Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer]


def trace_step(
    model: nn.Module | Callable[..., Any],
    inputs: Any,
    *,
    loss: Loss,
    optimizer: MakeOptimizer | None,
    autocast: torch.dtype | None = None,
    steps: int = 1,
    set_to_none: bool = True,
    **options: Any,
) -> StepRecord:
    """The record of one training step. The loss's name and the optimizer's are the caller's to add.

    Args:
        model: as ``trace`` takes it.
        inputs: likewise.
        loss: what is differentiated, of the forward's output.
        optimizer: makes one for the parameters that require a gradient; ``None``: no update.
        autocast: the dtype of an autocast block around forward and loss.
        steps: forward and backward passes before the update.
        set_to_none: whether gradients are freed before the step; else they are filled with zeros.
        **options: ``execution``, ``dtype`` and ``capture``, of ``trace``.
    """
    program = StepProgram(loss, optimizer, autocast, steps, set_to_none)
    if optimizer is not None:
        import_for_optimizers()
    graph = trace(model, inputs, mode="train", program=program, **options)
    return StepRecord(
        graph,
        program.phases,
        program.saved,
        frozenset(program.gradients),
        frozenset(program.state),
        frozenset(program.events.accumulations),
        frozenset(program.events.recomputed),
        dict(program.events.original),
        autocast="" if autocast is None else str(autocast).removeprefix("torch."),
        steps=steps,
        set_to_none=set_to_none,
        updated=[] if program.updates_sparsely else program.updated,
        device=program.device_type,
    )


class StepProgram:
    """The phases of a step, and what is noted between them.

    It is run once for each attempt of a trace, and then has the notes of the last.
    """

    def __init__(
        self,
        loss: Loss,
        optimizer: MakeOptimizer | None,
        autocast: torch.dtype | None,
        steps: int,
        set_to_none: bool,
    ) -> None:
        self._loss, self._make_optimizer, self._autocast = loss, optimizer, autocast
        self._steps, self._set_to_none = steps, set_to_none

    # -- what a trace asks for ----------------------------------------------------------------------------------------

    def log(self) -> StepLog:
        """A log that tells, in a backward pass, what belongs to which module call."""
        self.events = StepLog()
        return self.events

    def table(self, log: EventLog) -> StorageTable:
        """A table of the storages' lives."""
        self.phases: list[tuple[Phase, int]] = []
        self.saved: list[SavedTensor] = []
        self.gradients: set[int] = set()
        self.state: set[int] = set()
        self.updated: list[TensorSpec] = []
        """The parameters that have a gradient."""
        self.updates_sparsely = False
        """Whether some gradient is sparse, of which no formula of an update knows."""
        self._log, self._table = log, StorageTable(log)
        self.running, self.returned = "forward", None
        return self._table

    def prepare(self, modules: Sequence[nn.Module], table: TensorTable, device: torch.device, *, real: bool) -> None:
        """Puts twins in the place of parameters."""
        self._replaced = replace_parameters(modules, table, real=real)
        self._modules, self._real = modules, real
        self.device_type = "cpu" if device.type == "meta" else device.type

    def capture(self, capture: Capture) -> Capture:
        """Notes which gradients each layer is asked for, and at which of its outputs one arrives."""
        arrivals = self.events.arrivals

        def with_gradients(module: nn.Module, given: Any, called: Any, output: Any) -> CapturedLayer | None:
            captured = capture(module, given, called, output)
            if captured is None:
                return None
            to_spec, found = captured
            return partial(_with_gradients, to_spec, _wanted(module, called), arrivals, places_of(output)), found

        return with_gradients

    def recorder(self, table: TensorTable, executor: Executor) -> Recorder:
        """Records the ops."""
        self._executor = executor
        return StepRecorder(table, executor)

    def run(self, forward: Callable[[], Any]) -> Any:
        """The step, and the first update before it, in which the optimizer makes its state."""
        record: Any = None
        with Backward(self.events), self._above():
            if not self._set_to_none:
                self._begin("first pass")
                self._forward_and_backward(forward, is_first=True)
                self._begin("update")
                for parameter in learnt(self._modules):
                    if parameter.grad is not None:
                        parameter.grad.zero_()
            for _ in range(self._steps):
                record = self._forward_and_backward(forward)
        self.running = "update"
        parameters = list(learnt(self._modules))
        self._note_gradients(parameters)
        if self._make_optimizer is not None:
            with foreach_takes(TracedParameter):
                self._begin("first update")
                self._update(self._make_optimizer(parameters))
        for parameter in parameters:
            parameter.grad = None
        put_back(self._replaced)
        return record

    def _update(self, optimizer: torch.optim.Optimizer) -> None:
        loop = update_loop(optimizer, self._table, self._executor)
        if loop is None:
            optimizer.step()
            self._note_state(optimizer)
            self._begin("update")
            optimizer.step()
        else:
            loop.update(0)
            self._note_state(optimizer)  # Adagrad has made some when it was made itself
            self.state.update(loop.state())
            self._begin("update")
            loop.update(1)
            loop.end()

    def _above(self) -> AbstractContextManager[None]:
        """What a device decides above autograd, where no device does."""
        return nullcontext() if self._real else above_autograd(self.device_type)

    # -- the phases ---------------------------------------------------------------------------------------------------

    def _begin(self, phase: Phase) -> None:
        self._table.drop_collected()
        self.phases.append((phase, len(self._log.events)))

    def _forward_and_backward(self, forward: Callable[[], Any], *, is_first: bool = False) -> Any:
        begin: Callable[[Phase], None] = (lambda _: None) if is_first else self._begin
        autocast = nullcontext() if self._autocast is None else torch.autocast(self.device_type, self._autocast)
        with ExitStack() as block:
            block.enter_context(autocast)
            block.enter_context(torch.autograd.graph.saved_tensors_hooks(self._note_saved, lambda kept: kept))
            begin("forward")
            self.running = "forward"
            output = forward()
            record = self.returned = map_tensors(output, self._table.spec)
            begin("loss")
            self.running = "loss"
            losses = _losses(self._loss(output))
            del output
        begin("backward")
        self.running = "backward"
        self.events.is_after_forward = True
        with saved_tensors_noted(self._note_saved):
            torch.autograd.backward(losses)
        self.events.is_after_forward = False
        return record

    def _note_saved(self, tensor: torch.Tensor) -> torch.Tensor:
        spec = self._table.spec(tensor)
        of_gradient = self.events.is_in_backward and not self.events.is_recomputed()
        kept = SavedTensor(self._log.module, spec.storage, spec.distinct_bytes, self.phases[-1][0], of_gradient)
        self.saved.append(kept)
        return tensor

    def _note_gradients(self, parameters: Iterable[torch.Tensor]) -> None:
        for parameter in parameters:
            if parameter.grad is not None:
                self.gradients.add(self._table.spec(parameter.grad).storage)
                self.updated.append(self._table.spec(parameter))
                self.updates_sparsely |= parameter.grad.layout is not torch.strided

    def _note_state(self, optimizer: torch.optim.Optimizer) -> None:
        for of_parameter in optimizer.state.values():
            for tensor in leaves(of_parameter):
                self.state.add(self._table.spec(tensor).storage)


def _losses(found: Any) -> list[torch.Tensor]:
    losses = list(leaves(found))
    if not losses:
        raise InputError(
            f"the loss returned {short(found)}, and no tensor to differentiate: pass loss=lambda output: ... that "
            f"returns a tensor of one element, such as output.mean()"
        )
    for loss in losses:
        if loss.numel() != 1:
            raise InputError(
                f"a loss has one element, and that of this model has shape {tuple(loss.shape)}: pass "
                f"loss=lambda output: ... that returns a tensor of one element, such as output.mean()"
            )
    if not any(loss.requires_grad for loss in losses):
        raise InputError(
            "no gradient leads from the loss to a parameter: there is none, all are frozen (requires_grad=False), or "
            "the model or the loss detaches tensors, or computes them under torch.no_grad() or torch.inference_mode()"
        )
    return [loss for loss in losses if loss.requires_grad]


# -- which gradients a layer is asked for -----------------------------------------------------------------------------


Wanted: TypeAlias = tuple[tuple[bool, ...], bool, bool]
"""Of ``WantedGradients``, what is known when a layer has just run."""


def _wanted(module: nn.Module, called: tuple[Any, Mapping[str, Any] | None]) -> Wanted | None:
    """``None`` where some weights or some biases of a layer are frozen and others are not.

    Where autograd is off, as around a part of the model, none is.
    """
    if not torch.is_grad_enabled():
        return tuple(False for _ in leaves(called)), False, False
    weights: set[bool] = set()
    biases: set[bool] = set()
    for name, parameter in module.named_parameters():
        (biases if "bias" in name.rpartition(".")[2] else weights).add(parameter.requires_grad)
    if len(weights) > 1 or len(biases) > 1:
        return None
    given = tuple(tensor.requires_grad for tensor in leaves(called))
    return given, any(weights), any(biases)


def _with_gradients(
    to_spec: Callable[[Any], LayerSpec],
    wanted: Wanted | None,
    arrivals: Arrivals,
    output: tuple[Places, ...],
    found: Any,
) -> LayerSpec:
    return replace(to_spec(found), gradients=None if wanted is None else (*wanted, arrivals.at(output)))
