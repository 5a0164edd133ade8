"""Where the rows of a sweep go: into memory. ``costmodel.candidates.folder`` is the other place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from costmodel.candidates.grid import ABSENT, Grid
from costmodel.candidates.rows import Pricer, Rows

if TYPE_CHECKING:
    import pandas as pd

Numbers = np.ndarray[Any, Any]


class Store(Protocol):
    """Rows by the number of their candidate, each once."""

    @property
    def done(self) -> Numbers:
        """The candidates that have a row already."""

    def add(self, numbers: Numbers, rows: Rows) -> None:
        """Takes the results of a block."""

    def flush(self) -> None:
        """Writes what it still holds."""

    def table(self) -> pd.DataFrame:
        """A row per candidate that has figures, in the order of the grid."""

    def failures(self) -> pd.DataFrame:
        """A row per candidate that has none: its arguments, and the ``error``."""


class Memory:
    """Rows in memory."""

    def __init__(self, grid: Grid, pricer: Pricer) -> None:
        self._grid = grid
        self._names = (*pricer.measures, *pricer.others)
        self._parts: list[tuple[Numbers, Rows]] = []

    done: Numbers = np.array([], dtype=np.int64)

    def add(self, numbers: Numbers, rows: Rows) -> None:
        """Keeps them."""
        self._parts.append((numbers, rows))

    def flush(self) -> None:
        """There is nothing to write."""

    def table(self) -> pd.DataFrame:
        """Those with figures."""
        parts = [(numbers[np.asarray(rows.places)], rows.figures) for numbers, rows in self._parts if len(rows.places)]
        numbers = _joined([numbers for numbers, _ in parts])
        return framed(self._grid, numbers, {n: _joined([figures[n] for _, figures in parts]) for n in self._names})

    def failures(self) -> pd.DataFrame:
        """Those without."""
        failed = {int(numbers[i]): text for numbers, rows in self._parts for i, text in rows.failures.items()}
        return framed(self._grid, np.array(list(failed), dtype=np.int64), {"error": list(failed.values())})


def _joined(parts: list[Any]) -> Any:
    """Several columns below each other; Python's integers stay, where 64 bits do not hold them."""
    if not parts:
        return np.array([], dtype=np.int64)
    return np.concatenate([part if isinstance(part, np.ndarray) else np.array(part) for part in parts])


def framed(grid: Grid, numbers: Numbers, figures: dict[str, Any]) -> pd.DataFrame:
    """A table in the order of the grid: arguments, then figures."""
    import pandas as pd

    arguments = {name: _shown(column) for name, column in grid.columns(numbers).items()}
    table = pd.DataFrame({**arguments, **figures})
    return table.iloc[np.argsort(numbers, kind="stable")].reset_index(drop=True)


def _shown(column: np.ndarray[Any, Any]) -> Any:
    if column.dtype != object:
        return column
    shown = np.empty(len(column), dtype=object)
    for i, value in enumerate(column):
        shown[i] = None if value is ABSENT else value
    return shown
