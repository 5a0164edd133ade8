"""The columns of a comparison's tables: measures and metrics, each as cells for its models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from costmodel.measures import MEASURES, Measure, Number
from costmodel.views import units
from costmodel.views.cells import is_exact, total_cell
from costmodel.views.grouped import by_value
from costmodel.views.layer_table import column_head

if TYPE_CHECKING:
    from costmodel.comparison import Comparison
    from costmodel.metrics import Metric

_WIDE = 12
"""Characters of a metric's name that stand in one line above a terminal's column, if its words are no longer."""

INPUT = "input"
"""The name of the column of what each model was given."""


@dataclass(frozen=True)
class Column:
    """One column: what stands above it, and a cell for each model."""

    name: str
    head: str
    """With the unit, where the cells do not say it."""
    narrow: str
    """The same, shorter, for a terminal; the unit in a second line."""
    means: str
    cells: Sequence[str]
    """Rounded."""
    digits: Sequence[str]
    """Every digit, with the unit."""
    figures: Sequence[Number | None]
    priority: int
    """In a terminal too narrow for all columns, those with the highest priority stay."""
    ratios: Sequence[float] | None = None
    """To the baseline, where there is one and the column has such."""
    is_asked: bool = False
    """Whether it was asked for by name: then no terminal is too narrow for it."""


def columns(c: Comparison, shown: Sequence[Measure], *, ratios: Iterable[Measure] = ()) -> list[Column]:
    """The columns that are chosen; where none are, the measures that a view shows by itself, and all metrics.

    Args:
        c: the comparison.
        shown: the measures that a view shows by itself.
        ratios: those that have ratios, if the comparison has a baseline.
    """
    names = [*(measure.name for measure in shown), *c.metrics] if c.columns is None else c.columns
    with_ratios = {measure.name for measure in ratios} if c.baseline is not None else set()
    return [
        _of_metric(c, name) if name in c.metrics else _of_measure(c, MEASURES[name], ratios=name in with_ratios)
        for name in names
        if name != INPUT
    ]


def has_input(c: Comparison) -> bool:
    """Whether tables show what each model was given."""
    return c.columns is None or INPUT in c.columns


def _of_measure(c: Comparison, measure: Measure, *, ratios: bool) -> Column:
    profiles, name = list(c.profiles.values()), measure.name
    totals = c.totals(name)
    return Column(
        name, units.head(name), column_head(measure), measure.means,
        [total_cell(p, measure) for p in profiles],
        [digits(measure, n, exact=is_exact(p, measure)) for n, p in zip(totals, profiles, strict=True)],
        totals, measure.priority, c.ratios(name) if ratios else None,
    )  # fmt: skip


def digits(measure: Measure, total: Number | None, *, exact: bool) -> str:
    """Every digit of a model's total, with its unit; nothing where it has none."""
    return "" if total is None else f"{'' if exact else 'at least '}{units.grouped(total)} {measure.unit}".rstrip()


def _of_metric(c: Comparison, name: str) -> Column:
    metric, figures = c.metrics[name], c.totals(name)
    every = [
        "" if n is None else " ".join(filter(None, (units.grouped(n), metric.unit, _source(metric, row))))
        for row, n in zip(c.profiles, figures, strict=True)
    ]
    narrow = "\n".join(wrap(units.printable(metric.name), _WIDE, break_long_words=False, break_on_hyphens=False))
    return Column(
        metric.name,
        head(metric),
        f"{narrow}\n({metric.unit})" if metric.unit else narrow,
        means(metric),
        units.given(figures, metric.unit),
        every,
        figures,
        metric.priority,
        is_asked=metric.is_asked,
    )


def head(metric: Metric) -> str:
    """What stands above a metric's column, with its unit."""
    name = metric.head or metric.name
    return f"{name} ({metric.unit})" if metric.unit else name


def _source(metric: Metric, row: str) -> str:
    return f"({metric.sources[row]})" if row in metric.sources else ""


def means(metric: Metric) -> str:
    """What a metric is, and which figures are better."""
    return "; ".join(filter(None, (metric.means, f"{metric.better} is better")))


def remarks(c: Comparison) -> list[str]:
    """What each metric that is shown is, where its figures come from, and why it has none of a model."""
    found: dict[str, list[str]] = {}
    for name, metric in c.metrics.items():
        if c.columns is not None and name not in c.columns:
            continue
        known = {row: source for row, source in metric.sources.items() if metric.figures.get(row) is not None}
        missing = [f"none of {row}: {why}" for row, why in metric.sources.items() if row not in known]
        said = "; ".join(filter(None, (_stated(metric, known), *missing)))
        if said:
            found.setdefault(said, []).append(name)
    return [f"{', '.join(names)}: {said}" for said, names in found.items()]


def _stated(metric: Metric, known: Mapping[str, str]) -> str:
    return f"{metric.means}{f': {by_value(known)}' if known else ''}"
