"""A measurement as one self-contained page, and as a table for notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING, Any

from costmodel.views import compact, html, palette, units
from costmodel.views import measurement as words

if TYPE_CHECKING:
    from costmodel.timing import Measurement
    from costmodel.timing.result import TimedLayer

WIDTH, HEIGHT = 760, 440
"""Of the scatter, in its own units."""
LEFT, BOTTOM, RIGHT, TOP = 74, 52, 48, 22
"""Room for what stands beside the axes: figures on two sides, names of lines on the others."""


def page(m: Measurement) -> str:
    """The whole forward, each layer against its bound, the table of layers, and how it was measured."""
    kinds = {words.shown_kind(row) for row, _, _ in words.points(m)}
    return html.from_template(
        "measurement.html.j2",
        title=f"{m.name}, measured",
        heading=m.name,
        what=f"On {words.where(m)}",
        figures=list(_figures(m)),
        scatter=_Scatter(m) if words.points(m) else None,
        legend=[(kind, palette.of_kind(kind)) for kind in palette.KINDS if kind in kinds],
        rows=[_cells(row, i) for i, row in enumerate(m.rows, 1)],
        method=list(words.method(m)),
        remarks=[f"{line[:1].upper()}{line[1:]}." for line in words.remarks(m)],
        payload={"models": [], "devices": {"values": [], "at": []}, "shown": ""},
    )


def fragment(m: Measurement) -> str:
    """The whole forward and the slowest layers, for notebooks."""
    timed = words.timed(m)
    shown = timed[: compact.ROWS]
    columns = [
        compact.Column("Layer", [row.name for row, _ in shown], is_text=True),
        compact.Column("Kind", [row.kind for row, _ in shown], is_text=True),
        *(
            compact.Column(head, [words.row_cells(row)[i] for row, _ in shown])
            for i, head in enumerate(map(units.sentence_case, words.HEADS))
        ),
    ]
    total = m.total
    runs = f"median of {units.plural(len(total.runs), 'run')}"
    return compact.Card(
        words.title(m),
        totals=[
            ("Forward", units.seconds(total.median), runs),
            ("Spread", units.seconds(total.spread), f"between the quartiles; quickest {units.seconds(total.least)}"),
            ("At least", units.seconds(total.bound), "every operation a kernel of its own"),
            ("Reached", words.reached(total.share), "of the bound"),
        ],
        tables=[compact.Table(columns, len(timed), "layer", ".layers")] if shown else [],
        remarks=[units.sentence_case(line) for line in words.remarks(m)],
        folded=[("How it was measured", [f"{name}: {said}" for name, said in words.method(m)])],
    ).html()


def _figures(m: Measurement) -> Iterator[dict[str, str]]:
    total, outside = m.total, m.outside
    runs = units.plural(len(total.runs), "run")
    yield _box("Forward", units.seconds(total.median), f"median of {runs}", "the whole forward, without hooks")
    yield _box(
        "Spread", units.seconds(total.spread), f"quickest run {units.seconds(total.least)}", "the interquartile range"
    )
    yield _box(
        "At least", units.seconds(total.bound), m.peaks.title, "the roofline: every operation a kernel of its own"
    )
    yield _box("Of the bound", words.reached(total.share), "", "the least time over the median")
    if outside is not None:
        left = max(outside.median, 0.0)
        yield _box(
            "Outside of modules", units.seconds(left), f"{units.share(left, total.median)} of a forward",
            "operations that no module holds, the code between modules, hooks",
        )  # fmt: skip
    count = len(words.timed(m))
    yield _box("Layers timed", units.grouped(count), f"of {units.plural(len(m.rows), 'row')}", "calls of leaf modules")


def _box(name: str, value: str, exact: str, means: str) -> dict[str, str]:
    return {"name": name, "short": value, "exact": exact, "means": means}


def _cells(row: TimedLayer, index: int) -> dict[str, Any]:
    shown = words.row_cells(row)
    times = row.times
    sorts = (-1.0, -1.0, row.bound, -1.0)
    if times is not None:
        sorts = (times.median, times.spread, row.bound, -1.0 if times.share is None else times.share)
    return {
        "name": row.name, "type": row.type, "index": index, "kind": row.kind, "color": palette.of_kind(row.kind),
        "bound_by": row.bound_by if row.bound else "", "times": list(zip(shown, sorts, strict=True)),
    }  # fmt: skip


@dataclass(frozen=True)
class _Dot:
    x: float
    y: float
    color: str
    said: str


class _Scatter:
    """Where everything of the scatter is drawn: both axes logarithmic, the least time across, the measured one up."""

    width, height, left, bottom, right, top = WIDTH, HEIGHT, LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, TOP

    def __init__(self, m: Measurement) -> None:
        drawn = words.points(m)
        self._across, self._up = words.limits(drawn)
        self.dots = [_Dot(self._x(x), self._y(y), palette.of_kind(row.kind), _said(row)) for row, x, y in drawn]
        self.across = [(self._x(tick), words.tick(tick)) for tick in words.ticks(*self._across)]
        self.up = [(self._y(tick), words.tick(tick)) for tick in words.ticks(*self._up)]
        self.lines = [(share, *self._line(share)) for share in words.LINES]
        self.names = [name for share in words.LINES if (name := self._name(share)) is not None]

    def _x(self, seconds: float) -> float:
        low, high = self._across
        return round(LEFT + (WIDTH - LEFT - RIGHT) * log10(seconds / low) / log10(high / low), 1)

    def _y(self, seconds: float) -> float:
        low, high = self._up
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * log10(seconds / low) / log10(high / low), 1)

    def _line(self, share: float) -> tuple[float, float, float, float]:
        """The ends of the line on which this share of the bound is reached; the frame cuts it off."""
        low, high = self._across
        return self._x(low), self._y(low / share), self._x(high), self._y(high / share)

    def _name(self, share: float) -> tuple[float, float, str, str] | None:
        """Where a line leaves the frame, how its name is anchored there, and that; ``None`` where it is outside."""
        name = "bound" if share == 1 else f"{share:.0%}"
        (left, right), (low, high) = self._across, self._up
        if left < high * share < right:
            return self._x(high * share), TOP - 6.0, "middle", name
        return (WIDTH - RIGHT + 6.0, self._y(right / share) + 4, "start", name) if low < right / share <= high else None


def _said(row: TimedLayer) -> str:
    median, spread, least, share = words.row_cells(row)
    return f"{row.name}, {row.kind}: {median} ± {spread}, at least {least}: {share} of the bound"
