"""A callback for the Trainer of transformers."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from costmodel.callbacks.around import around
from costmodel.callbacks.base import Costs, never_fails
from costmodel.callbacks.meter import Meter
from costmodel.callbacks.running import running_step, shapes
from costmodel.errors import InputError, not_installed
from costmodel.inputs import Input
from costmodel.training import TrainingStep


def _classes() -> tuple[type, ...]:
    try:
        return (import_module("transformers").TrainerCallback,)
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise not_installed("transformers", what="TransformersCosts", extra="transformers") from error


class TransformersCosts(Costs):
    """Logs what a training costs: once parameters, MACs, FLOPs and peak memory of a step, then utilisation.

    Args:
        trainer: the trainer that it is added to.
        device: the device of each process, by a name of ``costmodel devices``, whose peak the utilisation is a share
            of. By default a GPU is known by its name; of a CPU no utilisation is logged.
        math: how the device computes products of float32 tensors, ``"float32"`` or ``"tf32"``; by default as torch is
            set.
        step: what one step costs, from ``costmodel.training_step``, where that cannot be traced here.

    It goes wherever the trainer reports to, at the steps at which that logs: ``trainer.add_callback(
    TransformersCosts(trainer, "h100"))``. The training is as without it.
    """

    def __init__(
        self, trainer: Any, device: str | None = None, *, math: str | None = None, step: TrainingStep | None = None
    ) -> None:
        super().__init__(device, math=math, step=step)
        if not hasattr(trainer, "compute_loss"):
            raise InputError(f"give the trainer first: TransformersCosts(trainer, device), not {trainer!r:.80}")
        self._trainer = trainer
        self._figures: dict[str, float] = {}

    _bases = staticmethod(_classes)

    @never_fails
    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002  # as it is called
        """Starts the clock. No event has the batches, so they are looked at where the loss is computed of them."""
        trainer = self._trainer
        self._new: dict[Hashable, Any] = {}
        surrounding = self._begin(
            trainer, trainer.model, untimed=[(trainer, name) for name in ("evaluate", "predict", "_save_checkpoint")],
            devices=max(1, args.n_gpu), is_main=state.is_world_process_zero,
        )  # fmt: skip
        surrounding.enter_context(around(trainer, "compute_loss", self._seen))

    @never_fails
    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Traces a step on a batch of new shapes, which is one of several before the update."""
        self._trace_new(args, kwargs.get("optimizer"))

    @never_fails
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Ends a step."""
        self._trace_new(args, kwargs.get("optimizer"))
        if self._meter is not None:
            self._meter.stepped()
            self._take_figures(self._meter, control)

    @never_fails
    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Takes the figures where the trainer logs by epoch."""
        if self._meter is not None:
            self._take_figures(self._meter, control)

    @never_fails
    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Logs, once the trainer has logged its own."""
        figures, self._figures = self._figures, {}
        if figures and self._meter is not None:
            with self._meter.clock.stopped():
                self._trainer.log(figures)

    @never_fails
    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Leaves the trainer as it was."""
        self._end()

    def _take_figures(self, meter: Meter, control: Any) -> None:
        if control.should_log:
            with meter.clock.stopped():
                self._figures |= meter.figures()

    @contextmanager
    def _seen(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Iterator[None]:  # noqa: ARG002  # as it is called
        self._look(inputs)
        yield

    @never_fails
    def _look(self, inputs: Any) -> None:
        if self._meter is not None and self._trainer.model.training:
            from costmodel.trace.executor import map_leaves

            key = shapes(inputs)
            if key not in self._new and not self._meter.knows(key):
                self._new[key] = map_leaves(dict(inputs), lambda tensor: Input(tuple(tensor.shape), tensor.dtype))
            self._meter.ran(key)

    def _trace_new(self, args: Any, optimizer: Any) -> None:
        new, self._new = self._new, {}
        for key, inputs in new.items():
            if self._meter is not None:
                trace = functools.partial(self._traced, inputs, optimizer)
                self._meter.sees(key, trace, args.gradient_accumulation_steps)

    def _traced(self, inputs: dict[str, Any], optimizer: Any, steps: int) -> TrainingStep:
        assert self._meter is not None
        trainer, say = self._trainer, self._meter.say
        if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
            raise InputError("each process has a part of the parameters alone (DeepSpeed or FSDP)")
        if trainer.label_smoother is not None or trainer.compute_loss_func is not None:
            inputs = {name: value for name, value in inputs.items() if name != "labels"}
            say("the loss is computed outside of the model, and in no figure")
        # Autocast and checkpoints are in the model's forward, to which accelerate has added the first.
        return running_step(
            trainer.model, inputs, module=trainer.model, optimizer=getattr(optimizer, "optimizer", optimizer), say=say,
            steps=steps,
        )  # fmt: skip
