"""``costmodel notes``."""

from __future__ import annotations

from typing import Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Json, SaveClaims
from costmodel.cli.output import saying
from costmodel.files import write_text


def notes(
    claims: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID",
            show_default=False,
            help="A note, such as 004, to list; claims, such as 004-13, to show in full.",
        ),
    ] = None,
    save: SaveClaims = None,
    json: Json = False,
) -> None:
    """Compute the claims of the five study notes: whether each holds, and what is right."""
    from costmodel.notes import all_claims, claim_ids, report, results

    with console.doing("importing torch"):
        ids = claim_ids(claims) if claims else tuple(claim.id for claim in all_claims())
    found = [result for name in console.progress(ids, "computing claims") for result in results([name])]
    if json:
        console.write(report.json(found))
    elif claims and set(claims) <= set(ids):  # no note among them
        console.show(part for result in found for part in report.detail(result, console.width()))
    else:
        console.show(report.parts(found, console.width()))
    writers = {".md": report.markdown, ".markdown": report.markdown, ".html": report.page, ".htm": report.page}
    for path in save or ():
        with saying(path):
            write_text(path, writers.get(path.suffix.lower(), report.json)(found))
