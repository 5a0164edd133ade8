"""Garbage collection around a trace."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_FEW = 50_000
"""New objects that are too few to collect for: about those of ten small networks."""


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pauses garbage collection, and makes all objects old that exist before: those of the trace are the young ones.

    A tensor in a reference cycle is freed with the cycle: when that is must not depend on how many records were made.
    """
    collecting = gc.isenabled()
    gc.disable()
    if collecting:
        _unseen.collect_if_many()
    make_old()
    try:
        yield
    finally:
        if collecting:
            # The trace's many records all live on. As old objects they are not visited by the next collection of young
            # ones, which would take a tenth of the trace's time.
            make_old()
            gc.enable()


def make_old() -> None:
    """Makes all objects old. Nothing is collected."""
    if gc.get_freeze_count():
        gc.collect(1)  # the user's frozen objects must stay frozen
    else:
        gc.freeze()
        gc.unfreeze()


class _Unseen:
    """The objects that were made old here, which Python therefore does not count.

    Python collects old garbage when the objects that have become old are a quarter of all. Without this count, a loop
    that builds and profiles models with cycles in them would keep all of them.
    """

    def __init__(self) -> None:
        self._pending = self._all = 0

    def collect_if_many(self) -> None:
        """Collects where Python would have done so."""
        young, middle, old = gc.get_count()
        first, second, _ = gc.get_threshold()
        self._pending += young + first * (middle + second * old)
        if self._pending < _FEW or self._pending < self._all // 4:
            return
        gc.collect()
        self._pending, self._all = 0, len(gc.get_objects())


_unseen = _Unseen()
