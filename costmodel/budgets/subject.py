"""What is held to bounds: a model, of which the profile and the training step are traced once, when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from costmodel.arguments import short
from costmodel.batches import with_batch
from costmodel.errors import InputError
from costmodel.files import is_saved
from costmodel.profiling import Profile, profile
from costmodel.training import TrainingStep, training_step

if TYPE_CHECKING:
    from costmodel.roofline import Roofline

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is profiled, how its training step is made, and on what device."""

    mode: str = "eval"
    """The mode of the forward pass, ``"eval"`` or ``"train"``."""
    dtype: Any = None
    batch: int | None = None
    """Samples of a training step; ``None``: as many as the inputs have."""
    optimizer: Any = "adamw"
    loss: Any = None
    """A function of the model's output, or a text that names one: ``package.module:function``."""
    autocast: Any = None
    device: str | None = None
    """The device of a bound on time."""
    memory: int | str | None = None
    """The memory of a bound on the largest batch; ``None``: that of ``device``."""
    math: str = "float32"
    """How products of float32 tensors are computed on it: ``"float32"`` or ``"tf32"``."""

    def __post_init__(self) -> None:
        if self.batch is not None and (type(self.batch) is not int or self.batch < 1):
            raise InputError(f"batch={short(self.batch)} is no number of samples: give an int from 1")

    def changed(self, *names: str) -> list[str]:
        """Those of some settings that are not as by default."""
        return [name for name in names if getattr(self, name) != getattr(type(self), name)]


OF_A_STEP = ("batch", "optimizer", "loss", "autocast")


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, or what was saved of one."""

    name: str
    model: Any
    """A module, or a function; ``None`` for a saved result."""
    inputs: Any
    settings: Settings
    saved: Profile | TrainingStep | None = None

    @cached_property
    def profile(self) -> Profile:
        """Its profile; of a saved training step, that of the step's forward."""
        if isinstance(self.saved, TrainingStep):
            return self.saved.forward
        if self.saved is not None:
            return self.saved
        mode: Any = self.settings.mode
        return replace(profile(self.model, self.inputs, mode=mode, dtype=self.settings.dtype), name=self.name)

    @cached_property
    def step(self) -> TrainingStep:
        """One training step of it."""
        if isinstance(self.saved, TrainingStep):
            return self.saved
        if self.saved is not None:
            raise InputError(
                f"{self.name} is a saved profile of one forward: name the model itself for a training step"
            )
        how = self.settings
        inputs = self.inputs if how.batch is None else with_batch(self.profile.graph, how.batch)
        step = training_step(
            self.model, inputs, loss=_function(how.loss), optimizer=None if how.optimizer == "none" else how.optimizer,
            autocast=how.autocast, dtype=how.dtype,
        )  # fmt: skip
        return replace(step, name=self.name)

    @cached_property
    def roofline(self) -> Roofline:
        """The forward on the device."""
        return self.profile.roofline(self._device, self.settings.math)

    @cached_property
    def training_roofline(self) -> Roofline:
        """The training step on the device."""
        return self.step.roofline(self._device, self.settings.math)

    @property
    def memory(self) -> int | str:
        """What the largest batch has to fit into."""
        return self._device if self.settings.memory is None else self.settings.memory

    @property
    def _device(self) -> str:
        assert self.settings.device is not None  # bounds that need one were refused
        return self.settings.device


def examine(model: Any, inputs: Any, settings: Settings, look: Callable[[Subject], Result]) -> Result:
    """What a function finds in a model, which is built once where a text names it, or read where that is a saved file.

    The function may be called again: first with a model without weights, and then with weights, where a forward needs
    their values.
    """
    if not isinstance(model, str):
        name = getattr(model, "__name__", type(model).__name__)
        return look(Subject(name, model, inputs, settings))
    if is_saved(model):
        return look(_read(model, inputs, settings))
    from costmodel.loading import apply

    return apply(lambda module: look(Subject(model, module, inputs, settings)), model)


def _read(path: str, inputs: Any, settings: Settings) -> Subject:
    from costmodel.saved import read_costs

    saved = read_costs(path)
    what = "training step" if isinstance(saved, TrainingStep) else "profile"
    if inputs is not None or settings.changed("mode", "dtype", *OF_A_STEP):
        raise InputError(f"{path} is a saved {what}: its inputs, mode, dtype and how it was made are fixed")
    return Subject(path, None, None, settings, saved)


def _function(loss: Any) -> Any:
    if isinstance(loss, str):
        from costmodel.loading import function

        return function(loss)
    if loss is not None and not callable(loss):
        raise InputError(f"loss={short(loss)} is no function of the model's output")
    return loss
