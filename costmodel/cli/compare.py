"""``costmodel compare``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from costmodel.cli import console
from costmodel.cli.options import (
    Autocast,
    Batch,
    Csv,
    Dtype,
    Inputs,
    Json,
    Markdown,
    Models,
    Optimizer,
    Save,
    Step,
    Strict,
    Train,
    is_saved,
    is_saved_step,
    profiled,
    read_inputs,
    require_step,
    stepped,
)
from costmodel.cli.output import save_all, wrote_format
from costmodel.errors import InputError


def compare(
    models: Models,
    inputs: Inputs = None,
    baseline: Annotated[str | None, typer.Option(help="The model that ratios are relative to.")] = None,
    dtype: Dtype = None,
    train: Train = False,
    step: Step = False,
    batch: Batch = None,
    optimizer: Optimizer = "adamw",
    autocast: Autocast = None,
    strict: Strict = False,
    save: Save = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Compare several models, or training steps of them."""
    from costmodel.comparison import compare as compared
    from costmodel.views import text
    from costmodel.views.training import comparison

    step = step or any(map(is_saved_step, models))
    require_step(step, batch=batch, autocast=autocast)
    if step:
        if train:
            raise InputError("--train is one forward, and --step a whole training step: give one of them")
        made = {}
        for model in console.progress(models):
            how: dict[str, Any] = {} if is_saved(model) else {"batch": batch, "autocast": autocast, "dtype": dtype}
            given = None if is_saved(model) else inputs
            made[model] = stepped(model, given, optimizer=optimizer, strict=strict, **how)
        several = compared(made, baseline=baseline)
        if not wrote_format(several, json=json, csv=csv, markdown=markdown):
            console.show(comparison.parts(several, console.width()))
        save_all(several, save)
        return
    sides = {model: profiled(model, None, strict=strict) if is_saved(model) else model for model in models}
    c = compared(
        sides, read_inputs(inputs), baseline, progress=console.progress,
        mode="train" if train else "eval", strict=strict, dtype=dtype,
    )  # fmt: skip
    if not wrote_format(c, json=json, csv=csv, markdown=markdown):
        console.show(text.comparison_parts(c, console.width()))
    save_all(c, save)
