"""``costmodel measure``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Csv, Inputs, Json, Markdown, MeasuredModel, Save, Top, read_inputs
from costmodel.cli.output import save_all, wrote_format
from costmodel.errors import InputError
from costmodel.files import is_saved


def measure(
    model: MeasuredModel,
    inputs: Inputs = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="Where it runs: cpu, cuda or cuda:1.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads on the CPU. Default: as many as torch takes.", min=1)
    ] = None,
    repeats: Annotated[
        int, typer.Option(metavar="N", help="Forwards that are timed, and as many with hooks around layers.", min=1)
    ] = 20,
    peaks: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The device whose peak rates make the bound: of `costmodel devices`, or a TOML file. Default: this "
            "CPU as `costmodel calibrate` measured it, or calibrated now; the GPU by its name.",
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="Run the model and its floating inputs in this dtype.")
    ] = None,
    cpu_time: Annotated[
        bool, typer.Option("--cpu-time", help="Of one thread its CPU time, for a busy machine; with --threads 1.")
    ] = False,
    top: Top = 20,
    save: Save = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Run a model for real: the times of its forward and of each layer, beside the least that the roofline allows."""
    from costmodel.saved import read_json
    from costmodel.timing import Measurement
    from costmodel.timing import measure as measured
    from costmodel.views import measurement as view

    if cpu_time and (threads != 1 or device != "cpu"):
        raise InputError("--cpu-time is of one thread on the CPU: add --threads 1")
    if is_saved(model):
        with console.doing(f"reading {model}"):
            found = read_json(model)
        if not isinstance(found, Measurement):
            raise InputError(f"{model} is no saved measurement, and what ran is not in it: name the model itself")
    else:
        with console.doing(f"running {model} {2 * repeats:,} times and more"):
            found = measured(
                model, read_inputs(inputs), device=device, threads=threads, repeats=repeats, peaks=peaks, dtype=dtype,
                clock=time.thread_time if cpu_time else time.perf_counter,
            )  # fmt: skip
    if not wrote_format(found, json=json, csv=csv, markdown=markdown):
        console.show(view.parts(found, console.width(), top))
    save_all(found, save)
