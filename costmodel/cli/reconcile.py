"""``costmodel reconcile``."""

from __future__ import annotations

from typing import Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Csv, Inputs, Json, Markdown, Model, Train, profiled


def reconcile(
    model: Model,
    tool: Annotated[
        str | None,
        typer.Option(help="One tool, such as fvcore: every difference from costmodel's MACs to its number, and why."),
    ] = None,
    inputs: Inputs = None,
    train: Train = False,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Show what other counters print for a model, without running them, and why each differs."""
    from costmodel.conventions import TOOLS
    from costmodel.conventions.reconciliation import reconcile as asked
    from costmodel.views import conventions

    p = profiled(model, inputs, train=train)
    with console.doing(f"reading {model} as other tools do"):
        if tool is None:
            found = asked(p.name, p.macs, p.params, p.counted_as, TOOLS.values())
            rows, parts, text = found.rows, conventions.reconciliation_parts(found, console.width()), found.to_markdown
        else:
            recount = p.counted_as(tool)
            rows, parts, text = (
                recount.difference, conventions.recount_parts(recount, console.width()), recount.to_markdown,
            )  # fmt: skip
    if markdown:
        console.write(text())
    elif not console.wrote_rows(rows, json=json, csv=csv):
        console.show(parts)
