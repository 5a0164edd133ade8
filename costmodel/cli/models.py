"""``costmodel models``."""

from __future__ import annotations

import inspect
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

    factories = {name: getattr(zoo, name) for names in zoo.FAMILIES.values() for name in names}
    arguments = [
        ", ".join(f"{p.name}={p.default!r}" for p in inspect.signature(factory).parameters.values())
        for factory in factories.values()
    ]
    about = [(inspect.getdoc(factory) or "").split("\n")[0] for factory in factories.values()]
    columns = [
        grid.Column("arguments", arguments, right=False, style="dim", wrap=True),
        grid.Column("what it is", about, right=False, wrap=True),
    ]
    table, _ = grid.table("model", list(map(Text, factories)), columns, console.width(), least=20)
    return table
