"""Whose count a figure is: for a terminal, as Markdown, as a page, and as tables for scripts and papers."""

from __future__ import annotations

import json as writer
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from costmodel.views import compact, grid, latex, units
from costmodel.views import csv as tables
from costmodel.views.markdown import escape, table
from costmodel.views.published import percent
from costmodel.views.styled import Part, Text, plain

if TYPE_CHECKING:
    from costmodel.provenance import Provenance
    from costmodel.provenance.result import Finding


def title(p: Provenance) -> str:
    """What was looked at."""
    return f"published figures of {p.model} on {p.inputs}"


def verdict(finding: Finding) -> str:
    """Which convention makes a figure, or that none does."""
    r = finding.nearest
    if not r.match:
        return (
            f"{finding.figure.title}: no convention makes it; the nearest is {r.convention}, "
            f"{units.grouped(r.count or 0)} ({r.prints}, {percent(r.difference)})"
        )
    others = sum(group[0].match != "" for group in finding.counts) - 1
    besides = f"; {units.plural(others, 'other count')} make{'s' if others == 1 else ''} it, too" if others else ""
    return f"{finding.figure.title}: {r.convention}, {units.grouped(r.count or 0)}, {r.match}{besides}"


def _rows(finding: Finding) -> list[list[str]]:
    """Of each number: how it is printed, whether that makes the figure, the number, how far it is off, whose it is."""
    # A tool's number in the other unit is news only where it makes the figure, or comes near it.
    shown = [
        [r for r in group if r.match or r.kind != "scaled tool" or r is finding.nearest] for group in finding.counts
    ]
    return [
        [group[0].prints, group[0].match or "–", units.grouped(group[0].count or 0), percent(group[0].difference),
         "; ".join(r.convention for r in group)]
        for group in shown if group
    ]  # fmt: skip


def _remarks(p: Provenance, finding: Finding) -> Iterator[str]:
    """What those that make the figure count, if no tool; and which tools fail."""
    for r in finding.matches:
        if r.kind in ("library", "paper"):
            yield f"{r.convention}: {r.what}{f' ({r.source})' if r.source else ''}."
    for convention, what in dict.fromkeys((r.source, r.what) for r in finding.failures):
        yield f"{convention}: {what}."
    if not p.is_exact:
        yield "This library's counts are lower bounds here: an op has no rule, or its cost depends on values."


# -- a terminal ----------------------------------------------------------------------------------------------------


def text(p: Provenance, width: int = 120) -> str:
    """The same as plain text."""
    return plain(parts(p, width), width)


def parts(p: Provenance, width: int) -> list[Part | str]:
    """Each figure with its verdict, and every count, the nearest first."""
    said: list[Part | str] = [Text(units.printable(title(p)), style="bold")]
    for finding in p.findings:
        mark = ("✓ ", "green") if finding.matches else ("✗ ", "red")
        rows = _rows(finding)
        columns = [grid.Column("match", [row[1] for row in rows], 2, right=False)] if finding.matches else []
        columns += [
            grid.Column("count", [row[2] for row in rows], 4),
            grid.Column("off by", [row[3] for row in rows], 3),
            grid.Column("counted by", [row[4] for row in rows], right=False, wrap=True),
        ]
        made, _ = grid.table("prints", [Text(row[0]) for row in rows], columns, width, least=6)
        said += ["", Text.assemble(mark, verdict(finding)), "", made]
        remarks = list(_remarks(p, finding))
        said += ["", grid.dim(remarks)] if remarks else []
    return said


# -- files ---------------------------------------------------------------------------------------------------------

_FIELDS = ("convention", "kind", "count", "prints", "match", "difference", "what", "source")


def markdown(p: Provenance) -> str:
    """A section for each figure."""
    lines = [f"# {escape(title(p))}"]
    for finding in p.findings:
        rows = [[row[1], escape(row[4]), row[0], row[2], row[3]] for row in _rows(finding)]
        lines += [
            f"## {escape(finding.figure.title)}",
            f"{'✓' if finding.matches else '✗'} {escape(verdict(finding))}.",
            table(["match", "counted by", "prints", "count", "off by"], rows, left=2),
            "\n".join(f"- {escape(remark)}" for remark in _remarks(p, finding)),
        ]
    return "\n\n".join(line for line in lines if line) + "\n"


def html(p: Provenance) -> str:
    """The same as one self-contained page."""
    from costmodel.views import html as pages

    return pages.from_template("provenance.html.j2", **_context(p))


def fragment(p: Provenance) -> str:
    """What makes each figure; the counts, folded."""
    found = p.findings[: compact.ROWS]
    more = len(p.findings) - len(found)
    return compact.Card(
        title(p),
        verdicts=[(compact.GOOD if f.matches else compact.BAD, verdict(f)) for f in found],
        tables=[_counts(f) for f in found[:3]],
        remarks=[f"{units.plural(more, 'more figure')}, in .findings"] if more else [],
        folded=[("What to know of them", list(dict.fromkeys(line for f in found for line in _remarks(p, f))))],
    ).html()


def _counts(f: Finding) -> compact.Table:
    rows = _rows(f)
    columns = [
        compact.Column("Prints", [row[0] for row in rows]),
        compact.Column("Match", [row[1] for row in rows], is_text=True),
        compact.Column("Count", [row[2] for row in rows]),
        compact.Column("Off by", [row[3] for row in rows]),
        compact.Column("Counted by", [row[4] for row in rows], is_prose=True),
    ]
    return compact.Table(columns, len(rows), "count", ".findings", f.figure.title, is_folded=True)


def _context(p: Provenance) -> dict[str, Any]:
    return {
        "title": title(p),
        "findings": [
            {"figure": f.figure.title, "verdict": verdict(f), "ok": bool(f.matches), "rows": _rows(f),
             "remarks": list(_remarks(p, f))}
            for f in p.findings
        ],
    }  # fmt: skip


def json(p: Provenance) -> str:
    """Every count of every figure, exact."""
    figures = [
        {
            "figure": f.figure.text,
            "quantity": f.figure.quantity,
            "matches": [r.convention for r in f.matches],
            "conventions": [
                {name: getattr(r, name) for name in _FIELDS} for r in f.reckonings
            ],
        }
        for f in p.findings
    ]  # fmt: skip
    document = {
        "format": "costmodel-provenance", "version": 1, "model": p.model, "inputs": p.inputs, "is_exact": p.is_exact,
        "figures": figures,
    }  # fmt: skip
    return writer.dumps(document, indent=1, ensure_ascii=False) + "\n"


def csv(p: Provenance) -> str:
    """One line per figure and convention."""
    return tables.rows(p.table)


def tex(p: Provenance) -> str:
    """One row per figure and number."""
    rows = [[f.figure.title, row[4], row[1], row[0], row[2], row[3]] for f in p.findings for row in _rows(f)]
    return latex.table(["figure", "counted by", "match", "prints", "count", "off by"], rows, left=3)
