"""``Provenance``: the counts of a model beside the figures that are printed of it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from costmodel.provenance.figure import Figure
from costmodel.provenance.practice import Kind
from costmodel.records import dataclass
from costmodel.rendering import Report

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("figure", "quantity", "convention", "count", "prints", "match", "difference", "what", "source")


@dataclass(frozen=True, slots=True)
class Reckoning:
    """One way to count, beside one figure."""

    convention: str
    what: str
    """What is counted; where a tool fails, why."""
    source: str
    """Who counts so, with the version or the page that was read; empty for this library."""
    count: int | None
    """``None`` where the tool fails."""
    prints: str
    """The count, rounded to the digits of the figure."""
    match: str
    """How the count becomes the figure: ``exact``, ``rounded``, ``truncated``, ``rounded to 2 digits``; empty where it
    does not."""
    difference: float | None
    """Of the count from the figure, relative to the figure."""
    kind: Kind


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure, and every way to count what it states."""

    figure: Figure
    reckonings: tuple[Reckoning, ...]
    """Those that make the figure first, then by their distance from it, then tools that fail."""

    @property
    def matches(self) -> tuple[Reckoning, ...]:
        """Those that make the figure; a rounded one before one that is truncated."""
        return tuple(r for r in self.reckonings if r.match)

    @property
    def counts(self) -> tuple[tuple[Reckoning, ...], ...]:
        """The same, those of the same number together."""
        found: dict[int, list[Reckoning]] = {}
        for r in self.reckonings:
            if r.count is not None:
                found.setdefault(r.count, []).append(r)
        return tuple(map(tuple, found.values()))

    @property
    def failures(self) -> tuple[Reckoning, ...]:
        """The tools that fail on the model."""
        return tuple(r for r in self.reckonings if r.count is None)

    @property
    def nearest(self) -> Reckoning:
        """The first that makes the figure, or else the one that is nearest to it."""
        return self.reckonings[0]


@dataclass(frozen=True, eq=False, repr=False)
class Provenance(Report):
    """Which conventions make the figures that are printed of a model, and what the others say instead."""

    view: ClassVar[str] = "provenance"

    model: str
    inputs: str
    """The shapes of the inputs that were counted with."""
    is_exact: bool
    """Whether this library's figures are exact, and no lower bounds."""
    findings: tuple[Finding, ...]
    """One for each figure, in the order in which they were given."""

    @property
    def ok(self) -> bool:
        """Whether every figure is made by at least one convention."""
        return all(finding.matches for finding in self.findings)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per figure and convention.

        ``figure, quantity, convention, count, prints, match, difference, what, source``. ``count`` is empty where a
        tool fails on the model; ``what`` then says why.
        """
        import pandas as pd

        rows = [
            [finding.figure.title, finding.figure.quantity, r.convention, r.count, r.prints, r.match, r.difference,
             r.what, r.source]
            for finding in self.findings for r in finding.reckonings
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(_COLUMNS), dtype=object)

    @property
    def matches(self) -> pd.DataFrame:
        """The rows of ``table`` whose count makes the figure."""
        return self.table[self.table["match"] != ""].reset_index(drop=True)
