"""``costmodel notes``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Json, SaveClaims
from costmodel.errors import ConvertError
from costmodel.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from costmodel.notes import Result


def notes(
    claims: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Claims to show in full, such as 004-13; a table of all without."),
    ] = None,
    save: SaveClaims = None,
    json: Json = False,
) -> None:
    """Compute the claims of the five study notes: whether each holds, and what is right."""
    from costmodel.notes import all_claims, report, results

    with console.doing("importing torch"):
        names = claims or [claim.id for claim in all_claims()]
    found = [result for name in console.progress(names, "computing claims") for result in results([name])]
    if json:
        console.write(report.json(found))
    elif claims:
        console.show(part for result in found for part in report.detail(result, console.width()))
    else:
        console.show(report.parts(found, console.width()))
    for path in save or ():
        console.print_status(f"wrote {_saved(found, path)}")


def _saved(found: Sequence[Result], path: Path) -> Path:
    from costmodel.notes import report

    writers = {".md": report.markdown, ".html": report.page, ".json": report.json}
    if path.suffix not in writers:
        raise ConvertError(f"{path}: claims are written as {' '.join(writers)}, not {path.suffix or 'without suffix'}")
    return write_text(path, writers[path.suffix](found))
