"""``costmodel profile``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import (
    Csv,
    Dtype,
    Inputs,
    Json,
    Markdown,
    Model,
    Save,
    Strict,
    Train,
    comma_separated,
    profiled,
)
from costmodel.cli.output import save_all, wrote_format
from costmodel.errors import InputError


def profile(
    model: Model,
    inputs: Inputs = None,
    dtype: Dtype = None,
    train: Train = False,
    depth: Annotated[
        int | None, typer.Option(help="Levels of the module tree; default: as many as fit into 60 rows.", min=1)
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="List layers, sorted by a quantity: macs, params, flops ...", metavar="QUANTITY")
    ] = None,
    top: Annotated[int | None, typer.Option(help="List only the N most expensive layers.", min=1, metavar="N")] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns of the table, such as kind,params,macs,share. A name that has a comma is in double quotes.",
            metavar="NAMES",
        ),
    ] = None,
    full_names: Annotated[
        bool, typer.Option("--full-names", help="Show full module names without truncation.")
    ] = False,
    unfold: Annotated[
        bool, typer.Option("--unfold", help="Show each of the blocks and layers in a row that are alike.")
    ] = False,
    strict: Strict = False,
    save: Save = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Show what a model costs, layer by layer."""
    from costmodel.views import text

    if columns is not None and (json or csv or markdown):
        raise InputError("--columns chooses those of the terminal's table: --json, --csv and --markdown have all")
    p = profiled(model, inputs, train=train, strict=strict, dtype=dtype)
    to_markdown = partial(p.to_markdown, fold=not unfold)
    if not wrote_format(p, json=json, csv=csv, markdown=markdown, to_markdown=to_markdown):
        console.show(
            text.profile_parts(
                p, depth=depth, sort=sort, top=top, columns=comma_separated(columns), full_names=full_names,
                fold=not unfold, width=console.width(),
            )
        )  # fmt: skip
    save_all(p, save)
