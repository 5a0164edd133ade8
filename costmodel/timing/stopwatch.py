"""Stopwatches: of the CPU by a clock, of a GPU by events in its stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch

Clock = Callable[[], float]


class Stopwatch(Protocol):
    """Takes marks, whose distance is read once all that ran between them has ended."""

    name: str

    def mark(self) -> Any:
        """Now, where the device is."""

    def settle(self) -> None:
        """Waits until all that was asked of the device is done."""

    def seconds(self, start: Any, end: Any) -> float:
        """Between two marks, after ``settle`` and before the next mark that follows one."""


class CpuStopwatch:
    """Marks are readings of a clock."""

    def __init__(self, clock: Clock) -> None:
        self.mark = clock
        self.name = f"time.{clock.__name__}" if vars(time).get(getattr(clock, "__name__", "")) is clock else "own clock"

    def settle(self) -> None:
        """Nothing runs on."""

    def seconds(self, start: float, end: float) -> float:
        """Between two readings."""
        return end - start


class CudaStopwatch:
    """Marks are events that the GPU passes in its stream. They are used again, for to make one takes time."""

    name = "CUDA events"

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: list[torch.cuda.Event] = []
        self._next = 0

    def mark(self) -> torch.cuda.Event:
        """An event at the end of what the present stream has been given."""
        if self._next == len(self._events):
            self._events.append(torch.cuda.Event(enable_timing=True))
        event = self._events[self._next]
        self._next += 1
        event.record()
        return event

    def settle(self) -> None:
        """Waits for the GPU; events that were taken before may then be used again."""
        torch.cuda.synchronize(self._device)
        self._next = 0

    def seconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """Between two events that have passed."""
        return float(start.elapsed_time(end)) / 1e3
