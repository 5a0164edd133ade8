"""``costmodel explain``."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from costmodel.cli import console
from costmodel.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType


def explain(
    formula: Annotated[str | None, typer.Argument(help="A layer or block, such as conv. Default: list all.")] = None,
) -> None:
    """Explain a closed form: the formula, its symbols and source, and a worked number."""
    from costmodel.formulas import CATALOG

    if formula is None:
        console.show([_list()])
        return
    if formula not in CATALOG:
        close = get_close_matches(formula, CATALOG)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(CATALOG)}"
        raise InputError(f"no formula is called {formula!r}; {hint}")
    console.show(_parts(formula))


def _list() -> RenderableType:
    from rich.text import Text

    from costmodel.formulas import CATALOG
    from costmodel.views import grid

    about = [(function.__doc__ or "").split("\n")[0] for function in CATALOG.values()]
    column = grid.Column("what it counts", about, right=False, wrap=True)
    table, _ = grid.table(
        "formula", [Text(name, style="bold") for name in CATALOG], [column], console.width(), least=30
    )
    return table


def _parts(name: str) -> list[RenderableType]:
    from rich.text import Text

    from costmodel.views.worked import explained

    found = explained(name)
    parts: list[RenderableType] = [Text.assemble((name, "bold"), f"  {found.summary}"), "", *found.text, ""]
    if found.symbols:
        parts.append(Text("In symbols, as the library itself computes them:", style="bold"))
        parts += [Text.assemble((f"  {quantity} = ", "dim"), expression) for quantity, expression in found.symbols]
        parts.append("")
    if found.worked:
        parts.append(Text("One worked number:", style="bold"))
        parts += [f"  {line}" for line in found.worked]
        parts.append("")
    parts.append(Text.assemble(("Source: ", "dim"), found.source))
    return parts
