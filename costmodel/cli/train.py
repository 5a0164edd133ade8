"""``costmodel train``."""

from __future__ import annotations

from typing import Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import (
    Autocast,
    Batch,
    Csv,
    Dtype,
    Inputs,
    Json,
    Loss,
    Markdown,
    Math,
    Optimizer,
    Save,
    SteppedModel,
    Steps,
    Strict,
    stepped,
)
from costmodel.cli.output import save_all, wrote_format
from costmodel.errors import InputError


def train(
    model: SteppedModel,
    inputs: Inputs = None,
    batch: Batch = None,
    optimizer: Optimizer = "adamw",
    loss: Loss = None,
    autocast: Autocast = None,
    dtype: Dtype = None,
    steps: Steps = 1,
    device: Annotated[
        str | None,
        typer.Option(
            help="A device: the step's least time on it, whether it fits, and the largest batch that does. Not in "
            "CSV and LaTeX."
        ),
    ] = None,
    math: Math = "float32",
    memory: Annotated[
        str | None,
        typer.Option(metavar="BYTES", help="Whether the step fits, and the largest batch: 24GB. Not in CSV and LaTeX."),
    ] = None,
    seconds: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="With --device: what a step takes, 0.15 or 150ms, for its utilisation (MFU, HFU)."
        ),
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", help="Layers to list.", min=1)] = 10,
    strict: Strict = False,
    save: Save = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Show what a training step costs, and whether it fits: forward, loss, backward and update.

    Memory is that of a step after the first, when the optimizer's state is there.
    """
    from costmodel.capacity import bytes_of
    from costmodel.devices import device as named
    from costmodel.views.parsing import parse_exactly
    from costmodel.views.training import text

    if seconds is not None and device is None:
        raise InputError("--seconds needs --device: utilisation is a share of what a device could do in that time")
    if math != "float32" and device is None:
        raise InputError("--math needs --device: it is about the products that the device computes")
    taken = None if seconds is None else float(parse_exactly(seconds, "s", small=True))
    for check, given in ((named, device), (bytes_of, memory)):
        if given is not None:
            check(given)  # before the model is traced
    step = stepped(
        model, inputs, batch=batch, optimizer=optimizer, loss=loss, autocast=autocast, dtype=dtype, steps=steps,
        strict=strict,
    )  # fmt: skip
    if device is not None or memory is not None:
        with console.doing("looking for the largest batch"):
            step = step.with_answers(device=device, math=math, memory=memory, seconds=taken)
    if not wrote_format(step, json=json, csv=csv, markdown=markdown):
        with console.doing("summing up"):
            shown = text.parts(step, top=top, width=console.width())
        console.show(shown)
    save_all(step, save)
