"""What the steps of a training cost, and what share of a device's peak they reach."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeAlias

from costmodel.callbacks.clock import Clock
from costmodel.errors import CostModelError
from costmodel.training import TrainingStep

FEW = 16
"""Shapes of batches of which a step is traced. A training of more, as of texts that are not padded to a few lengths,
would spend its time on traces."""

PREFIX = "costs/"
"""What the names of logged figures begin with."""

Trace: TypeAlias = Callable[[int], TrainingStep]
"""Traces a step of this many forward and backward passes."""

_LOG = logging.getLogger("costmodel")


@dataclass
class Window:
    """The steps since figures were logged last."""

    steps: int = 0
    seconds: float = 0.0
    model_macs: int = 0
    """Without what is computed again for checkpoints."""
    macs: int = 0
    is_known: bool = True
    """Whether the cost of each step is."""


class Meter:
    """Counts the steps of a training, of which it learns batch by batch.

    Args:
        device: the name of the device that each process trains on; ``None``: utilisation is not known.
        math: how it computes products of float32 tensors.
        step: what each step costs, where that is known already.
        devices: how many devices share the work of this process.
        speaks: whether it writes to the log, as one of several processes does.
        clock: the time of the training, which is stopped while steps are traced.
    """

    def __init__(
        self, device: str | None = None, math: str = "float32", step: TrainingStep | None = None, devices: int = 1,
        *, speaks: bool = True, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self._speaks = speaks
        self._device, self._math, self._given, self._devices = device, math, step, devices
        self._traced: dict[Hashable, TrainingStep | None] = {}
        self._passes: Counter[Hashable] = Counter()
        self._first: dict[str, float] | None = None
        self._window = Window()
        self._is_warm = False
        self._peak: float | None = None
        self._said: set[str] = set()
        self.clock = clock or Clock()
        self._read = self.clock.read()

    def say(self, message: str) -> None:
        """Writes a message to the log of this library, once."""
        if self._speaks and message not in self._said:
            self._said.add(message)
            _LOG.warning("%s", message)

    @property
    def step(self) -> TrainingStep | None:
        """A step on batches of the first shapes that are known, or the one that was given."""
        return self._given or next(filter(None, self._traced.values()), None)

    def knows(self, key: Hashable) -> bool:
        """Whether it has seen batches of these shapes."""
        return key in self._traced

    def sees(self, key: Hashable, trace: Trace, accumulated: int = 1) -> None:
        """Prepares for batches of these shapes.

        Args:
            key: the same for batches of one cost.
            trace: traces a step on such a batch.
            accumulated: forward and backward passes before an update.
        """
        if self._given is not None:
            if self._first is None:
                self._first = _figures(self._given, self._given, 1)
        elif key not in self._traced:
            with self.clock.stopped():
                self._traced[key] = self._try(trace, 1)
                step = self._traced[key]
                if self._first is None and step is not None:
                    # Figures are linear in the passes from the second on, and the peak that of the second.
                    second = step if accumulated == 1 else self._try(trace, 2)
                    self._first = {} if second is None else _figures(step, second, accumulated)

    def ran(self, key: Hashable, passes: int = 1) -> None:
        """Forward and backward passes ran on a batch."""
        self._passes[key] += passes

    def stepped(self) -> None:
        """The optimizer updated the parameters, which ends a step. The first, slow for many reasons, does not count."""
        seconds, passes, self._passes = self._lap(), self._passes, Counter()
        if not self._is_warm:
            self._is_warm = True
            return
        window = self._window
        window.steps += 1
        window.seconds += seconds
        if self._given is not None:
            window.macs += self._given.macs
            window.model_macs += self._given.macs - self._given.recomputed_macs
            return
        for i, (key, times) in enumerate(passes.items()):
            step = self._traced.get(key)
            if step is None:
                window.is_known = False
                continue
            update = step.update.macs
            macs = times * (step.macs - update) + (update if i == 0 else 0)
            window.macs += macs
            window.model_macs += macs - times * step.recomputed_macs

    def figures(self) -> dict[str, float]:
        """What to log now, by name: once, what a step costs; and how fast the steps since the last time ran.

        What passed since the last step ended counts, as the device may have been done with that one only now.
        """
        found, window = self._first or {}, self._window
        window.seconds += self._lap()
        self._first, self._window = {} if self._first is not None else None, Window()
        if window.steps:
            found = {**found, "step_seconds": window.seconds / window.steps}
            step = self.step
            if step is not None and window.is_known and window.seconds > 0:
                found["model_flops_per_second"] = 2 * window.model_macs / window.seconds
                if self._device is not None:
                    if self._peak is None:
                        self._peak = self._devices * step.roofline(self._device, self._math).peak
                    # As TrainingStep.mfu and hfu have it, of all these steps together.
                    found["mfu"] = 2 * window.model_macs / (window.seconds * self._peak)
                    found["hfu"] = 2 * window.macs / (window.seconds * self._peak)
        return {PREFIX + name: value for name, value in found.items()}

    def _lap(self) -> float:
        last, self._read = self._read, self.clock.read()
        return self._read - last

    def _try(self, trace: Trace, passes: int) -> TrainingStep | None:
        if len(self._traced) == FEW:
            self.say(
                f"batches have more than {FEW} shapes, and steps on the others are not traced: utilisation is logged "
                f"where all steps since the last time are known. Pad batches to a few lengths"
            )
            return None
        try:
            step = trace(passes)
        except Exception as error:  # nothing may end a training
            reason = str(error) if isinstance(error, CostModelError) else f"{type(error).__name__}: {error}"
            self.say(f"what a step costs is not known: {reason}. You may give it: step=costmodel.training_step(...)")
            return None
        if not step.is_exact:
            self.say(f"what a step costs is a lower bound: {step.coverage.unknown or step.coverage.bounds}")
        return step


def _figures(one: TrainingStep, two: TrainingStep, passes: int) -> dict[str, float]:
    """What a step of several passes costs, given those of one and of two, or the same one twice."""
    more = passes - 1
    return {
        "params": one.params,
        "trainable_params": one.trainable_params,
        "step_macs": one.macs + more * (two.macs - one.macs),
        "step_flops": one.flops + more * (two.flops - one.flops),
        "peak_memory": two.peak_memory,
    }
