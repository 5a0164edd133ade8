"""The claims with their findings: for a terminal, and as Markdown, HTML and JSON."""

from __future__ import annotations

import json as writer
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, Any

from costmodel.views import grid, html, units
from costmodel.views.markdown import escape, table
from costmodel.views.styled import Part, Text

if TYPE_CHECKING:
    from costmodel.notes import Result

MARKS = {"holds": "✓", "approximate": "≈", "fails": "✗", "not computable": "–"}
"""A sign for each verdict, in the order of tables."""

MEANS = {
    "holds": "as the note says",
    "approximate": "true within a range, or up to a rounding",
    "fails": "not so",
    "not computable": "an accuracy or a time, which does not follow from counts",
}

_STYLES = {"holds": "green", "approximate": "yellow", "fails": "bold red", "not computable": "dim"}

ABOUT = (
    "Every formula, number and statement of five study notes, computed: in closed form from hyper-parameters, and from "
    "a traced module wherever a module can show it. The two derivations share no code, and agree exactly."
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number behind a verdict, as printed; empty where it was not derived in that way."""

    name: str
    closed_form: str
    traced: str


def figures(result: Result) -> list[Figure]:
    """The numbers of a finding; those derived twice stand side by side."""
    closed, traced = dict(_flat(result.finding.closed_form)), dict(_flat(result.finding.traced))
    return [
        Figure(name, *(value(side[name]) if name in side else "" for side in (closed, traced)))
        for name in dict.fromkeys((*closed, *traced))
    ]


def _flat(found: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in found.items():
        path = f"{above}, {units.name(name)}" if above else units.name(name)
        if isinstance(item, Mapping):
            yield from _flat(item, path)
        else:
            yield path, item


def value(found: Any) -> str:
    """A value as printed: all digits of a count, four of a ratio.

    >>> value(138357544), value(32.693), value([8, 24]), value((1, 3, 8)), value(True)
    ('138,357,544', '32.69', '8, 24', '1×3×8', 'yes')
    """
    if found is None:
        return ""
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, int):
        return units.grouped(found)
    if isinstance(found, float):
        return f"{found:.4g}"
    if isinstance(found, tuple) and all(type(n) is int for n in found):
        return units.shape(found)
    if isinstance(found, list | tuple):
        return ", ".join(f"({value(n)})" if isinstance(n, list) else value(n) for n in found)
    return str(found)


def tally(results: Sequence[Result]) -> dict[str, int]:
    """The number of claims with each verdict."""
    return {verdict: sum(r.finding.verdict == verdict for r in results) for verdict in MARKS}


def _by_note(results: Sequence[Result]) -> list[tuple[Any, list[Result]]]:
    return [(note, list(group)) for note, group in groupby(results, lambda r: r.claim.note)]


def json(results: Sequence[Result]) -> str:
    """A list of objects, one per claim, with exact figures."""
    rows = [
        {
            "id": r.claim.id, "note": f"{r.claim.note.number}: {r.claim.note.about}", "claim": r.claim.says,
            "formula": r.claim.formula, "verdict": r.finding.verdict, "value": r.finding.value, "why": r.finding.why,
            "closed_form": r.finding.closed_form, "traced": r.finding.traced, "source": r.finding.source,
        }
        for r in results
    ]  # fmt: skip
    return writer.dumps(rows, indent=1, ensure_ascii=False)


# -- a terminal ----------------------------------------------------------------------------------------------------


def parts(results: Sequence[Result], width: int) -> list[Part | str]:
    """A row per claim, and the number of claims with each verdict."""
    said = [f"{MARKS[r.finding.verdict]} {r.finding.verdict}" for r in results]
    columns = [
        grid.Column("verdict", said, right=False),
        grid.Column("the note says", [r.claim.says for r in results], right=False, wrap=True),
        grid.Column("computed", [r.finding.why for r in results], right=False, wrap=True),
    ]
    labels = [Text(r.claim.id, style=_STYLES[r.finding.verdict]) for r in results]
    made, _ = grid.table("claim", labels, columns, width, keep_all=True, least=7)
    counts = ", ".join(f"{n} {verdict}" for verdict, n in tally(results).items() if n)
    return [
        made,
        "",
        grid.dim([f"{len(results)} claims: {counts}. `costmodel notes {results[-1].claim.id}` shows one in full."]),
    ]


def detail(result: Result, width: int) -> list[Part | str]:
    """One claim in full."""
    claim, finding = result.claim, result.finding
    found: list[Part | str] = [
        Text.assemble((claim.id, "bold"), f"  {claim.text}"),
        Text.assemble((f"{MARKS[finding.verdict]} {finding.verdict}", _STYLES[finding.verdict]), f"  {finding.why}"),
        Text.assemble(("formula  ", "dim"), claim.formula),
    ]
    if finding.value is not None:
        found.append(Text.assemble(("value    ", "dim"), value(finding.value)))
    if finding.source:
        found.append(Text.assemble(("source   ", "dim"), finding.source))
    if rows := figures(result):
        columns = [grid.numbers("closed form", [f.closed_form for f in rows])]
        columns.append(grid.numbers("traced", [f.traced for f in rows]))
        made, _ = grid.table("figure", [Text(f.name) for f in rows], columns, width, keep_all=True)
        found += ["", made]
    return [*found, ""]


# -- reports -------------------------------------------------------------------------------------------------------


def markdown(results: Sequence[Result]) -> str:
    """The report: a count of the verdicts, what is wrong or imprecise, then every claim with its numbers."""
    notes = _by_note(results)
    counts = [
        [f"{note.number}: {escape(note.about)}", str(len(of)), *(str(n) for n in tally(of).values())]
        for note, of in notes
    ]
    counts.append(["all", str(len(results)), *(str(n) for n in tally(results).values())])
    lines = [
        "# The claims of the notes, computed", ABOUT,
        table(["note", "claims", *(f"{mark} {verdict}" for verdict, mark in MARKS.items())], counts),
        "\n".join(f"- {MARKS[verdict]} **{verdict}**: {means}." for verdict, means in MEANS.items()),
    ]  # fmt: skip
    for verdict, title in (("fails", "What does not hold"), ("approximate", "What holds approximately")):
        rows = [
            [f"[{r.claim.id}](#{_anchor(r)})", escape(r.claim.says), escape(r.finding.why)]
            for r in results
            if r.finding.verdict == verdict
        ]
        lines += [f"## {title}", table(["claim", "the note says", "computed"], rows, left=3)]
    for note, of in notes:
        lines.append(f"## Note {note.number}: {escape(note.about)}")
        lines += [part for r in of for part in _section(r)]
    return "\n\n".join(lines) + "\n"


def _title(result: Result) -> str:
    return f"{result.claim.id} {result.finding.verdict}"


def _anchor(result: Result) -> str:
    """GitHub's anchor of a claim's heading."""
    return _title(result).lower().replace(" ", "-")


def _section(result: Result) -> Iterator[str]:
    claim, finding = result.claim, result.finding
    yield f"### {_title(result)}"
    yield f"> {escape(claim.says)}"
    yield f"{MARKS[finding.verdict]} {escape(finding.why)}"
    facts = [f"- Formula: `{claim.formula}`"]
    if finding.value is not None:
        facts.append(f"- Value: {escape(value(finding.value))}")
    if finding.source:
        facts.append(f"- Source: {escape(finding.source)}")
    yield "\n".join(facts)
    if rows := figures(result):
        yield table(["", "closed form", "traced"], [[escape(f.name), f.closed_form, f.traced] for f in rows])


def page(results: Sequence[Result]) -> str:
    """The report as an HTML page without scripts."""
    template = files("costmodel.notes") / "report.html.j2"
    return html.page(
        template.read_text("utf-8"), title="The claims of the notes, computed", about=ABOUT, notes=_by_note(results),
        total=len(results), tally=tally(results), marks=MARKS, means=MEANS, figures=figures, value=value,
    )  # fmt: skip
