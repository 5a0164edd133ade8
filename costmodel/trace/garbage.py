"""Garbage collection around a trace."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from costmodel.late import make_old

_MANY = 20_000
"""New objects after which it is looked whether the process has grown: that takes longer than to count them."""


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pauses garbage collection, and makes all objects old that exist before: those of the trace are the young ones.

    A tensor in a reference cycle is freed with the cycle: when that is must not depend on how many records were made.
    """
    collecting = gc.isenabled()
    gc.disable()
    if collecting:
        _growth.collect_if_large()
    make_old()
    try:
        yield
    finally:
        if collecting:
            # The trace's many records all live on. As old objects they are not visited by the next collection of young
            # ones, which would take a tenth of the trace's time.
            make_old()
            gc.enable()


class _Growth:
    """How much this process has grown since garbage was last collected.

    Python collects old garbage when the objects that have become old are a quarter of all. It does not count those that
    are made old here: a loop that builds and profiles models with cycles in them would keep all of them.
    """

    def __init__(self) -> None:
        self._new = self._blocks = 0

    def collect_if_large(self) -> None:
        """Collects where Python would have done so."""
        young, middle, old = gc.get_count()
        first, second, _ = gc.get_threshold()
        self._new += young + first * (middle + second * old)
        if self._new < _MANY:
            return
        self._new = 0
        blocks = sys.getallocatedblocks()
        if blocks > self._blocks + self._blocks // 4:
            if self._blocks:
                gc.collect()
            self._blocks = sys.getallocatedblocks()


_growth = _Growth()
