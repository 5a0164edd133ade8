"""``costmodel roofline``."""

from __future__ import annotations

from typing import Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Csv, Dtype, Inputs, Json, Markdown, Math, Model, Top, Train, profiled


def roofline(
    model: Model,
    device: Annotated[
        str,
        typer.Option(
            help="A device, this-cpu after `costmodel calibrate`, or a TOML file; with no name, all are listed."
        ),
    ],
    inputs: Inputs = None,
    dtype: Dtype = None,
    math: Math = "float32",
    train: Train = False,
    top: Top = 20,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Show a lower bound of a model's time on a device, layer by layer."""
    result = profiled(model, inputs, train=train, dtype=dtype).roofline(device, math)
    if markdown:
        console.write(result.to_markdown(limit=top))
    elif not console.wrote_rows(result.rows, json=json, csv=csv):
        from costmodel.views import analyses

        console.show(analyses.roofline(result, top=top, width=console.width()))
