"""ShuffleNet V2's guidelines for one model, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.views import units
from costmodel.views.markdown import escape

if TYPE_CHECKING:
    from costmodel.guidelines import Guidelines


def markdown(result: Guidelines, limit: int = 20) -> str:
    """The findings that would save most, and what elementwise ops take, as Markdown."""
    units.require_rows(limit=limit)
    elementwise = (
        f"Memory access {result.memory_access:,} elements in {result.ops} ops. Elementwise ops are "
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
        f"The first of {len(result.findings)} findings by what they would save; savings overlap and do not add up.",
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
