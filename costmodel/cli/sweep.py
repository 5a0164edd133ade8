"""``costmodel sweep``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from costmodel.cli import console
from costmodel.cli.options import Csv, Json, Markdown, read_inputs
from costmodel.cli.output import save_all, wrote_format
from costmodel.errors import InputError
from costmodel.files import require_place


def sweep(
    what: Annotated[
        str,
        typer.Argument(
            help="A network of this library (closed form, thousands at once), or a spec with names in braces, such as "
            "timm:{arch}: each candidate is built and traced.",
            show_default=False,
        ),
    ],
    grid: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=VALUES...",
            help="What varies: width=0.35,0.5,1.0; a range with both ends, resolution=96:224:32; a library's networks, "
            "arch=@all or arch=@mobilenet*. All combinations are candidates.",
            show_default=False,
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="SHAPE",
            help="Shape of an input of traced candidates, as for `costmodel profile`; a NAME may stand in place of a "
            "size: batch,3,res,res.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(metavar="N|ADDRESS", help="Processes; or the address of a Dask scheduler, tcp://HOST:8786."),
    ] = None,
    save: Annotated[
        list[Path] | None,
        typer.Option(
            "--save",
            "-o",
            metavar="PATH",
            help="A folder NAME.parquet, to which rows are added as they come, and from which a sweep goes on; or a "
            "file: .html .md .json .csv .tex or .txt. Can be repeated.",
        ),
    ] = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Show what many candidates cost: variants of a network, or a whole library's networks."""
    from costmodel.candidates import sweep as swept
    from costmodel.views import candidates as view

    folder, files = _places(save or [])
    axes = dict(_axis(what, text) for text in grid)
    if len(axes) < len(grid):
        raise InputError("give each name of the grid once")
    given = read_inputs(inputs, named_sizes=True)
    with _engine(engine) as found, console.counting(f"sweeping {what}") as progress:
        s = swept(what, axes, inputs=given, engine=found, save=folder, progress=progress)
    if s.table.empty:
        error, _, example = view.failed(s)[0]
        raise InputError(f"no candidate could be computed; {example}: {error}")
    if not wrote_format(s, json=json, csv=csv, markdown=markdown):
        console.show(view.parts(s, console.width()))
    if folder is not None:
        console.print_status(f"saved in {folder}")
    save_all(s, files)


def _places(paths: list[Path]) -> tuple[Path | None, list[Path]]:
    """The folder for rows, and the files, of which each must have a suffix that is known."""
    from costmodel.views import SUFFIXES, VIEWS

    folders = [path for path in paths if path.suffix in (".parquet", "")]
    files = [path for path in paths if path not in folders]
    for path in files:
        if SUFFIXES.get(path.suffix.lower()) not in VIEWS["sweep"]:
            raise InputError(f"--save {path}: a sweep is saved as .parquet, .html, .md, .json, .csv, .tex or .txt")
        require_place(path)
    if len(folders) > 1:
        raise InputError(f"--save {folders[0]} and --save {folders[1]}: rows go to one folder")
    return (folders[0] if folders else None), files


@contextmanager
def _engine(text: str | None) -> Iterator[Any]:
    """What ``costmodel.sweep`` takes as an engine."""
    if text is None:
        yield None
    elif text.isdecimal():
        yield int(text)
    else:
        from costmodel.candidates.engines import connected

        with connected(text) as client:
            yield client


_ITEM = re.compile(r"(?:[^,(\[\"']|\([^)]*\)|\[[^\]]*\]|\"[^\"]*\"|'[^']*')+")
_RANGE = re.compile(r"(-?[\d.]+):(-?[\d.]+)(?::([\d.]+))?")


def _axis(what: str, text: str) -> tuple[str, list[Any]]:
    """A name of the grid with its values.

    >>> _axis("mobilenet_v2", "width=0.35,0.5"), _axis("mobilenet_v2", "resolution=96:160:32")
    (('width', [0.35, 0.5]), ('resolution', [96, 128, 160]))
    """
    name, equals, values = text.partition("=")
    items = _ITEM.findall(values)
    if not (name.isidentifier() and equals and items):
        raise InputError(
            f"{text!r} is no part of a grid: write NAME=VALUES, such as width=0.35,0.5 or resolution=96:224:32"
        )
    return name, [value for item in items for value in _values(what, name, item.strip())]


def _values(what: str, name: str, item: str) -> list[Any]:
    if item.startswith("@"):
        from costmodel.candidates.names import names

        return names(what, name, item[1:])
    if match := _RANGE.fullmatch(item):
        return _range(name, *match.groups())
    try:
        return [ast.literal_eval(item)]
    except (SyntaxError, ValueError):
        return [item]


MOST = 10_000_000
"""Values of a range."""


def _range(name: str, first: str, last: str, step: str | None) -> list[int | float]:
    """Both ends included. Fractions, as floats would add up to something beside the last.

    >>> _range("width", "0.7", "1", "0.1")
    [0.7, 0.8, 0.9, 1.0]
    """
    try:
        low, high, by = Fraction(first), Fraction(last), Fraction(step or 1)
        count = int((high - low) / by) + 1
    except (ValueError, ZeroDivisionError):
        count = 0
    if not 0 < count <= MOST or low > high:
        raise InputError(f"{name}={first}:{last}{f':{step}' if step else ''} is no range: write {name}=96:224:32")
    found = [low + i * by for i in range(count)]
    is_whole = "." not in f"{first}{last}{step}"
    return [int(n) if is_whole else float(n) for n in found]
