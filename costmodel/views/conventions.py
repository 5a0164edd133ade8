"""Other tools' numbers for a model, and what leads to them, as text and Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.views import grid, units
from costmodel.views.markdown import escape, table
from costmodel.views.styled import Part, Text, plain

if TYPE_CHECKING:
    from costmodel.conventions.reconciliation import Reconciliation
    from costmodel.conventions.recount import Recount


def _signed(amount: int) -> str:
    return f"{'+' if amount > 0 else '−'}{units.grouped(abs(amount))}"


def _path(r: Recount) -> list[tuple[str, str, str]]:
    """From this library's MACs to the tool's number: what, why, how much."""
    return [
        ("costmodel", "MACs: multiply-accumulates of convolutions and matrix products", units.grouped(r.macs)),
        *((op or "all", why, _signed(amount)) for (op, why), amount in r.reasons.items()),
        (r.tool.name, f"what it prints, and calls {r.tool.calls_it}", units.grouped(r.total)),
    ]


def _title(r: Recount) -> str:
    return f"as counted by {r.tool.name} {r.tool.version}"


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
    return [title, "", made, "", grid.dim(_remarks(r))]


def recount_text(r: Recount, width: int = 120) -> str:
    """The same as plain text."""
    return plain(recount_parts(r, width), width)


def recount_markdown(r: Recount) -> str:
    """The differences, summed over layers, as Markdown."""
    rows = [[escape(op), escape(why), amount] for op, why, amount in _path(r)]
    lines = [
        f"# {escape(r.model)} {_title(r)}",
        table(["", "why", r.unit], rows, left=2),
        "\n".join(f"- {escape(remark)}" for remark in _remarks(r)),
    ]
    return "\n\n".join(lines) + "\n"


def _tools(found: Reconciliation) -> list[tuple[str, str, str, str, str]]:
    """Each tool with what differs, its number, unit and parameters; this library first."""
    return [
        ("costmodel", "", units.grouped(found.macs), "MACs", units.grouped(found.params)),
        *(
            (
                f"{row.tool} {row.version}",
                row.why,
                "fails" if row.failed else units.grouped(row.total),
                row.unit,
                "–" if row.params is None else units.grouped(row.params),
            )
            for row in found.lines
        ),
    ]


def reconciliation_parts(found: Reconciliation, width: int) -> list[Part | str]:
    """Each tool's number for the model, for a terminal."""
    rows = _tools(found)
    columns = [
        grid.Column("counts", [total for _, _, total, _, _ in rows], 4),
        grid.Column("unit", [unit for _, _, _, unit, _ in rows], 3, right=False),
        grid.Column("params", [params for *_, params in rows], 2),
        grid.Column("largest differences", [why for _, why, *_ in rows], right=False, wrap=True),
    ]
    labels = [Text(tool) for tool, *_ in rows]
    made, dropped = grid.table("", labels, columns, width, least=max(label.cell_len for label in labels))
    title = Text(f"{units.printable(found.model)}, as other tools count it", style="bold")
    return [title, "", made, "", grid.dim([_MORE, *grid.left_out(dropped)])]


_MORE = "`--tool NAME` has every difference of one tool, with its reason."


def reconciliation_text(found: Reconciliation, width: int = 120) -> str:
    """The same as plain text."""
    return plain(reconciliation_parts(found, width), width)


def reconciliation_markdown(found: Reconciliation) -> str:
    """Each tool's number for the model, as Markdown."""
    rows = [[escape(tool), escape(why), unit, total, params] for tool, why, total, unit, params in _tools(found)]
    head = ["tool", "largest differences", "unit", "counts", "params"]
    return f"# {escape(found.model)}, as other tools count it\n\n{table(head, rows, left=3)}\n"
