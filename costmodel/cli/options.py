"""The options that several commands share, and how their values are read."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from costmodel.cli import console
from costmodel.errors import ConvertError, InputError
from costmodel.files import is_saved as is_saved
from costmodel.files import require_place
from costmodel.inputs import read_inputs as read_inputs

if TYPE_CHECKING:
    from costmodel.profiling import Profile
    from costmodel.training import TrainingStep


def complete_model(incomplete: str) -> list[str]:
    """Shell completion of a model's name."""
    from costmodel.models import list_models

    known = [*list_models(), "torchvision:", "timm:", "hf:"]
    return [name for name in known if name.startswith(incomplete)]


def complete_tool(incomplete: str) -> list[str]:
    """Shell completion of a counter's name."""
    from costmodel.conventions import TOOLS

    return [name for name in TOOLS if name.startswith(incomplete)]


_SPEC = (
    "A name (`costmodel models`), torchvision:NAME, timm:NAME, hf:TYPE, hf:config.json, package.module:factory, "
    "path/to/file.py:factory (these two run that code), each with arguments as in 'mobilenet_v1(width=0.5)'"
)


def _model(saved: str = "") -> Any:
    """A model's argument, with what is saved that the command takes instead."""
    instead = f"; or {saved} saved as .json" if saved else ""
    return typer.Argument(autocompletion=complete_model, help=f"{_SPEC}{instead}.", show_default=False)


Model = Annotated[str, _model("a profile")]
SteppedModel = Annotated[str, _model("a training step")]
MeasuredModel = Annotated[str, _model("a measurement")]
LiveModel = Annotated[str, _model()]
"""A model itself, for what nothing that is saved has."""
ModelOrNone = Annotated[str | None, _model("a profile or a training step")]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", "-i", metavar="SHAPE",
        help="Shape of an input: 1,3,224,224; with a dtype 1,128:int64; by keyword input_ids=1,128:int64; () is a "
        "tensor of no dimension. Repeat it for each input. Default: the model's own example inputs.",
    ),
]  # fmt: skip
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help="Price the model and its floating inputs as if of this dtype, such as bfloat16.",
    ),
]
Optimizer = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="The optimizer: sgd, momentum, adam, adamw, adagrad or rmsprop; none for no update."
    ),
]
Loss = Annotated[
    str | None,
    typer.Option(
        metavar="FUNCTION",
        help="What is differentiated, of the model's output: package.module:function or path/to/file.py:function (that "
        "code is run). Default: the output's loss, where it has one, or the sum of its floating tensors.",
    ),
]
Autocast = Annotated[
    str | None, typer.Option(metavar="DTYPE", help="Autocast forward and loss to bfloat16 or float16.")
]
Batch = Annotated[
    int | None, typer.Option("--batch", "-b", metavar="N", help="Samples in a batch, of every input.", min=1)
]
Math = Annotated[
    str,
    typer.Option(
        metavar="DTYPE",
        help="How products of float32 are computed on the device: float32, or tf32 on a GPU that has it.",
    ),
]
Steps = Annotated[
    int,
    typer.Option(
        metavar="N", help="Forward and backward passes whose gradients are added up before the update.", min=1
    ),
]
Step = Annotated[
    bool, typer.Option("--step", help="Training steps, as of `costmodel train`, instead of single forwards.")
]
Train = Annotated[bool, typer.Option("--train", help="Profile the training-mode forward pass.")]


def _into(*suffixes: str) -> Any:
    """The option of files to write. What cannot be written is refused before the work and not after it."""
    listed = f"{' '.join(suffixes[:-1])} or {suffixes[-1]}"
    known = {*suffixes, *(".htm" for _ in {".html"} & {*suffixes}), *(".markdown" for _ in {".md"} & {*suffixes})}

    def checked(paths: list[Path] | None) -> list[Path] | None:
        for path in paths or ():
            if path.suffix.lower() not in known:
                given = path.suffix or "a file without suffix"
                raise ConvertError(f"--save {path}: nothing is written as {given}; there are {' '.join(suffixes)}")
            require_place(path)
        return paths

    return typer.Option(
        "--save", "-o", metavar="FILE", callback=checked, help=f"Write a file: {listed}. Can be repeated."
    )


Save = Annotated[list[Path] | None, _into(".html", ".md", ".json", ".csv", ".tex", ".txt")]
SaveFigure = Annotated[list[Path] | None, _into(".html", ".md", ".json", ".csv", ".tex", ".txt", ".png", ".svg")]
SaveClaims = Annotated[list[Path] | None, _into(".html", ".md", ".json")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
Csv = Annotated[bool, typer.Option("--csv", help="CSV on standard output.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Markdown on standard output.")]
Strict = Annotated[bool, typer.Option("--strict", help="Fail on an operation without a rule.")]
Top = Annotated[int, typer.Option(metavar="N", help="Rows to show.", min=1)]


def comma_separated(names: str | None) -> list[str] | None:
    """The names in an option's text, if it is given: a line of CSV."""
    if names is None:
        return None
    try:
        rows = list(csv.reader([names], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise InputError(f'{names!r} is no line of CSV, such as macs,"latency, ms": {error}') from error
    return [name.strip() for row in rows for name in row if name.strip()]


def is_saved_step(path: str) -> bool:
    """Whether a model argument names a saved training step: its file's first line says so."""
    if not is_saved(path):
        return False
    try:
        with Path(path).open(encoding="utf-8") as file:
            return "costmodel-training-step" in file.read(200)
    except (OSError, ValueError):
        return False  # whoever reads it says what is wrong


def profiled(
    model: str, inputs: list[str] | None, *, train: bool = False, strict: bool = False, dtype: str | None = None
) -> Profile:
    """The profile that a model argument names: of a spec, or read from a file."""
    from costmodel.profiling import profile, require_exact
    from costmodel.saved import read_costs
    from costmodel.training import TrainingStep

    if is_saved(model):
        if inputs or train or dtype:
            raise InputError(f"{model} is a saved profile: its inputs, mode and dtype are fixed")
        with console.doing(f"reading {model}"):
            p = read_costs(model)
        if isinstance(p, TrainingStep):
            raise InputError(f"{model} is a saved training step, not a profile: add --step, or use `costmodel train`")
        if strict:
            require_exact(p)
        return p
    with console.doing(f"profiling {model}"):
        return profile(model, read_inputs(inputs), mode="train" if train else "eval", strict=strict, dtype=dtype)


def stepped(
    model: str,
    inputs: list[str] | None,
    *,
    batch: int | None = None,
    optimizer: str = "adamw",
    loss: str | None = None,
    autocast: str | None = None,
    dtype: str | None = None,
    steps: int = 1,
    strict: bool = False,
) -> TrainingStep:
    """The training step that a model argument names: of a spec, or read from a file."""
    from costmodel.loading import function
    from costmodel.saved import read_costs
    from costmodel.training import TrainingStep, training_step

    if is_saved(model):
        with console.doing(f"reading {model}"):
            step = read_costs(model)
        if not isinstance(step, TrainingStep):
            raise InputError(f"{model} is a saved profile of one forward: name the model itself for a training step")
        if inputs or batch or loss or autocast or dtype:
            raise InputError(f"{model} is a saved training step: its inputs, batch, loss and dtypes are fixed")
        return step
    given = read_inputs(inputs)
    with console.doing(f"tracing a training step of {model}"):
        if batch is not None:
            from costmodel.batches import with_batch
            from costmodel.profiling import profile

            given = with_batch(profile(model, given, mode="train", dtype=dtype).graph, batch)
        return training_step(
            model, given, optimizer=None if optimizer == "none" else optimizer,
            loss=None if loss is None else function(loss), autocast=autocast, dtype=dtype, steps=steps, strict=strict,
        )  # fmt: skip


def require_step(step: bool, **options: Any) -> None:
    """Raises ``InputError`` for options of a training step where none is asked for."""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given and not step:
        raise InputError(f"{' and '.join(given)} say how a training step is made: add --step")
