"""``costmodel diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from costmodel.cli import console
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
from costmodel.files import write_text

if TYPE_CHECKING:
    from costmodel.profiling import Profile
    from costmodel.training import TrainingStep


def diff(
    old: Annotated[
        str, typer.Argument(help="Before: a profile or a training step saved as .json, or a model.", show_default=False)
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
    top: Annotated[int, typer.Option(help="Layers to list.", min=1)] = 20,
    save: Annotated[
        Path | None, typer.Option("--save", "-o", metavar="FILE.md", help="Also write it to this file.")
    ] = None,
) -> None:
    """Show what changed between two profiles, or two training steps, as Markdown for a pull request."""
    from costmodel.difference import Difference
    from costmodel.views import parsing, units

    limit = None if fail_over is None else parsing.parse_share(fail_over)
    if save is not None and save.suffix != ".md":
        raise InputError(f"--save {save}: a difference is written as Markdown, to a file named .md")
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
    report = found.to_markdown(top=top, limit=limit)
    console.write(report)
    if save is not None:
        write_text(save, report)
    if limit is not None and (grown := found.grown(limit)):
        console.print_status(f"grew by more than {fail_over}: {', '.join(map(units.head, grown))}")
        raise typer.Exit(1)
