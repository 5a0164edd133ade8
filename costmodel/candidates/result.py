"""``Sweep``: what each candidate costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from costmodel.candidates.memory import Store
from costmodel.errors import InputError
from costmodel.measures import TRADE_OFF
from costmodel.rendering import Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Sweep(Report):
    """What each candidate of a grid costs. Every figure is an exact integer."""

    view: ClassVar[str] = "sweep"

    name: str
    """What was swept, as reports name it."""
    names: tuple[str, ...]
    """The arguments that differ between candidates."""
    measures: tuple[str, ...]
    """The names of the measures that it has."""
    store: Store = field(repr=False)
    """Where the rows are: in memory, or in a folder of Parquet files."""

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row per candidate that could be computed, in the order of the grid: its arguments, then every measure.

        Of candidates that were traced ``is_exact`` and ``input`` follow: whether figures are more than lower bounds,
        and what the model was given.
        """
        return self.store.table()

    @cached_property
    def failures(self) -> pd.DataFrame:
        """A row per candidate that could not be computed: its arguments, and the ``error``."""
        return self.store.failures()

    def pareto(self, *measures: str) -> pd.DataFrame:
        """The rows of ``table`` that no other undercuts, by the first measure; of parameters and MACs if none is named.

        A row is left out where another is as small in all measures, and smaller in one.
        Raises ``InputError`` for a name that is no measure of the sweep.
        """
        from costmodel.front import front

        wanted = list(measures or TRADE_OFF[:2])
        for name in wanted:
            if name not in self.measures:
                raise InputError(f"the sweep has no measure {name!r}; it has {', '.join(self.measures)}")
        if self.table.empty:
            return self.table
        found = self.table[front([self.table[name].to_numpy() for name in wanted])]
        return found.sort_values(wanted, kind="stable")

    def to_pandas(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def plot(self, x: str = TRADE_OFF[0], y: str = TRADE_OFF[1], ax: Axes | None = None) -> Figure:
        """One measure against another, with the Pareto front, drawn into ``ax`` if given."""
        from costmodel.views import candidates

        return candidates.figure(self, x, y, ax)
