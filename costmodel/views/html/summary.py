"""The head of a report: the totals with their units, explained, and the verdict of the checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from costmodel.measures import MEASURES, Measure, Number, shown_in
from costmodel.views import units
from costmodel.views.cells import beyond_the_peak, inputs, is_exact, total_cell, whole_field
from costmodel.views.columns import Column, digits
from costmodel.views.columns import columns as chosen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from costmodel.comparison import Comparison
    from costmodel.cross_check import CrossCheck
    from costmodel.profiling import Profile
    from costmodel.profiling.coverage import Coverage


@dataclass(frozen=True)
class Figure:
    """One number of a summary."""

    key: str
    name: str
    head: str
    """The name above a column of it, with the unit where ``short`` does not say it."""
    short: str
    """Rounded, with its unit."""
    exact: str
    """Every digit, with its unit."""
    means: str
    """What is counted, in plain words."""
    count: Number | None
    """``None`` where a model has no such figure."""


@dataclass(frozen=True)
class Summary:
    """The head of a report on one model."""

    name: str
    input: str
    facts: tuple[tuple[str, str], ...]
    figures: tuple[Figure, ...]
    coverage: Coverage
    check: CrossCheck
    layers: int
    share_checked: str
    """How much of the MACs lies in layers that were derived twice."""
    is_exact: bool
    receptive_field: tuple[int | None, ...]
    """Of the deepest feature map whose field is local; empty where there is none, or attention behind it."""
    whole_field: str | None
    """Why the field is the whole input, where attention makes it so."""
    compared: str = "output shape, parameters, MACs, FLOPs and memory access"
    """What the cross-check compares."""

    @property
    def verdict(self) -> str:
        """One word: ``agrees``, ``differs``, ``incomplete`` for lower bounds, ``unchecked`` if nothing was compared."""
        if not self.check.ok:
            return "differs"
        if not self.is_exact:
            return "incomplete"
        return "agrees" if self.check.checked else "unchecked"

    @property
    def tone(self) -> str:
        """The CSS class of the verdict."""
        return "incomplete" if self.verdict == "unchecked" else self.verdict

    @property
    def reasons(self) -> str:
        """Why totals are lower bounds, in a line: of several bounds, the first."""
        unknown, bounds = len(self.coverage.unknown), self.coverage.bounds
        said = [f"{unknown} operation{'s' if unknown > 1 else ''} without a rule"] if unknown else []
        said += [f"in {note.where or 'the model itself'}, {note.why}" for note in bounds[:1]]
        said += [f"{len(bounds) - 1} more"] if len(bounds) > 1 else []
        return "; ".join(said)


def summary(p: Profile) -> Summary:
    """The head of a report on a profile."""
    check = p.crosscheck()
    twice = {c.name for c in check.comparisons}
    layers = p.pricing.layers
    macs_twice = sum(int(layer.work.macs) for layer in layers if layer.name in twice)
    read = "nothing computed" if p.execution == "meta" else "run on real tensors"
    facts: tuple[tuple[str, str], ...] = (
        ("input", inputs(p)),
        ("forward", p.mode),
        ("read by", f"one forward, {read}"),
        ("layers", f"{len(layers):,}"),
    )
    whole = whole_field(p)
    if whole is not None:
        facts = (*facts, ("receptive field", whole))
    return Summary(
        p.name,
        inputs(p),
        facts,
        _figures(p),
        p.coverage,
        check,
        len(layers),
        units.share(macs_twice, p.macs),
        p.is_exact,
        _field(p),
        whole,
    )


def _field(p: Profile) -> tuple[int | None, ...]:
    field = p.local_receptive_field
    return () if field is None or field.reason else field.size


def _figures(p: Profile) -> tuple[Figure, ...]:
    return tuple(
        _figure(p, measure, total) for measure in shown_in("summary") if (total := p.total(measure.name)) is not None
    )


def _figure(p: Profile, measure: Measure, total: Number | None) -> Figure:
    exact, name, noun = is_exact(p, measure), units.sentence_case(measure.title), units.noun(measure.name)
    return Figure(
        measure.name,
        name,
        f"{name} ({noun})" if noun and not measure.symbol and measure.name not in _SHORT else name,
        _SHORT[measure.name](p) if measure.name in _SHORT else total_cell(p, measure),
        digits(measure, total, exact=exact),
        _MEANS[measure.name](p) if measure.name in _MEANS else measure.means,
        total,
    )


def _params_means(p: Profile) -> str:
    parts = [f"{units.si(p.params_bytes, 'B')} as stored"]
    parts += [f"{units.si(p.trainable_params)} of them trainable"] if p.trainable_params != p.params else []
    parts += [f"{units.si(p.nonzero_params)} not pruned"] if p.nonzero_params != p.params else []
    parts += [f"{units.si(p.active_params)} active in this run"] if p.active_params != p.params else []
    return f"{', '.join(parts)}; a shared one counts once"


def _macs_means(p: Profile) -> str:
    parts = [f"{units.share(p.macs_on_padding, p.macs)} of them on padding"] if p.macs_on_padding else []
    parts += [f"{units.si(p.nonzero_macs)} of weights not pruned"] if p.nonzero_macs != p.macs else []
    return "; ".join(["multiply-accumulates: what most papers call “FLOPs”", *parts])


def _memory_access_means(p: Profile) -> str:
    fused = units.si(p.fused_memory_access_bytes, "B", exact=p.is_exact)
    return f"read and written, every op a kernel of its own; {fused} with elementwise ops fused"


def _peak_memory_means(p: Profile) -> str:
    where = f"in {p.peak.module}" if p.peak.module else "outside any submodule"
    said = f"live activations at the worst moment, {where}; parameters apart"
    return f"{said}. {units.sentence_case(beyond)}" if (beyond := beyond_the_peak(p)) is not None else said


_MEANS: Mapping[str, Callable[[Profile], str]] = {
    "params": _params_means,
    "macs": _macs_means,
    "flops": lambda _: "every arithmetic operation: two per MAC, one for any other",
    "memory_access": _memory_access_means,
    "peak_memory": _peak_memory_means,
}
"""What the page says of a figure where that depends on the model; of any other, what the measure means."""

_SHORT: Mapping[str, Callable[[Profile], str]] = {
    "memory_access": lambda p: units.si(p.memory_access_bytes, "B", exact=p.is_exact),
}
"""Where the rounded figure is not that of the measure itself: memory traffic is best known in bytes."""


def columns(c: Comparison) -> list[tuple[Figure, ...]]:
    """The columns of a comparison's table of totals: of each the figures, one for each model."""
    return [_column(c, column) for column in chosen(c, shown_in("summary"))]


def _column(c: Comparison, column: Column) -> tuple[Figure, ...]:
    measure = MEASURES.get(column.name)
    if measure is None:
        rows = zip(column.cells, column.digits, column.figures, strict=True)
        return tuple(Figure(column.name, column.head, column.head, *row[:2], column.means, row[2]) for row in rows)
    return tuple(_figure(p, measure, total) for p, total in zip(c.profiles.values(), column.figures, strict=True))


def ranges(names: Sequence[str], columns: Iterable[Sequence[Figure]]) -> tuple[Figure, ...]:
    """From the least to the most that some models have of each quantity."""
    found = []
    for column in columns:
        ordered = sorted((f.count, i) for i, f in enumerate(column) if f.count is not None)
        if not ordered:
            continue
        (fewest, at_least), (greatest, at_most) = ordered[0], ordered[-1]
        least, most = column[at_least], column[at_most]
        if fewest == greatest:
            short, means = least.short, "the same in every model"
        else:
            short, means = f"{least.short} – {most.short}", f"{names[at_least]} to {names[at_most]}"
            if fewest > 0 and least.key in MEASURES:
                means += f", {units.ratio(greatest / fewest)}"
        if len(ordered) < len(names):
            means += f"; {len(ordered)} of {units.plural(len(names), 'model')} have one"
        found.append(Figure(least.key, least.name, least.head, short, "", means, greatest))
    return tuple(found)
