"""``costmodel compare``."""

from __future__ import annotations

import re
from pathlib import Path
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
    Optimizer,
    Save,
    Step,
    Strict,
    Train,
    comma_separated,
    complete_model,
    complete_tool,
    is_saved,
    is_saved_step,
    profiled,
    read_inputs,
    require_step,
    stepped,
)
from costmodel.cli.output import save_all, wrote_format
from costmodel.errors import InputError, LoadError


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            help="One or more models, each a row, as `costmodel profile` takes them; saved profiles and training steps "
            "(.json), too. NAME=MODEL names the row; a model that is given again is numbered.",
            autocompletion=complete_model,
        ),
    ],
    inputs: Inputs = None,
    baseline: Annotated[str | None, typer.Option(help="The model that ratios are relative to.")] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Columns of your own, such as accuracies: a CSV file, its first column the models."
        ),
    ] = None,
    lower_is_better: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A column of --metrics whose lowest figure is the best. Can be repeated."),
    ] = None,
    tool: Annotated[
        list[str] | None,
        typer.Option(
            help="What another counter prints, such as fvcore (`costmodel reconcile`). Can be repeated.",
            autocompletion=complete_tool,
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="The least milliseconds on a device, elementwise operations fused (`costmodel roofline`). Can be "
            "repeated.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="The columns of tables, such as params,macs,top-1: measures, metrics and tools. A name that has a "
            "comma is in double quotes, as in CSV: 'macs,\"latency, ms\"'.",
        ),
    ] = None,
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

    named = _named(models)
    step = step or any(map(is_saved_step, named.values()))
    require_step(step, batch=batch, autocast=autocast)
    if step:
        if train:
            raise InputError("--train is one forward, and --step a whole training step: give one of them")
        if metrics is not None or columns is not None or tool or device:
            raise InputError("--metrics, --columns, --tool and --device are of forwards: leave out --step")
        made = {}
        for name in console.progress(list(named)):
            model = named[name]
            how: dict[str, Any] = {} if is_saved(model) else {"batch": batch, "autocast": autocast, "dtype": dtype}
            given = None if is_saved(model) else inputs
            made[name] = stepped(model, given, optimizer=optimizer, strict=strict, **how)
        several = compared(made, baseline=baseline)
        if not wrote_format(several, json=json, csv=csv, markdown=markdown):
            console.show(comparison.parts(several, console.width()))
        save_all(several, save)
        return
    sides = {name: profiled(model, None, strict=strict) if is_saved(model) else model for name, model in named.items()}
    c = compared(
        sides, read_inputs(inputs), baseline, metrics=metrics, lower_is_better=lower_is_better or (),
        counted_as=tool or (), devices=device or (), columns=comma_separated(columns), progress=console.progress,
        mode="train" if train else "eval", strict=strict, dtype=dtype,
    )  # fmt: skip
    if not wrote_format(c, json=json, csv=csv, markdown=markdown):
        console.show(text.comparison_parts(c, console.width()))
    save_all(c, save)


_NAMED = re.compile(r"([^=(:/\\]+)=(.+)", re.DOTALL)
"""``NAME=MODEL``; an ``=`` in the arguments of a model, or in the path of a file, comes behind what no name has."""


def _named(models: list[str]) -> dict[str, str]:
    """The models by the names given to them, or by themselves; a model that comes again is numbered."""
    from costmodel.comparison.rows import distinct

    matches = [None if _is_file(text) else _NAMED.fullmatch(text) for text in models]
    names = [text if match is None else match[1] for text, match in zip(models, matches, strict=True)]
    specs = [text if match is None else match[2] for text, match in zip(models, matches, strict=True)]
    for name, match in zip(names, matches, strict=True):
        if match is not None and names.count(name) > 1:
            same = [spec for other, spec in zip(names, specs, strict=True) if other == name]
            raise InputError(f"{name!r} names {' and '.join(same)}: give each of them a name of its own")
    return dict(zip(distinct(names), specs, strict=True))


def _is_file(text: str) -> bool:
    """Whether a text as it is names a file that is there, or a factory in one."""
    from costmodel.loading import parse

    try:
        where = parse(text).where
        return Path(text).exists() or (where != "" and Path(where).exists())
    except (LoadError, OSError, ValueError):  # ValueError: a zero byte in the path
        return False
