"""``costmodel diff``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from costmodel.cli import console
from costmodel.cli.folders import read_costs
from costmodel.cli.options import (
    Autocast,
    Batch,
    Inputs,
    Optimizer,
    Step,
    is_saved,
    is_saved_step,
    profiled,
    require_step,
    stepped,
)
from costmodel.errors import InputError
from costmodel.files import require_place, write_text

if TYPE_CHECKING:
    from costmodel.profiling import Profile
    from costmodel.training import TrainingStep


def diff(
    old: Annotated[
        str,
        typer.Argument(
            help="Before: a profile or a training step saved as .json, a model, or a folder of saved ones.",
            show_default=False,
        ),
    ],
    new: Annotated[str, typer.Argument(help="After, likewise.", show_default=False)],
    inputs: Inputs = None,
    step: Step = False,
    batch: Batch = None,
    optimizer: Optimizer = "adamw",
    autocast: Autocast = None,
    fail_over: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Exit with 1 if a total grew by more than this, such as 1%.")
    ] = None,
    top: Annotated[int, typer.Option(help="Layers to list, of each model.", min=1)] = 20,
    save: Annotated[
        Path | None, typer.Option("--save", "-o", metavar="FILE.md", help="Also write it to this file.")
    ] = None,
) -> None:
    """Show what changed between two profiles, or two training steps, as Markdown for a pull request.

    Of two folders, such as `costmodel check --save FOLDER` writes, the files of one name are compared; the result fits
    into a comment on GitHub.
    """
    from costmodel.difference import Difference, Differences
    from costmodel.views import parsing

    limit = None if fail_over is None else parsing.parse_share(fail_over)
    if save is not None and save.suffix != ".md":
        raise InputError(f"--save {save}: a difference is written as Markdown, to a file named .md")
    if save is not None:
        require_place(save)
    if any(Path(side).is_dir() for side in (old, new)):
        if inputs or step or batch or autocast:
            raise InputError("folders have saved profiles and training steps, whose inputs and settings are fixed")
        several = Differences(read_costs(Path(old)), read_costs(Path(new)))
        report = several.to_markdown(top=top, limit=limit)
        grown = {} if limit is None else several.grown(limit)
        _finish(report, save, fail_over, {name: totals for name, totals in grown.items() if totals})
        return
    step = step or any(map(is_saved_step, (old, new)))
    require_step(step, batch=batch, autocast=autocast)

    def side(name: str) -> Profile | TrainingStep:
        given = None if is_saved(name) else inputs
        if not step:
            return profiled(name, given)
        fixed = is_saved(name)
        return stepped(
            name, given, batch=None if fixed else batch, optimizer=optimizer, autocast=None if fixed else autocast
        )

    found = Difference(side(old), side(new))
    of_one = found.grown(limit) if limit is not None else []
    _finish(found.to_markdown(top=top, limit=limit), save, fail_over, {"": of_one} if of_one else {})


def _finish(report: str, save: Path | None, fail_over: str | None, grown: Mapping[str, list[str]]) -> None:
    """Prints and writes the report; exits with status 1 for totals, by model, that grew too much."""
    from costmodel.views import units

    console.write(report)
    if save is not None:
        write_text(save, report)
    for name, totals in grown.items():
        whose = f"{units.printable(name)} " if name else ""
        console.print_status(f"{whose}grew by more than {fail_over}: {', '.join(map(units.head, totals))}")
    if grown:
        raise typer.Exit(1)
