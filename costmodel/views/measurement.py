"""Measured times beside their bound: for a terminal, as Markdown, for scripts and papers, as a figure."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from costmodel.views import csv as tables
from costmodel.views import grid, latex, palette, units
from costmodel.views.json import VERSION, by_lines
from costmodel.views.markdown import collapsed, escape, pictures, table
from costmodel.views.styled import Part, Text, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.timing import Measurement
    from costmodel.timing.result import TimedLayer, Times

TOP = 20
"""Layers that a table shows, the slowest first."""
RESTLESS = 0.1
"""The part of the median by which the middle half of the forwards may differ without a remark."""

# -- what is said --------------------------------------------------------------------------------------------------


def title(m: Measurement) -> str:
    """What was measured, and where."""
    return f"{m.name} on {where(m)}"


def where(m: Measurement) -> str:
    """The machine, and the inputs."""
    given = ", ".join(f"{units.shape(shape)} {dtype}" for shape, dtype in m.inputs)
    return f"{m.setting.hardware}{f', input {given}' if given else ''}"


def facts(m: Measurement) -> Iterator[tuple[str, str]]:
    """The whole forward: its time, the bound, what lies outside the layers."""
    total = m.total
    yield "forward", f"{units.seconds(total.median)} in the median of {units.plural(len(total.runs), 'run')}"
    yield (
        "spread",
        (
            f"{units.seconds(total.spread)} between the quartiles ({units.share(total.spread, total.median)} of the "
            f"median); the quickest run {units.seconds(total.least)}"
        ),
    )
    yield "at least", f"{units.seconds(total.bound)} with every operation a kernel of its own"
    yield "reached", f"{reached(total.share)} of the bound" if total.share is not None else "nothing to compute"
    if m.outside is not None:
        part = units.share(max(m.outside.median, 0.0), total.median)
        yield (
            "outside",
            (
                f"{units.seconds(max(m.outside.median, 0.0))} ({part}) outside of the modules below: operations that "
                f"no module holds ({least(m.outside)}), the code between modules, hooks"
            ),
        )


def least(outside: Times) -> str:
    """What the operations outside of modules need at least."""
    return f"at least {units.seconds(outside.bound)}" if outside.bound else "none here"


def reached(share: float | None) -> str:
    """A share of the bound; above 100 % the run was quicker than the bound.

    >>> reached(0.4321), reached(1.5), reached(0.0004), reached(None)
    ('43.2%', '150.0%', '< 0.1%', '–')
    """
    return "–" if share is None else units.share(share, 1)


def method(m: Measurement) -> Iterator[tuple[str, str]]:
    """How it was measured, on what, and by which peaks the bound is."""
    setting, peaks = m.setting, m.peaks
    threads = "" if setting.threads is None else f", {units.plural(setting.threads, 'thread')}"
    yield "machine", f"{setting.hardware} ({setting.device}{threads}), torch {setting.torch}, {setting.date}"
    turns = f"then {len(m.hooked)} with hooks around modules in turns with as many without" if m.hooked else "then runs"
    mode = "autograd recorded, as the forward differentiates" if setting.with_grad else "in inference mode"
    yield "runs", f"{units.plural(setting.warm_up, 'forward')} to warm up, {turns}; {mode}; read by {setting.timer}"
    if m.slowdown is not None:
        longer = "longer" if m.slowdown >= 0 else "less"
        yield (
            "hooks",
            (
                f"{units.seconds(setting.hook)} are read around a module that does nothing; forwards with hooks took "
                f"{units.share(abs(m.slowdown), 1)} {longer}"
            ),
        )
    yield "clocks", "; ".join(setting.clocks)
    yield "peaks", f"{peaks.title} ({peaks.name}), {peaks.why}"
    for name, rate, source in peaks.figures:
        what, unit = ("memory", "B/s") if name == "bandwidth" else (name, "FLOP/s")
        yield what, f"{units.si(rate, unit)}{f': {source}' if source else ''}"


def remarks(m: Measurement) -> Iterator[str]:
    """What a reader has to know of the figures."""
    faster = sum(1 for _, times in timed(m) if (times.share or 0) > 1)
    if m.total.median and m.total.spread > RESTLESS * m.total.median:
        yield (
            "the forwards differ much: other work ran on the machine, or its clock changed. Repeat it on an idle one; "
            "one thread's CPU time (--threads 1 --cpu-time) leaves out waiting for a core"
        )
    if faster:
        yield (
            f"{units.plural(faster, 'layer')} quicker than the bound: the bound takes every byte from memory, and "
            f"theirs stay in a cache; or an algorithm computes less than the definition"
        )
    if m.unmatched:
        yield f"no layer has a time, as the forward that ran is not the one that was profiled: {m.unmatched}"
    if not m.is_exact:
        yield "an operation has no rule, or a cost depends on values: the bound is lower than it could be"
    without = sum(1 for row in m.rows if row.times is None)
    if without and not m.unmatched:
        yield (
            f"{units.plural(without, 'row')} without a time: no hook is around an operation outside of any module, a "
            f"module that torch.jit compiled, or one that each forward makes anew"
        )


def timed(m: Measurement) -> list[tuple[TimedLayer, Times]]:
    """The layers that have times, the slowest first."""
    found = [(row, row.times) for row in m.rows if row.times is not None]
    return sorted(found, key=lambda pair: -pair[1].median)


# -- a terminal ----------------------------------------------------------------------------------------------------


def text(m: Measurement, width: int | None = None) -> str:
    """A measurement as plain text, as wide as the terminal (or 80 characters)."""
    wide = width or (shutil.get_terminal_size((80, 40)).columns if sys.stdout.isatty() else 80)
    return plain(parts(m, wide), wide)


def parts(m: Measurement, width: int, top: int = TOP) -> list[Part | str]:
    """The whole forward, the slowest layers, and how it was measured."""
    ranked = timed(m)
    made: list[Part | str] = [Text(units.printable(title(m)), style="bold"), _listing(facts(m), width)]
    if ranked:
        made += ["", *_layers(ranked, top, width)]
    made += ["", _listing(method(m), width)]
    said = list(remarks(m))
    return [*made, "", grid.dim(said)] if said else made


def _listing(pairs: Iterator[tuple[str, str]], width: int) -> Part:
    names, said = zip(*pairs, strict=True)
    return grid.listing(names, [grid.Column("", said, right=False, wrap=True)], width)


def _layers(ranked: Sequence[tuple[TimedLayer, Times]], top: int, width: int) -> list[Part | str]:
    shown = [row for row, _ in ranked[:top]]
    cells = [row_cells(row) for row in shown]
    whole = sum(times.median for _, times in ranked)
    shares = [units.share(times.median, whole) for _, times in ranked[:top]]
    columns = [
        grid.numbers("measured", [c[0] for c in cells], 10),
        grid.numbers("± spread", [c[1] for c in cells], 8),
        grid.numbers("at least", [c[2] for c in cells], 9),
        grid.Column("of the\nbound", [c[3] for c in cells], 9),
        grid.Column("share of\nthe time", shares, 7, style="cyan"),
        grid.Column("bound by", [row.bound_by if row.bound else "" for row in shown], 5, right=False),
        grid.Column("kind", [row.kind for row in shown], 4, right=False, style="dim"),
    ]
    made, dropped = grid.table("layer", [Text(row.name) for row in shown], columns, width)
    rest = len(ranked) - len(shown)
    more = [f"{units.plural(rest, 'more layer')} take{'s' if rest == 1 else ''} less each"] if rest else []
    return [made, grid.dim(more + grid.left_out(dropped))]


def row_cells(row: TimedLayer) -> tuple[str, str, str, str]:
    """A layer's median, spread, bound and share."""
    at_least = units.seconds(row.bound) if row.bound else "0"
    if row.times is None:
        return "–", "–", at_least, "–"
    times = row.times
    return units.seconds(times.median), units.seconds(times.spread), at_least, reached(times.share)


# -- Markdown, scripts, papers -------------------------------------------------------------------------------------


def markdown(m: Measurement, figures: Mapping[str, str] | None = None) -> str:
    """The same as Markdown: the slowest layers, and all in a collapsed block."""
    ranked = timed(m)
    more = [f"{line[:1].upper()}{line[1:]}." for line in remarks(m)]
    lines = [
        f"# {escape(title(m))}",
        _bullets(facts(m)),
        _rows([row for row, _ in ranked[:TOP]]) if ranked else "",
        *pictures(figures or {}),
        collapsed(f"All {len(m.rows):,} rows in order", _rows(m.rows)) if len(m.rows) > min(len(ranked), TOP) else "",
        "## How it was measured",
        _bullets(method(m)),
        " ".join(map(escape, more)),
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _bullets(pairs: Iterator[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {escape(said)}" for name, said in pairs)


HEADS = ("measured", "± spread", "at least", "of the bound")
"""Of the columns that ``row_cells`` fills."""


def _rows(rows: Sequence[TimedLayer]) -> str:
    body = [[escape(row.name), row.kind, *row_cells(row)] for row in rows]
    return table(["layer", "kind", *HEADS], body, left=2)


def csv(m: Measurement) -> str:
    """One line per row, times in seconds."""
    return tables.rows(m.layers)


def tex(m: Measurement) -> str:
    """One row per row of ``Profile.layers``, and the whole forward."""
    rows = [[row.name, row.kind, *row_cells(row)] for row in m.rows]
    total = m.total
    last = [units.seconds(total.median), units.seconds(total.spread), units.seconds(total.bound), reached(total.share)]
    return latex.table(["layer", "kind", *HEADS], rows, last=[m.name, "", *last], left=2)


def json(m: Measurement) -> str:
    """All runs, and what follows from them; ``costmodel.read_json`` reads the former."""
    layers = [
        {
            "name": row.name, "type": row.type, "kind": row.kind, "macs": row.macs, "flops": row.flops,
            "memory_access_bytes": row.nbytes, "bound_by": row.bound_by, "bound": row.bound,
            **({} if row.times is None else _figures(row.times)),
            "runs": None if row.times is None else list(row.times.runs),
        }
        for row in m.rows
    ]  # fmt: skip
    document = {
        "format": "costmodel-measurement",
        "version": VERSION,
        "name": m.name,
        "inputs": [{"shape": list(shape), "dtype": dtype} for shape, dtype in m.inputs],
        "is_exact": m.is_exact,
        "total": {"bound": m.total.bound, **_figures(m.total), "runs": list(m.total.runs)},
        "hooked": list(m.hooked),
        "unmatched": m.unmatched,
        "setting": {**asdict(m.setting), "clocks": list(m.setting.clocks)},
        "peaks": {**asdict(m.peaks), "figures": [list(figure) for figure in m.peaks.figures]},
        "layers": layers,
    }
    return by_lines(document)


def _figures(times: Times) -> dict[str, Any]:
    return {"median": times.median, "spread": times.spread, "least": times.least, "share": times.share}


# -- a figure ------------------------------------------------------------------------------------------------------


def of_measurement(m: Measurement) -> dict[str, tuple[str, Figure]]:
    """The figures of a report, each with its caption."""
    drawn = points(m)
    return {"measured": ("Measured time of each layer against its bound", figure(m))} if drawn else {}


def points(m: Measurement) -> list[tuple[TimedLayer, float, float]]:
    """The layers that a logarithmic scatter can show: bound and median, both above 0."""
    return [
        (row, row.bound, row.times.median)
        for row in m.rows
        if row.times is not None and row.bound > 0 and row.times.median > 0
    ]


def limits(drawn: Sequence[tuple[TimedLayer, float, float]]) -> tuple[tuple[float, float], tuple[float, float]]:
    """What both axes show: all points, with room around them."""
    xs, ys = [x for _, x, _ in drawn] or [1e-3], [y for _, _, y in drawn] or [1e-3]
    return (min(xs) / 1.6, max(xs) * 1.6), (min(ys) / 1.6, max(ys) * 1.6)


def shown_kind(row: TimedLayer) -> str:
    """The kind whose colour a layer has."""
    return row.kind if row.kind in palette.KINDS else "other"


LINES = (1.0, 0.1, 0.01)
"""Shares of the bound that have a line."""


def figure(m: Measurement, ax: Axes | None = None) -> Figure:
    """Each layer's median against its bound, both in powers; on the diagonal the bound is reached."""
    from costmodel.views.figures import axes, figure_of, set_title

    drawn = points(m)
    ax = axes(ax, 6.4, 4.4)
    across, up = limits(drawn)
    for share in LINES:
        style = "-" if share == 1 else ":"
        ax.plot(
            across, [x / share for x in across], style, color="0.35" if share == 1 else "0.6", linewidth=1, zorder=1
        )
    for kind in palette.KINDS:
        of_kind = [(x, y) for row, x, y in drawn if shown_kind(row) == kind]
        if of_kind:
            ax.scatter(
                [x for x, _ in of_kind], [y for _, y in of_kind], s=26, color=palette.of_kind(kind), alpha=0.85,
                edgecolors="white", linewidths=0.5, label=kind, zorder=2,
            )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set(xlim=across, ylim=up)
    ax.set_xlabel("at least, by the roofline")
    ax.set_ylabel("measured")
    for axis, (low, high) in ((ax.xaxis, across), (ax.yaxis, up)):
        made = ticks(low, high)
        axis.set_ticks(made, [tick(value) for value in made])
        axis.set_minor_formatter("")
    set_title(ax, f"{title(m)}\nsolid: the bound; dotted: a tenth and a hundredth of it")
    if drawn:
        ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0)
    return figure_of(ax)


def tick(seconds: float) -> str:
    """A round time as an axis names it.

    >>> tick(0.002), tick(1e-5), tick(0.5)
    ('2 ms', '10 µs', '500 ms')
    """
    number, unit = units.seconds(seconds).split()
    return f"{float(number):g} {unit}"


def ticks(low: float, high: float) -> list[float]:
    """Powers of ten in a range, and where they are few 3 times those, or 2 and 5 times.

    >>> ticks(2e-5, 5e-2), ticks(2e-4, 2e-2), ticks(2e-3, 3e-2)
    ([0.0001, 0.001, 0.01], [0.0003, 0.001, 0.003, 0.01], [0.002, 0.005, 0.01, 0.02])
    """
    powers = [10.0**n for n in range(-12, 6)]
    steps = (1,) if high / low >= 1000 else (1, 3) if high / low >= 50 else (1, 2, 5)
    return [float(f"{step * power:.0e}") for power in powers for step in steps if low <= step * power <= high]
