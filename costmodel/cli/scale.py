"""``costmodel scale``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from costmodel.cli import console
from costmodel.cli.options import Autocast, Csv, Dtype, Json, LiveModel, Markdown, Optimizer, Save, read_inputs
from costmodel.cli.output import save_all, wrote_format
from costmodel.errors import InputError

if TYPE_CHECKING:
    from costmodel.polynomial import Scaling


def scale(
    model: LiveModel,
    inputs: Annotated[
        list[str],
        typer.Option(
            "--input",
            "-i",
            metavar="SHAPE",
            help="Shape of an input with a name in place of each size that varies: B,3,H,H; with a dtype B,S:int64; by "
            "keyword input_ids=B,S:int64. Repeat it for each input.",
        ),
    ],
    largest: Annotated[
        str | None, typer.Option(metavar="NAME", help="The greatest value of this size that keeps the bounds below.")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="BYTES",
            help="A bound on the peak: 24GB, or a device for its memory. Of a forward, what fits beside the "
            "parameters is said too.",
        ),
    ] = None,
    max_macs: Annotated[str | None, typer.Option(metavar="N", help="A bound on MACs: 4G.")] = None,
    max_flops: Annotated[str | None, typer.Option(metavar="N", help="A bound on FLOPs: 8G.")] = None,
    seconds: Annotated[float | None, typer.Option(help="With --device: a bound on the least time on it.")] = None,
    device: Annotated[str | None, typer.Option(help="The device of --seconds.")] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help="A size: of all of them for figures, or of the others for --largest."),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help="A size at which to begin, where none is found that the model takes."),
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="A training step instead of one forward pass.")] = False,
    optimizer: Optimizer = "adamw",
    autocast: Autocast = None,
    dtype: Dtype = None,
    save: Save = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Show what a model costs as exact formulas of its input's sizes, and the largest size that keeps a bound."""
    from costmodel.polynomial import scaling
    from costmodel.polynomial.sizes import names_in
    from costmodel.views import scaling as view

    bounds = {
        "peak_memory": memory,
        "macs": None if max_macs is None else _number(max_macs, "MACs"),
        "flops": None if max_flops is None else _number(max_flops, "FLOPs"),
    }
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    if largest is None and (given or seconds is not None or device is not None):
        raise InputError("a bound needs a size that is looked for: add --largest NAME")
    shapes = read_inputs(inputs, named_sizes=True)
    sizes, begin = _sizes("at", at), _sizes("start", start)
    if largest is not None and not given and seconds is None:
        raise InputError(f"--largest {largest} needs a bound: --memory, --max-macs, --max-flops, or --seconds")
    wanted = [name for name in names_in(shapes) if name != largest]
    if (sizes or largest is not None) and {*sizes} != {*wanted}:
        raise InputError(
            f"--at has {', '.join(sizes) or 'no size'}: the inputs name {', '.join(wanted) or 'none'}"
            + (f" beside {largest}, which is looked for" if largest is not None else "")
        )
    if not train and (optimizer != "adamw" or autocast is not None):
        raise InputError("--optimizer and --autocast say how a training step is made: add --train")
    options: dict[str, Any] = (
        {"optimizer": None if optimizer == "none" else optimizer, "autocast": autocast} if train else {}
    )
    with console.doing(f"tracing {model} at several sizes"):
        made = scaling(model, shapes, training=train, dtype=dtype, start=begin, **options)
    with console.doing(f"looking for the largest {largest}"):
        found = None if largest is None else made.largest(largest, seconds=seconds, device=device, **given, **sizes)
    costs = {**sizes, largest: found} if largest is not None and found else sizes
    if not wrote_format(made, json=json, csv=csv, markdown=markdown):
        console.show(view.parts(made, console.width()))
        if largest is not None:
            said = [view.largest(made, largest, found or 0, sizes)]
            if memory is not None and found:
                said += _beside_weights(made, largest, found, sizes, given, seconds, device)
            console.show(said)
        if costs.keys() == set(made.names):
            console.show(view.figures_at(made, costs, console.width()))
    save_all(made, save)


def _beside_weights(
    s: Scaling,
    name: str,
    found: int,
    sizes: dict[str, int],
    given: dict[str, Any],
    seconds: float | None,
    device: str | None,
) -> list[str]:
    """What fits where parameters and buffers lie in the same memory, as on a device. A step's peak has them."""
    from costmodel.capacity import bytes_of
    from costmodel.views import scaling as view

    weights = s.traced(**sizes, **{name: found}).resting_bytes
    if not weights:
        return []
    left = bytes_of(given["peak_memory"]) - weights
    bounds = given | {"peak_memory": left}
    size = s.largest(name, seconds=seconds, device=device, **bounds, **sizes) if left >= 0 else 0
    return [view.beside_weights(size, weights)]


def _sizes(option: str, given: list[str] | None) -> dict[str, int]:
    sizes = {}
    for text in given or []:
        name, _, number = text.partition("=")
        if not number.strip().isdecimal():
            raise InputError(f"--{option} {text!r} is no size; write --{option} H=224")
        sizes[name.strip()] = int(number)
    return sizes


def _number(text: str, unit: str) -> int:
    from costmodel.views import parsing

    return parsing.parse(text, unit)
