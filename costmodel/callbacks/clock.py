"""The time that steps of a training take, without what is done between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter


class Clock:
    """Runs from the end of one step to the end of the next.

    >>> seconds = iter([0.0, 2.0, 5.0, 6.0])
    >>> clock = Clock(lambda: next(seconds))
    >>> with clock.stopped():
    ...     pass  # from 2 to 5
    >>> clock.lap()
    3.0
    """

    def __init__(self, now: Callable[[], float] = perf_counter) -> None:
        self._now = now
        self._start = now()
        self._paused = self._start

    def lap(self) -> float:
        """The seconds since the last lap, or since the start."""
        now = self._now()
        seconds, self._start = now - self._start, now
        return seconds

    def restart(self) -> None:
        """Leaves out what was done since the last lap."""
        self._start = self._now()

    def pause(self) -> None:
        """Leaves out what is done from now until ``resume``."""
        self._paused = self._now()

    def resume(self) -> None:
        """Goes on, after ``pause``."""
        self._start += self._now() - self._paused

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Leaves out what is done in the block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()
