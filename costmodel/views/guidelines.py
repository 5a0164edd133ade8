"""ShuffleNet V2's guidelines for one model, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.views import compact, units
from costmodel.views.markdown import escape

if TYPE_CHECKING:
    from costmodel.guidelines import Guidelines


def markdown(result: Guidelines, limit: int = 20) -> str:
    """The findings that would save most, and what elementwise ops take, as Markdown."""
    units.require_rows(limit=limit)
    elementwise = (
        f"Memory access {result.memory_access:,} elements in {units.plural(result.ops, 'op')}. Elementwise ops are "
        f"{result.elementwise_ops} of them ({100 * result.elementwise_op_share:.1f} %) and take "
        f"{100 * result.elementwise_share:.1f} % of the memory access."
    )
    lines = [
        f"# {escape(result.model)}: ShuffleNetV2's guidelines",
        "",
        elementwise,
        "",
        "| guideline | places | largest saving | saving is |",
        "|---|---:|---:|---|",
    ]
    for name, title in result.titles.items():
        found = result.of(name)
        most = f"{found[0].saving:,.0f}" if found else "0"
        lines.append(f"| {name}: {title} | {len(found)} | {most} | {result.formulas[name]} |")
    lines += [
        "",
        f"The first of {units.plural(len(result.findings), 'finding')} by saving; savings overlap and do not add up.",
        "",
        "| | layer | kind | measure | memory access | least | saving | advice |",
        "|---|---|---|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| {f.guideline} | {escape(f.layer)} | {f.kind} | {escape(f.measure)} | {f.paid:,} | {f.least:,.0f} "
        f"| {f.saving:,.0f} | {escape(f.advice)} |"
        for f in result.findings[:limit]
    ]
    return "\n".join(lines) + "\n"


def fragment(g: Guidelines) -> str:
    """How often each guideline is broken; the findings that would save most, folded."""
    of_each = [(name, g.of(name)) for name in g.titles]
    columns = [
        compact.Column("Guideline", [f"{name}: {g.titles[name]}" for name, _ in of_each], is_text=True),
        compact.Column("Places", [units.grouped(len(found)) for _, found in of_each]),
        compact.Column(
            "Largest saving (elements)",
            [units.cell("memory_access", round(found[0].saving)) if found else "–" for _, found in of_each],
        ),
    ]
    shown = g.findings[: compact.ROWS]
    most = [
        compact.Column("", [f.guideline for f in shown], is_text=True),
        compact.Column("Layer", [f.layer or "the input" for f in shown], is_text=True),
        compact.Column("Measure", [f.measure for f in shown], is_text=True),
        compact.Column("Could save", [units.cell("memory_access", round(f.saving)) for f in shown]),
        compact.Column("Share", [units.share(f.saving, g.memory_access) for f in shown]),
        compact.Column("Advice", [f.advice for f in shown], is_prose=True),
    ]
    ops = f"{units.share(g.elementwise_ops, g.ops)} of the ops, {units.share(g.elementwise_share, 1)} of memory access"
    moved = units.cell("memory_access", g.memory_access)
    tables = [compact.Table(columns, len(of_each), "guideline")]
    if shown:
        overlap = "Savings of different findings overlap: they rank, and do not add up."
        title = "What would save most"
        found = compact.Table(most, len(g.findings), "finding", ".findings", title, is_folded=True, remarks=[overlap])
        tables.append(found)
    return compact.Card(
        g.model,
        "by the guidelines G1 to G4 of ShuffleNetV2's paper",
        totals=[
            ("Memory access", moved, f"{units.grouped(g.memory_access)} elements"),
            ("Ops", units.grouped(g.ops), "that move data or compute"),
            ("Elementwise", units.grouped(g.elementwise_ops), ops),
        ],
        tables=tables,
    ).html()
