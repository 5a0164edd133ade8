"""``costmodel models``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Json

if TYPE_CHECKING:
    from rich.table import Table


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


def _names_table() -> Table:
    from rich.table import Table
    from rich.text import Text

    from costmodel import models as zoo

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("model", "arguments", "what it is"):
        table.add_column(title, no_wrap=title == "model")
    for names in zoo.FAMILIES.values():
        for name in names:
            factory = getattr(zoo, name)
            arguments = ", ".join(
                f"{p.name}={p.default!r}" for p in inspect.signature(factory).parameters.values()
            )  # fmt: skip
            about = (inspect.getdoc(factory) or "").split("\n")[0]
            table.add_row(Text(name), Text(arguments, style="dim"), Text(about))
    return table
