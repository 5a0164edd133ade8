"""A callback for Lightning."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib import import_module
from types import MethodType
from typing import Any

from costmodel.callbacks.base import Costs, never_fails
from costmodel.callbacks.running import numbers_assumed, running_step, shapes
from costmodel.errors import InputError, not_installed
from costmodel.inputs import call
from costmodel.training import TrainingStep

AUTOCAST: Mapping[str, str | None] = {
    "32-true": None, "64-true": None, "16-true": None, "bf16-true": None, "16-mixed": "float16",
    "bf16-mixed": "bfloat16",
}  # fmt: skip
"""The dtype of autocast, by the trainer's precision."""

WHOLE = ("SingleDeviceStrategy", "DDPStrategy")
"""The strategies with which each process has the whole model, and the optimizer's whole state."""

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
"""The names by which Lightning is imported."""


def _classes() -> tuple[type, ...]:
    # Both packages have the same callback, and each refuses that of the other.
    loaded = [module for module in map(sys.modules.get, PACKAGES) if module is not None]
    return tuple(module.Callback for module in loaded or [_installed()])


def _installed() -> Any:
    for name in PACKAGES:
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in ("lightning", *PACKAGES):
                raise
    raise not_installed("lightning", what="LightningCosts", extra="lightning")


class LightningCosts(Costs):
    """Logs what a training costs: once parameters, MACs, FLOPs and peak memory of a step, then utilisation.

    Args:
        device: the device of each process, by a name of ``costmodel devices``, whose peak the utilisation is a share
            of. By default a GPU is known by its name; of a CPU no utilisation is logged.
        math: how the device computes products of float32 tensors, ``"float32"`` or ``"tf32"``; by default as torch is
            set.
        step: what one step costs, from ``costmodel.training_step``, where that cannot be traced here.

    It goes to the trainer's loggers with the other figures of the same step, every ``log_every_n_steps``:
    ``Trainer(callbacks=[LightningCosts("h100")])``. The training is as without it.
    """

    _bases = staticmethod(_classes)

    @never_fails
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Starts the clock."""
        # on_validation_start comes after the data loaders are made, and no hook after a checkpoint is written.
        untimed = ((trainer, "save_checkpoint"), (trainer.fit_loop.epoch_loop.val_loop, "run"))
        self._begin(trainer, pl_module, untimed=untimed, is_main=trainer.is_global_zero)
        self._steps = trainer.global_step
        self._logged: int | None = None

    @never_fails
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Traces a step on the first batch of its shapes."""
        if self._meter is not None:
            meter, self._key, self._passes = self._meter, shapes(batch), 0

            def trace(steps: int) -> TrainingStep:
                return _step(trainer, pl_module, batch, batch_idx, steps=steps, say=meter.say)

            meter.sees(self._key, trace, trainer.accumulate_grad_batches)

    @never_fails
    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002  # as Lightning calls it
        """Counts the backward passes, of which some optimizers ask for several a batch."""
        self._passes += 1

    @never_fails
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Ends a step, where the optimizer updated the parameters, and logs where the trainer does."""
        meter = self._meter
        if meter is None:
            return
        meter.ran(self._key, self._passes)
        if trainer.global_step == self._steps:
            return
        self._steps = trainer.global_step
        # Lightning's number of the step that it logs, which is not that of updates where a batch has several.
        number, every = trainer.fit_loop.epoch_loop._batches_that_stepped, trainer.log_every_n_steps
        turn = (number + 1) // every if every else None
        meter.stepped()
        if turn != self._logged:
            self._logged = turn
            with meter.clock.stopped():
                figures = meter.figures()
                for logger in trainer.loggers:
                    logger.log_metrics(figures, step=number)

    @never_fails
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002  # as Lightning calls it
        """Leaves the trainer as it was."""
        self._end()

    @never_fails
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002
        """Leaves the trainer as it was, after a training that did not end."""
        self._end()


def _step(trainer: Any, module: Any, batch: Any, batch_idx: int, *, steps: int, say: Any) -> TrainingStep:
    """The step that the trainer is about to run."""
    strategy, precision = type(trainer.strategy).__name__, str(trainer.precision)
    if not module.automatic_optimization:
        raise InputError("automatic_optimization is off, so training_step runs backward and update as it likes")
    if strategy not in WHOLE:
        raise InputError(f"{strategy} may give each process a part of the model or of the optimizer's state alone")
    if precision not in AUTOCAST:
        raise InputError(f"precision {precision!r} computes by kernels that are not traced")
    if len(trainer.optimizers) > 1:
        raise InputError("there are several optimizers")
    method = MethodType(type(module).training_step, module)  # the module's own may be a compiled one
    takes = inspect.signature(method).parameters
    if "dataloader_iter" in takes:
        raise InputError("training_step takes its batches itself, from dataloader_iter")
    wants_index = len(takes) > 1 or any(p.kind is p.VAR_POSITIONAL for p in takes.values())
    inputs = call(batch, batch_idx) if wants_index else call(batch)
    # A model in half or double precision makes new tensors of that dtype.
    context = trainer.precision_plugin.forward_context() if precision.endswith("-true") else nullcontext()
    with _silenced(trainer, module), numbers_assumed(say), context:
        return running_step(
            method, inputs, module=module, optimizer=next(iter(trainer.optimizers), None), say=say, loss=_loss,
            autocast=AUTOCAST[precision], steps=steps,
        )  # fmt: skip


def _loss(output: Any) -> Any:
    if output is None:
        raise InputError("training_step returned None")
    return output["loss"] if isinstance(output, Mapping) else output


@contextmanager
def _silenced(trainer: Any, module: Any) -> Iterator[None]:
    """Nothing is logged of a step that does not run, and metrics do not see it."""
    loggers = trainer.loggers
    homes = {kind.__module__ for kind in type(trainer).__mro__}
    package = next(name for name in PACKAGES if f"{name}.trainer.trainer" in homes)
    dummy = import_module(f"{package}.loggers.logger").DummyLogger
    silent: list[tuple[dict[str, Any], str, Any]] = []
    for child in module.modules():
        for name, instead in _quiet_methods(child).items():
            silent.append((vars(child), name, vars(child).get(name, _UNSET)))
            vars(child)[name] = instead
    trainer.loggers = [dummy() for _ in loggers]
    try:
        yield
    finally:
        trainer.loggers = loggers
        for attributes, name, before in silent:
            attributes.pop(name, None)
            if before is not _UNSET:
                attributes[name] = before


_UNSET = object()


def _quiet_methods(module: Any) -> Mapping[str, Any]:
    kinds = type(module).__mro__
    if any(kind.__module__.startswith("torchmetrics.") for kind in kinds):
        return dict.fromkeys(("forward", "update", "compute"), _nothing)
    if any(kind.__name__ == "LightningModule" for kind in kinds):
        return dict.fromkeys(("log", "log_dict", "print"), _nothing)
    return {}


def _nothing(*_: Any, **__: Any) -> Any:
    import torch

    return torch.zeros(())
