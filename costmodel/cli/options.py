"""The options that several commands share, and how their values are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from costmodel.errors import InputError

if TYPE_CHECKING:
    from costmodel.profile import Profile


def _names(incomplete: str) -> list[str]:
    """Shell completion of a model's name."""
    from costmodel.models import list_models

    known = [*list_models(), "torchvision:", "timm:", "hf:"]
    return [name for name in known if name.startswith(incomplete)]


Model = Annotated[
    str,
    typer.Argument(
        autocompletion=_names,
        help="A name (`costmodel models`), torchvision:NAME, timm:NAME, hf:TYPE, hf:config.json, "
        "package.module:factory, path/to/file.py:factory (these two run that code), each with arguments as in "
        "'mobilenet_v1(width=0.5)'; "
        "or a profile saved as .json.",
        show_default=False,
    ),
]
Models = Annotated[
    list[str], typer.Argument(help="Two or more models, as `costmodel profile` takes them.", autocompletion=_names)
]
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
Train = Annotated[bool, typer.Option("--train", help="Profile the training-mode forward pass.")]


def _into(suffixes: str) -> Any:
    return typer.Option("--save", "-o", metavar="FILE", help=f"Write a file: {suffixes}. Can be repeated.")


Save = Annotated[list[Path] | None, _into(".html .md .json .csv .tex or .txt")]
SaveFigure = Annotated[list[Path] | None, _into(".html .md .json .csv .tex .txt .png or .svg")]
SaveClaims = Annotated[list[Path] | None, _into(".html .md or .json")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
Csv = Annotated[bool, typer.Option("--csv", help="CSV on standard output.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Markdown on standard output.")]
Strict = Annotated[bool, typer.Option("--strict", help="Fail on an operation without a rule.")]
Top = Annotated[int, typer.Option(help="Rows to show.", min=1)]

_INPUT = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<shape>\(\)|\d+(?:\s*[,x×]\s*\d+)*,?)(?::(?P<dtype>\w+))?")


def read_inputs(texts: list[str] | None) -> Any:
    """The values of --input as ``costmodel.profile`` takes them.

    >>> read_inputs(["1,3,8,8"]), read_inputs(["a=1,3", "b=2x4"]), read_inputs(None)
    ((1, 3, 8, 8), {'a': (1, 3), 'b': (2, 4)}, None)
    """
    if not texts:
        return None
    from costmodel.inputs import Call

    read = [_read_input(text) for text in texts]
    values = [value for name, value in read if name is None]
    named = {name: value for name, value in read if name is not None}
    if len(values) + len(named) < len(read):
        raise InputError("give each keyword of --input once")
    if values and named:
        return Call(tuple(values), named)
    return named or (values[0] if len(values) == 1 else tuple(values))


def _read_input(text: str) -> tuple[str | None, Any]:
    from costmodel.inputs import Input, dtype_of

    match = _INPUT.fullmatch(text.strip())
    if match is None:
        raise InputError(f"--input {text!r} is not a shape; write 1,3,224,224 or 1,128:int64 or name=1,128:int64")
    shape = tuple(int(n) for n in re.findall(r"\d+", match["shape"]))
    if match["dtype"] is None:
        return match["name"], shape or Input(())
    try:
        return match["name"], Input(shape, dtype_of(match["dtype"]))
    except InputError as error:
        raise InputError(f"--input {text!r}: {error}") from error


def is_saved(model: str) -> bool:
    """Whether a model argument names a saved profile.

    >>> is_saved("p.json"), is_saved("hf:bert/config.json"), is_saved("resnet18")
    (True, False, False)
    """
    return model.endswith(".json") and ":" not in model


def profiled(
    model: str, inputs: list[str] | None, *, train: bool = False, strict: bool = False, dtype: str | None = None
) -> Profile:
    """The profile that a model argument names: of a spec, or read from a file."""
    from costmodel.profile import profile, require_exact
    from costmodel.saved import read_json

    if is_saved(model):
        if inputs or train or dtype:
            raise InputError(f"{model} is a saved profile: its inputs, mode and dtype are fixed")
        p = read_json(model)
        if strict:
            require_exact(p)
        return p
    return profile(model, read_inputs(inputs), mode="train" if train else "eval", strict=strict, dtype=dtype)
