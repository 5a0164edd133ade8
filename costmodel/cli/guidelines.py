"""``costmodel guidelines``."""

from __future__ import annotations

from costmodel.cli import console
from costmodel.cli.options import Csv, Inputs, Json, Markdown, Model, Top, Train, profiled


def guidelines(
    model: Model,
    inputs: Inputs = None,
    train: Train = False,
    top: Top = 20,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Apply ShuffleNetV2's four guidelines for fast networks to a model."""
    result = profiled(model, inputs, train=train).guidelines()
    if markdown:
        console.write(result.to_markdown(limit=top))
    elif not console.wrote_rows(result.rows, json=json, csv=csv):
        from costmodel.views import analyses

        console.show(analyses.guidelines(result, top=top, width=console.width()))
