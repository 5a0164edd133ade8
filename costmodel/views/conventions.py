"""Other tools' numbers for a model, and what leads to them: for a terminal, as pages, for scripts and papers."""

from __future__ import annotations

import json as writer
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from costmodel.views import compact, grid, latex, palette, units, waterfall
from costmodel.views import csv as tables
from costmodel.views.cells import inputs
from costmodel.views.markdown import escape, pictures, table
from costmodel.views.styled import Part, Text, plain
from costmodel.views.waterfall import difference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from costmodel.conventions.reconciliation import Reconciliation
    from costmodel.conventions.recount import Recount


# -- one tool's number ---------------------------------------------------------------------------------------------


def _title(r: Recount) -> str:
    return f"as counted by {r.tool.name} {r.tool.version}"


def _given(r: Recount | Reconciliation) -> str:
    return f"{inputs(r)}, {r.mode} mode"


def _path(r: Recount) -> list[tuple[str, str, str]]:
    """From this library's MACs to the tool's number: what, why, how much."""
    return [
        ("costmodel", waterfall.MACS, units.grouped(r.macs)),
        *((op or "all", why, difference(amount)) for (op, why), amount in r.reasons.items()),
        (r.tool.name, waterfall.printed(r), units.grouped(r.total)),
    ]


def _remarks(r: Recount) -> list[str]:
    params = f"Parameters: {units.grouped(r.params)}." if r.params is not None else "It counts no parameters."
    return [params, *r.tool.remarks]


def recount_parts(r: Recount, width: int) -> list[Part | str]:
    """The differences, summed over layers, for a terminal."""
    rows = _path(r)
    columns = [
        grid.Column("why", [why for _, why, _ in rows], right=False, wrap=True),
        grid.Column(r.unit, [amount for _, _, amount in rows], 1),
    ]
    made, _ = grid.table("", [Text(op) for op, _, _ in rows], columns, width, keep_all=True)
    title = Text(f"{units.printable(r.model)} {_title(r)}", style="bold")
    return [title, Text(_given(r), "dim"), "", made, "", grid.dim(_remarks(r))]


def recount_text(r: Recount, width: int = 120) -> str:
    """The same as plain text."""
    return plain(recount_parts(r, width), width)


def recount_markdown(r: Recount, figures: Mapping[str, str] | None = None) -> str:
    """The differences, summed over layers, as Markdown."""
    rows = [[escape(op), escape(why), amount] for op, why, amount in _path(r)]
    lines = [
        f"# {escape(r.model)} {_title(r)}",
        f"{_given(r)}.",
        table(["", "why", r.unit], rows, left=2),
        *pictures(figures or {}),
        "\n".join(f"- {escape(remark)}" for remark in _remarks(r)),
    ]
    return "\n\n".join(lines) + "\n"


def recount_latex(r: Recount) -> str:
    """The differences, summed over layers, and what they lead to."""
    first, *steps, last = _path(r)
    total = [f"{r.tool.name} {r.tool.version}", *last[1:]]
    made = latex.table(["", "why", r.unit], [first, *steps], left=2, last=total, wrapped={1: "0.4\\linewidth"})
    return latex.comment(f"{r.model} {_title(r)}, on {_given(r)}") + made


def recount_csv(r: Recount) -> str:
    """One line per difference, in each layer."""
    return tables.rows(r.difference)


def recount_json(r: Recount) -> str:
    """The tool with its number, and every difference in each layer."""
    return _written(_of_recount(r))


def _of_recount(r: Recount) -> dict[str, Any]:
    return {
        "model": r.model, "input": inputs(r), "mode": r.mode, "macs": r.macs,
        "tool": r.tool.name, "version": r.tool.version, "total": r.total, "unit": r.unit, "params": r.params,
        "differences": [
            {"name": step.name, "op": step.op, "why": step.why, "amount": step.amount} for step in r.steps
        ],
    }  # fmt: skip


def _written(document: Any) -> str:
    return writer.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def recount_figures(r: Recount) -> dict[str, tuple[str, Figure]]:
    """The waterfall of a report, with its caption."""
    caption = f"From costmodel's MACs to {r.tool.name}'s {r.unit}, difference by difference"
    return {f"waterfall-{r.tool.name}": (caption, waterfall.figure(r))}


def recount_page(r: Recount) -> str:
    """The waterfall, and every difference in each layer, as one self-contained page."""
    steps = [(step.name, step.op or "all", step.why, difference(step.amount)) for step in r.steps]
    return _page(f"{r.model} {_title(r)}", r, [], [_shown(r, "Where it differs")], steps)


def recount_fragment(r: Recount) -> str:
    """The tool's number, and what leads to it from this library's MACs."""
    first, *between, last = _path(r)
    shown = [first, *between[: compact.ROWS - 2], last]
    columns = [
        compact.Column("", [op for op, _, _ in shown], is_text=True),
        compact.Column(r.unit, [amount for *_, amount in shown]),
        compact.Column("Why", [why for _, why, _ in shown], is_prose=True),
    ]
    params = [] if r.params is None else [("Params", units.si(r.params), units.grouped(r.params))]
    return compact.Card(
        r.model,
        f"{_title(r)} · {_given(r)}",
        totals=[
            (r.tool.name, units.si(r.total, r.unit), f"{units.grouped(r.total)}, called {r.tool.calls_it}"),
            ("costmodel", units.si(r.macs, "MACs"), units.grouped(r.macs)),
            *params,
        ],
        tables=[compact.Table(columns, len(between) + 2, "difference", ".difference")],
        folded=[("What to know of the tool", _remarks(r))],
    ).html()


# -- several tools' numbers ----------------------------------------------------------------------------------------


def _heading(found: Reconciliation) -> str:
    return f"{found.model}, as other tools count it"


class _Row(NamedTuple):
    """A tool in a table."""

    tool: str
    unit: str
    counts: str
    params: str
    why: str
    """Where it differs most."""


def _rows(found: Reconciliation) -> list[_Row]:
    """This library and each tool."""
    return [
        _Row("costmodel", "MACs", units.grouped(found.macs), units.grouped(found.params), ""),
        *(
            _Row(
                f"{line.tool} {line.version}",
                line.unit,
                "fails" if line.total is None else units.grouped(line.total),
                "–" if line.params is None else units.grouped(line.params),
                line.why,
            )
            for line in found.lines
        ),
    ]


def reconciliation_parts(found: Reconciliation, width: int) -> list[Part | str]:
    """Each tool's number for the model, and below it where it differs most, for a terminal."""
    rows = _rows(found)
    columns = [
        grid.Column("counts", [row.counts for row in rows], 4),
        grid.Column("unit", [row.unit for row in rows], 3, right=False),
        grid.Column("params", [row.params for row in rows], 2),
    ]
    labels = [Text(row.tool) for row in rows]
    longest = max(label.cell_len for label in labels)
    made, dropped = grid.table("", labels, columns, width, least=longest, below=[row.why for row in rows])
    title = Text(units.printable(_heading(found)), style="bold")
    return [title, Text(_given(found), "dim"), "", made, "", grid.dim([_MORE, *grid.left_out(dropped)])]


_MORE = "`--tool NAME` has every difference of one tool, with its reason."


def reconciliation_text(found: Reconciliation, width: int = 120) -> str:
    """The same as plain text."""
    return plain(reconciliation_parts(found, width), width)


def reconciliation_markdown(found: Reconciliation, figures: Mapping[str, str] | None = None) -> str:
    """Each tool's number for the model, as Markdown."""
    head = ["as counted by", "largest differences", "unit", "counts", "params"]
    rows = [[escape(row.tool), escape(row.why), row.unit, row.counts, row.params] for row in _rows(found)]
    parts = [f"# {escape(_heading(found))}", f"{_given(found)}.", table(head, rows, left=3), *pictures(figures or {})]
    return "\n\n".join(parts) + "\n"


def reconciliation_latex(found: Reconciliation) -> str:
    """Each tool's number for the model, and below it where it differs most."""
    rows = _rows(found)
    cells = [[row.tool, row.unit, row.counts, row.params] for row in rows]
    made = latex.table(
        ["as counted by", "unit", "counts", "params"], cells, left=2, below=[row.why for row in rows]
    )  # fmt: skip
    return latex.comment(f"{_heading(found)}, on {_given(found)}") + made


def reconciliation_csv(found: Reconciliation) -> str:
    """One line per tool."""
    return tables.rows(found.rows)


def reconciliation_json(found: Reconciliation) -> str:
    """A list of tools, each with its number and every difference in each layer; of one that fails, why."""
    shared = {"model": found.model, "input": inputs(found), "mode": found.mode, "macs": found.macs}
    return _written([
        {
            **shared, "tool": line.tool, "version": line.version, "total": line.total, "unit": line.unit,
            "params": line.params, "why": line.why,
            "differences": [] if line.total is None else _of_recount(found.recounts[line.tool])["differences"],
        }
        for line in found.lines
    ])  # fmt: skip


def reconciliation_figures(found: Reconciliation) -> dict[str, tuple[str, Figure]]:
    """A waterfall for each tool, with its caption."""
    return {name: drawn for r in found.recounts.values() for name, drawn in recount_figures(r).items()}


def reconciliation_page(found: Reconciliation) -> str:
    """Each tool's number, and the waterfall that leads to it, as one self-contained page."""
    shown = [_shown(r, units.sentence_case(_title(r))) for r in found.recounts.values()]
    return _page(_heading(found), found, _rows(found), shown, [])


def reconciliation_fragment(found: Reconciliation) -> str:
    """Each tool's number, and where it differs most."""
    rows = _rows(found)
    columns = [
        compact.Column("As counted by", [row.tool for row in rows], is_text=True),
        compact.Column("Counts", [row.counts for row in rows]),
        compact.Column("", [row.unit for row in rows], is_text=True),
        compact.Column("Params", [row.params for row in rows]),
        compact.Column("Largest differences", [row.why for row in rows], is_prose=True),
    ]
    table = compact.Table(columns, len(rows), "tool", ".rows", most=len(rows))
    return compact.Card(_heading(found), _given(found), tables=[table]).html()


# -- pages ---------------------------------------------------------------------------------------------------------


def _shown(r: Recount, heading: str) -> dict[str, Any]:
    """A recount as the page shows it: bars in percent of the axis, and what they stand for."""
    found = waterfall.bars(r)
    first, most = waterfall.first_level(found), max(bar.end for bar in found)

    def at(level: int) -> float:
        return round(100 * max(0, level - first) / max(most - first, 1), 3)

    bars = [
        {
            "label": bar.label, "why": bar.why, "amount": waterfall.signed(bar), "kind": bar.kind,
            "color": palette.STEPS[bar.kind], "left": at(min(bar.start, bar.end)), "end": at(bar.end),
            "width": abs(at(bar.end) - at(bar.start)),
        }
        for bar in found
    ]  # fmt: skip
    return {
        "tool": r.tool.name, "heading": heading, "unit": r.unit, "bars": bars, "remarks": _remarks(r),
        "first": units.grouped(first) if first > 0 else "",
        "rows": _path(r)[1:-1] if len(r.reasons) > len(found) - 2 else [],
    }  # fmt: skip


def _page(
    title: str, given: Recount | Reconciliation, tools: list[_Row], shown: list[dict[str, Any]], steps: list[Any]
) -> str:
    from costmodel.views import html

    return html.from_template(
        "counters.html.j2", title=title, given=_given(given), tools=tools, shown=shown, steps=steps
    )
