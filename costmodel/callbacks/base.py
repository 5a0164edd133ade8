"""What both callbacks have in common: what they are made with, the class that they become, and that they never fail."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from costmodel.callbacks.around import around
from costmodel.callbacks.clock import clock_of
from costmodel.callbacks.meter import Meter
from costmodel.callbacks.running import device_of
from costmodel.devices import MATHS
from costmodel.devices import device as named
from costmodel.errors import InputError
from costmodel.training import TrainingStep

if TYPE_CHECKING:
    from torch import nn

Method = TypeVar("Method", bound=Callable[..., Any])


class Costs:
    """A callback that logs what a training costs.

    An instance is of a subclass that is a callback of the library, too, which is looked for when it is made.
    """

    _bases: ClassVar[Callable[[], tuple[type, ...]]]
    """Finds the library's class, or classes, of callbacks."""

    _meter: Meter | None = None
    """``None`` before the training and after something went wrong."""
    _has_failed = False
    _surrounding: ExitStack | None = None
    """What is around methods of the trainer; ``None`` outside of a training."""

    def __init__(self, device: str | None = None, *, math: str | None = None, step: TrainingStep | None = None) -> None:
        if device is not None:
            named(device)  # an unknown one is an error now, and not within the training
        if math is not None and math not in MATHS:
            raise InputError(f"math={math!r}: products of float32 tensors are computed in {' or '.join(MATHS)}")
        if step is not None and not isinstance(step, TrainingStep):
            raise InputError(f"step={step!r:.80} is no result of costmodel.training_step")
        self._device, self._math, self._step = device, math, step

    def __new__(cls, *_: Any, **__: Any) -> Costs:
        """An instance of this class, and of the library's."""
        kind: Any = cls  # which mypy does not take for hashable
        made: Costs = object.__new__(_with_bases(kind, cls._bases()))
        return made

    def __reduce__(self) -> Any:
        # Lightning sends callbacks to processes that it spawns, where the class of this one has to be made again.
        return _unpickled, (type(self).__bases__[0], vars(self))

    @property
    def step(self) -> TrainingStep | None:
        """The first step that was traced, or the one that was given; ``None`` before the training."""
        return self._step if self._meter is None else self._meter.step

    def _begin(
        self, trainer: Any, module: nn.Module, *, untimed: Iterable[tuple[Any, str]], devices: int = 1,
        is_main: bool = True,
    ) -> ExitStack:  # fmt: skip
        """Starts the clock, which stands still in the methods ``untimed``, each given as its owner and its name.

        Returns what is closed with the training.
        """
        self._end()  # of a training that an exception ended
        found, math, gpu = device_of(module)
        device, clock = self._device or found, clock_of(trainer)
        self._meter = Meter(device, self._math or math, self._step, devices, speaks=is_main, clock=clock)
        self._has_failed = False
        if device is None and gpu:
            self._meter.say(f"no peak rates are known of {gpu}, so no utilisation is logged: give device=")
        self._surrounding = surrounding = ExitStack()
        for owner, name in untimed:
            surrounding.enter_context(around(owner, name, lambda *_, **__: clock.stopped()))
        return surrounding

    def _end(self) -> None:
        """Leaves the trainer as it was."""
        if self._surrounding is not None:
            self._surrounding.close()
            self._surrounding = None


def _unpickled(kind: type[Costs], attributes: dict[str, Any]) -> Costs:
    made = kind.__new__(kind)
    vars(made).update(attributes)
    return made


@functools.cache
def _with_bases(cls: Any, bases: tuple[type, ...]) -> Any:
    return type(cls.__name__, (cls, *bases), {"__module__": cls.__module__})


def never_fails(method: Method) -> Method:
    """The method of a callback that, where something goes wrong, says so and leaves the training alone from then on."""

    @functools.wraps(method)
    def called(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            if not self._has_failed:
                (self._meter or Meter()).say(f"costs are not logged any more: {type(error).__name__}: {error}")
            self._meter, self._has_failed = None, True

    return called  # type: ignore[return-value]  # the same arguments, and None as both libraries have it
