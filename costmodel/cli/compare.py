"""``costmodel compare``."""

from __future__ import annotations

from typing import Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import (
    Csv,
    Dtype,
    Inputs,
    Json,
    Markdown,
    Models,
    Save,
    Strict,
    Train,
    is_saved,
    profiled,
    read_inputs,
)
from costmodel.cli.output import save_all, wrote_format


def compare(
    models: Models,
    inputs: Inputs = None,
    baseline: Annotated[str | None, typer.Option(help="The model that ratios are relative to.")] = None,
    dtype: Dtype = None,
    train: Train = False,
    strict: Strict = False,
    save: Save = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Compare several models."""
    from costmodel.compare import compare as compared
    from costmodel.views import text

    sides = {model: profiled(model, None, strict=strict) if is_saved(model) else model for model in models}
    c = compared(
        sides, read_inputs(inputs), baseline, progress=console.progress,
        mode="train" if train else "eval", strict=strict, dtype=dtype,
    )  # fmt: skip
    if not wrote_format(c, json=json, csv=csv, markdown=markdown):
        console.show(text.comparison_parts(c, console.width()))
    save_all(c, save)
