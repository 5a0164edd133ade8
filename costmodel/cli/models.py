"""``costmodel models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Json

if TYPE_CHECKING:
    from costmodel.views.styled import Part


def models(
    published: Annotated[
        bool, typer.Option("--published", help="What papers and libraries print, beside what is computed here.")
    ] = False,
    json: Json = False,
) -> None:
    """List the networks that can be given by name."""
    from costmodel import models as zoo

    if published:
        from costmodel.views import published as view

        lines = view.compute(zoo.published())
        if json:
            console.write(view.json(lines))
        else:
            console.show(view.parts(lines, console.width()))
        return
    if json:
        import json as writer

        console.write(writer.dumps(zoo.list_models(), indent=1))
        return
    console.show([_names_table(), "Also torchvision:NAME, timm:NAME, hf:TYPE, package.module:factory, file.py:factory"])


def _names_table() -> Part:
    from costmodel import models as zoo
    from costmodel.views import grid
    from costmodel.views.styled import Text

    names = zoo.list_models()
    arguments = [", ".join(f"{k}={v!r}" for k, v in zoo.arguments(name).items()) for name in names]
    columns = [
        grid.Column("arguments", arguments, right=False, style="dim", wrap=True),
        grid.Column("what it is", list(map(zoo.about, names)), right=False, wrap=True),
    ]
    table, _ = grid.table("model", list(map(Text, names)), columns, console.width(), least=20)
    return table
