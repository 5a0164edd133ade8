"""Commands that look deeper: ``guidelines``, ``roofline``, ``calibrate``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Csv, Inputs, Json, Markdown, Model, Train, profiled

if TYPE_CHECKING:
    import pandas as pd

Top = Annotated[int, typer.Option(help="Rows to show.", min=1)]


def guidelines(
    model: Model,
    inputs: Inputs = None,
    train: Train = False,
    top: Top = 20,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """ShuffleNetV2's four guidelines for fast networks, applied to a model."""
    result = profiled(model, inputs, train=train).guidelines()
    if markdown:
        console.write(result.to_markdown(limit=top))
    elif not _rows(result.rows, json=json, csv=csv):
        from costmodel.views import analyses

        console.show(analyses.guidelines(result, top=top, width=console.width()))


def roofline(
    model: Model,
    device: Annotated[str, typer.Option(help="A device; a wrong name lists them. this-cpu after `calibrate`.")],
    inputs: Inputs = None,
    train: Train = False,
    top: Top = 20,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """A lower bound of a model's time on a device, layer by layer."""
    result = profiled(model, inputs, train=train).roofline(device)
    if markdown:
        console.write(result.to_markdown(limit=top))
    elif not _rows(result.rows, json=json, csv=csv):
        from costmodel.views import analyses

        console.show(analyses.roofline(result, top=top, width=console.width()))


def calibrate() -> None:
    """Measures this machine's CPU, for `roofline --device this-cpu`; takes some seconds."""
    from costmodel.calibrate import calibrate as measured
    from costmodel.devices import cache_file
    from costmodel.views import units

    found = measured()
    console.write(f"this-cpu: {found.title}")
    for dtype in found.peak:
        console.write(f"  {dtype}: {units.si(found.rate(dtype), 'FLOP/s')}")
    console.write(f"  memory: {units.si(found.bandwidth, 'B/s')}")
    console.told(f"kept in {cache_file()}")


def _rows(table: pd.DataFrame, *, json: bool, csv: bool) -> bool:
    if json:
        from json import dumps

        # pandas' own to_json keeps ten decimals, and a layer's seconds begin at the seventh.
        console.write(dumps(table.to_dict("records"), indent=1, ensure_ascii=False))
    elif csv:
        console.write(table.to_csv(index=False, lineterminator="\n"))
    return json or csv


COMMANDS: tuple[Callable[..., None], ...] = (guidelines, roofline, calibrate)
