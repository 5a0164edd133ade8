"""``costmodel reconcile``."""

from __future__ import annotations

from typing import Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import (
    Csv,
    Inputs,
    Json,
    LiveModel,
    Markdown,
    Save,
    Train,
    complete_tool,
    is_saved,
    profiled,
)
from costmodel.cli.output import save_all, wrote_format
from costmodel.errors import InputError


def reconcile(
    model: LiveModel,
    tool: Annotated[
        str | None,
        typer.Option(
            help="One tool, such as fvcore: every difference from costmodel's MACs to its number, and why.",
            autocompletion=complete_tool,
        ),
    ] = None,
    inputs: Inputs = None,
    train: Train = False,
    save: Save = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Show what other counters print for a model, without running them, and why each differs."""
    from costmodel.conventions import TOOLS, tool_named
    from costmodel.conventions.reconciliation import Reconciliation
    from costmodel.conventions.reconciliation import reconcile as asked
    from costmodel.views import conventions

    if is_saved(model):
        raise InputError(
            f"{model} is a saved profile; what other tools count is read off the model, which a saved profile does not "
            "have: name the model itself"
        )
    if tool is not None:
        tool_named(tool)
    p = profiled(model, inputs, train=train)
    with console.doing(f"reading {model} as other tools do"):
        found = asked(p, TOOLS.values()) if tool is None else p.counted_as(tool)
    if not wrote_format(found, json=json, csv=csv, markdown=markdown):
        width = console.width_of_sentences()
        console.show(
            conventions.reconciliation_parts(found, width)
            if isinstance(found, Reconciliation)
            else conventions.recount_parts(found, width),
            width,
        )
    save_all(found, save)
