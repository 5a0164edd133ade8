"""The time of a training, without what is no part of it: validation, checkpoints, and what the callbacks do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary


class Clock:
    """A clock that can be stopped.

    Args:
        now: the seconds that pass anyway.
        wait: waits for what the device still computes, which is of the time before a stop.

    >>> seconds = iter([2.0, 5.0, 6.0])
    >>> clock = Clock(lambda: next(seconds))
    >>> with clock.stopped():  # from 2 to 5
    ...     clock.read()
    2.0
    >>> clock.read()
    3.0
    """

    def __init__(self, now: Callable[[], float] = perf_counter, wait: Callable[[], object] = lambda: None) -> None:
        self._now, self._wait = now, wait
        self._left_out = 0.0
        self._stopped_at: float | None = None

    def read(self) -> float:
        """The seconds in which it ran, since an arbitrary start."""
        return (self._now() if self._stopped_at is None else self._stopped_at) - self._left_out

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Leaves out what is done in the block, which may be within another such block."""
        if self._stopped_at is not None:
            yield
            return
        self._wait()
        self._stopped_at = self._now()
        try:
            yield
        finally:
            self._left_out += self._now() - self._stopped_at
            self._stopped_at = None


_CLOCKS: WeakKeyDictionary[Any, Clock] = WeakKeyDictionary()


def clock_of(trainer: Any) -> Clock:
    """The one clock of all callbacks of a trainer: each stops it for what it does itself."""
    return _CLOCKS.setdefault(trainer, Clock(wait=synchronise))


def synchronise() -> None:
    """Waits for what a GPU still computes."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
