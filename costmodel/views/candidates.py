"""Sweeps: what the candidates cost, which are on the Pareto front, and which could not be computed."""

from __future__ import annotations

import json as writer
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from costmodel.errors import InputError
from costmodel.measures import MEASURES, TRADE_OFF, Measure, shown_in
from costmodel.views import compact, grid, latex, units
from costmodel.views import csv as tables
from costmodel.views.json import compact as one_line
from costmodel.views.json import explained
from costmodel.views.markdown import escape, pictures
from costmodel.views.markdown import table as markdown_table
from costmodel.views.styled import Part, Text, plain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.candidates import Sweep

ROWS = 20
"""Candidates that texts list."""

LEAST = 4
"""Candidates of a front that are worth a list; the smallest network is often the whole front."""

ERRORS = 5
"""Errors that a terminal lists."""

MARKS = 2000
"""Points of a chart beside those of fronts and extremes."""


def title(s: Sweep) -> str:
    """What was swept, and how many candidates there are."""
    return f"{s.name}: {units.plural(len(s.table) + len(s.failures), 'candidate')} by {', '.join(s.names)}"


def shown(s: Sweep, place: str = "totals") -> list[Measure]:
    """The measures that a table shows."""
    return [measure for measure in shown_in(place) if measure.name in s.measures]


def listed(s: Sweep, most: int = ROWS) -> tuple[str, pd.DataFrame]:
    """The rows that texts show, and what they are: all if they are few, or the Pareto front, if that says something."""
    if len(s.table) <= most:
        return "", s.table
    front = s.pareto(*TRADE_OFF[:2])
    what = f"On the Pareto front of {_pair(TRADE_OFF)}: {units.plural(len(front), 'candidate')}"
    if len(front) < LEAST:
        some = _spread(s.table, most)
        return f"{what}. Below are {len(some)} of {units.grouped(len(s.table))}, evenly chosen.", some
    some = _spread(front, most)
    return f"{what}{'' if len(some) == len(front) else f', of which {len(some)} are below, evenly chosen'}.", some


def _spread(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    last = len(rows) - 1
    return rows.iloc[sorted({round(i * last / (most - 1)) for i in range(most)})]


def failed(s: Sweep) -> list[tuple[str, int, str]]:
    """What went wrong, how often, and the first candidate of each; errors that differ in numbers alone are one."""
    found: dict[str, list[int]] = {}
    errors = s.failures["error"].tolist()
    for i, error in enumerate(errors):
        found.setdefault(_NUMBER.sub("", error), []).append(i)
    ranked = sorted(found.values(), key=len, reverse=True)
    return [(errors[at[0]], len(at), said(s, s.failures.iloc[at[0]])) for at in ranked]


_NUMBER = re.compile(r"\d+(\.\d+)?")


def said(s: Sweep, row: Any) -> str:
    """A candidate by its arguments."""
    given = ((name, row[name]) for name in s.names)
    return ", ".join(f"{name}={_value(value)}" for name, value in given if not _is_missing(value))


def _pair(names: Sequence[str]) -> str:
    return f"{units.name(names[0])} and {units.name(names[1])}"


def _value(value: Any) -> str:
    """An argument for people; data formats have every digit."""
    if _is_missing(value):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_missing(value: Any) -> bool:
    """Whether a candidate has no such argument: pandas has None for that, or what is not equal to itself."""
    return value is None or value != value


def _cells(rows: pd.DataFrame, measure: Measure) -> list[str]:
    exact = rows["is_exact"].tolist() if "is_exact" in rows else [True] * len(rows)
    return [
        units.cell(measure.name, n, exact=is_exact or not measure.needs_rules)
        for n, is_exact in zip(rows[measure.name].tolist(), exact, strict=True)
    ]


def text(s: Sweep, width: int = 120) -> str:
    """The candidates, or those on the front, as plain text."""
    return plain(parts(s, width), width)


def parts(s: Sweep, width: int) -> list[Part | str]:
    """The candidates, or those on the front, and what went wrong."""
    what, rows = listed(s)
    made: list[Part | str] = [Text(units.printable(title(s)), style="bold"), *([what] if what else []), ""]
    if len(rows):
        first, *others = s.names
        labels = [Text(units.printable(_value(value))) for value in rows[first].tolist()]
        columns = [
            grid.Column(name, [_value(value) for value in rows[name].tolist()], 11, right=_is_number(rows[name]))
            for name in others
        ]
        columns += [
            grid.numbers(units.head(m.name).replace(" (", "\n("), _cells(rows, m), m.priority) for m in shown(s)
        ]
        table, dropped = grid.table(first, labels, columns, width, least=min(max(t.cell_len for t in labels), 40))
        made += [table, *([grid.dim(grid.left_out(dropped))] if dropped else [])]
    errors = failed(s)
    for error, count, example in errors[:ERRORS]:
        where = f"{units.plural(count, 'candidate')} failed, such as {example}:" if count > 1 else f"{example} failed:"
        made += ["", Text.assemble(("✗ ", "red"), units.printable(where)), f"  {units.printable(error)}"]
    if len(errors) > ERRORS:
        made += ["", f"and {units.plural(len(errors) - ERRORS, 'more error')}, which CSV and JSON have"]
    return made


def _is_number(column: Any) -> bool:
    return column.dtype.kind in "iuf"


def markdown(s: Sweep, figures: Mapping[str, str] | None = None) -> str:
    """The candidates, or those on the front, and what went wrong."""
    what, rows = listed(s)
    heads = [*map(escape, s.names), *(escape(units.head(m.name)) for m in shown(s))]
    errors = [[escape(error), str(count), escape(example)] for error, count, example in failed(s)]
    blocks = [
        f"# {escape(title(s))}",
        escape(what),
        markdown_table(heads, _rows(s, rows), left=len(s.names)) if len(rows) else "",
        *pictures(figures or {}),
        "## What failed\n\n" + markdown_table(["error", "candidates", "such as"], errors, left=1) if errors else "",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _rows(s: Sweep, rows: pd.DataFrame, written: Any = None) -> list[list[str]]:
    written = escape if written is None else written
    arguments = [[written(_value(value)) for value in rows[name].tolist()] for name in s.names]
    return [list(row) for row in zip(*arguments, *(_cells(rows, m) for m in shown(s)), strict=True)]


def tex(s: Sweep) -> str:
    """The candidates, or those on the front."""
    what, rows = listed(s)
    made = latex.table([*s.names, *(units.head(m.name) for m in shown(s))], _rows(s, rows, str), left=len(s.names))
    return f"% {what}\n{made}" if what else made


def csv(s: Sweep) -> str:
    """One line per candidate; those that failed have no figures, and the error in the last column."""
    import pandas as pd

    if s.failures.empty:
        return tables.rows(s.table)
    both = pd.concat([s.table.astype(object), s.failures.astype(object)])
    return tables.rows(both.where(both.notna(), ""))


def json(s: Sweep) -> str:
    """Every candidate, one per line."""
    head = {
        "format": "costmodel-sweep", "version": 1, "name": s.name, "arguments": list(s.names),
        "measures": explained(MEASURES[name] for name in s.measures), "columns": list(s.table.columns),
    }  # fmt: skip
    rows = ",\n".join(_line(row) for row in zip(*(s.table[name].tolist() for name in s.table), strict=True))
    failures = ",\n".join(_line(row) for row in s.failures.to_dict("records"))
    return f'{one_line(head)[:-1]},"rows":[\n{rows}\n],"failures":[\n{failures}\n]}}\n'


def _line(row: Any) -> str:
    return writer.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str)


# -- figures and the page ------------------------------------------------------------------------------------------


def of_sweep(s: Sweep) -> dict[str, tuple[str, Figure]]:
    """The figures of a report, by name, each with its caption."""
    if s.table.empty:
        return {}
    x, y = TRADE_OFF[:2]
    return {f"{x}-{y}": (f"{units.sentence_case(_pair((x, y)))}, with the Pareto front", figure(s, x, y, None))}


def figure(s: Sweep, x: str, y: str, ax: Axes | None) -> Figure:
    """One measure against another, both in powers where none is 0, with the Pareto front."""
    from costmodel.views.figures import axes, figure_of, set_scale, set_title

    for name in (x, y):
        if name not in s.measures:
            raise InputError(f"the sweep has no measure {name!r}; it has {', '.join(s.measures)}")
    ax = axes(ax, 6.0, 4.2)
    front = s.pareto(x, y)
    kept = chosen(s, x, y, [front.index])
    points = s.table.loc[kept]
    ax.scatter(points[x].astype(float), points[y].astype(float), s=9, alpha=0.45, linewidth=0)
    along = [front[name].astype(float) for name in (x, y)]
    ax.plot(*along, "o:", drawstyle="steps-post", color="0.25", markersize=3)
    for axis, name in (("x", x), ("y", y)):
        if len(points) and points[name].min() > 0:
            (ax.set_xscale if axis == "x" else ax.set_yscale)("log")
        set_scale(ax, axis, units.head(name))
    drawn, count = len(points), len(s.table)
    left_out = f"; {units.grouped(drawn)} of {units.grouped(count)} drawn" if drawn < count else ""
    set_title(ax, f"{s.name}: {units.name(y)} against {units.name(x)}{left_out}")
    return figure_of(ax)


def chosen(s: Sweep, x: str, y: str, always: Sequence[Any]) -> list[int]:
    """The rows that a chart of two measures draws: those given, and of the others at most ``MARKS``.

    Where there are more, one for each small square of the chart, of squares as small as is possible; so what a reader
    can tell apart is there, also where few points are.
    """
    import numpy as np

    count = len(s.table)
    if count <= MARKS:
        return list(range(count))
    places = [_place(s.table[name].to_numpy()) for name in (x, y)]
    least, most = 1, 4096
    while least < most:  # the finest raster of which no more squares are taken
        middle = (least + most + 1) // 2
        taken = np.unique(_squares(places, middle)).size
        least, most = (middle, most) if taken <= MARKS else (least, middle - 1)
    _, first = np.unique(_squares(places, least), return_index=True)
    return sorted({int(i) for i in first}.union(*(map(int, rows) for rows in always)))


def _place(column: Any) -> Any:
    """Where figures lie on an axis, from 0 to 1; in powers, where none is 0."""
    import numpy as np

    values = column.astype(float)
    values = np.log(values) if values.min() > 0 else values
    span = values.max() - values.min()
    return (values - values.min()) / (span or 1.0)


def _squares(places: Sequence[Any], along: int) -> Any:
    x, y = ((place * along).astype("int64").clip(max=along - 1) for place in places)
    return x * along + y


def html(s: Sweep) -> str:
    """The sweep as one self-contained page."""
    from costmodel.views import html as pages

    return pages.from_template("candidates.html.j2", **_context(s), payload=_payload(s))


def fragment(s: Sweep) -> str:
    """The least and greatest of each measure, then some candidates: all if they are few, or some of a front."""
    what, rows = listed(s, compact.ROWS)
    measures = shown(s)
    columns = [
        *(compact.Column(name, [_value(v) for v in rows[name].tolist()], is_text=True) for name in s.names),
        *(
            compact.Column(units.head(m.name), _cells(rows, m), [units.grouped(n) for n in rows[m.name].tolist()])
            for m in measures
        ),
    ]
    errors = [f"{units.plural(n, 'candidate')}, such as {example}: {error}" for error, n, example in failed(s)]
    return compact.Card(
        title(s),
        what,
        totals=_extremes(s),
        verdicts=[(compact.BAD, f"{units.plural(len(s.failures), 'candidate')} failed")] if errors else [],
        tables=[compact.Table(columns, len(s.table), "candidate", ".table")] if len(rows) else [],
        folded=[("What failed", errors)],
    ).html()


def _context(s: Sweep) -> dict[str, Any]:
    what, rows = listed(s)
    return {
        "title": title(s), "done": len(s.table), "failed": failed(s), "failures": len(s.failures), "what": what,
        "names": s.names, "heads": [(units.head(m.name), m.means) for m in shown(s)],
        "rows": _page_rows(s, rows),
        "extremes": _extremes(s), "axes": [(m.name, units.sentence_case(units.head(m.name))) for m in _axes(s)],
        "across": TRADE_OFF[0], "up": TRADE_OFF[1],
    }  # fmt: skip


def _page_rows(s: Sweep, rows: pd.DataFrame) -> list[list[tuple[str, Any, str]]]:
    """Of each cell the text, what it is sorted by, and what it is exactly."""
    columns = [[(_value(v), v, str(v)) for v in rows[name].astype(object).tolist()] for name in s.names]
    for m in shown(s):
        figures = rows[m.name].tolist()
        columns.append([(cell, n, units.grouped(n)) for cell, n in zip(_cells(rows, m), figures, strict=True)])
    return [list(row) for row in zip(*columns, strict=True)]


def _axes(s: Sweep) -> list[Measure]:
    """The measures that the page's chart can show."""
    return [m for m in MEASURES.values() if m.name in s.measures and ("summary" in m.places or "totals" in m.places)]


def _extremes(s: Sweep) -> list[tuple[str, str, str]]:
    """Of each measure the least and the greatest, and the candidates that have them."""
    if s.table.empty:
        return []
    found = []
    for m in shown(s, "summary"):
        figures = s.table[m.name].tolist()
        least, most = (figures.index(extreme(figures)) for extreme in (min, max))
        cells = [units.cell(m.name, figures[i]) for i in (least, most)]
        found.append((
            units.sentence_case(units.head(m.name)), " – ".join(dict.fromkeys(cells)),
            f"{said(s, s.table.iloc[least])} to {said(s, s.table.iloc[most])}",
        ))  # fmt: skip
    return found


def _payload(s: Sweep) -> dict[str, Any]:
    """The points of the page's chart. All fronts of two of its measures, and all extremes, are among them."""
    from costmodel.views import charts, palette

    names = [m.name for m in _axes(s)]
    always: list[Any] = []
    if len(s.table) > MARKS:
        always += [s.pareto(x, y).index for x, y in combinations(names, 2)]
        always += [[figures.index(max(figures))] for figures in (s.table[name].tolist() for name in names)]
    kept = s.table.loc[chosen(s, *TRADE_OFF[:2], always)]
    return {
        "models": [], "shown": "", "charts": charts.of_sweep(), "palette": palette.MODELS,
        "sweep": {
            "total": len(s.table),
            "arguments": {name: [_value(v) for v in kept[name].tolist()] for name in s.names},
            "numbers": [name for name in s.names if _is_number(kept[name])],
            "figures": {name: kept[name].tolist() for name in names},
            "measures": {
                m.name: {"title": units.sentence_case(units.head(m.name)), "unit": m.unit, "symbol": m.symbol}
                for m in _axes(s)
            },
        },
    }  # fmt: skip
