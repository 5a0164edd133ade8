"""``costmodel explain``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from costmodel.cli import console
from costmodel.cli.options import Csv, Json, Markdown, SaveFigure
from costmodel.cli.output import save_all, wrote_format
from costmodel.errors import InputError

if TYPE_CHECKING:
    from costmodel.side_by_side import FormulaComparison
    from costmodel.views.styled import Part


def _names(incomplete: str) -> list[str]:
    """Shell completion of a formula's name."""
    from costmodel.formulas import CATALOG

    return [name for name in CATALOG if name.startswith(incomplete)]


def explain(
    formulas: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FORMULA", autocompletion=_names, show_default=False,
            help="A layer or block, such as conv, or with numbers 'conv(c_in=64, c_out=128, kernel=3, size=56)'; a "
            "group, such as pooling. Several formulas are compared. Default: list all.",
        ),
    ] = None,
    numbers: Annotated[
        list[str] | None,
        typer.Option(
            "--with", "-w", metavar="ARGUMENTS",
            help="Numbers for every formula that takes them: c_in=64,c_out=128,kernel=3,size=56x56. What a formula "
            "needs and is not given stays a symbol.",
        ),
    ] = None,
    save: SaveFigure = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:  # fmt: skip
    """Explain closed forms: formula, symbols, source and numbers of one, or several side by side."""
    from costmodel.formulas import CATALOG, GROUPS

    asked = formulas or []
    to_file = bool(save) or json or csv or markdown
    if not asked or (len(asked) == 1 and asked[0] in GROUPS):
        if to_file or numbers:
            raise InputError("name the formulas, such as conv depthwise_separable grouped_conv")
        console.show([_list({name: GROUPS[name] for name in asked or GROUPS})])
        return
    if len(asked) == 1 and asked[0] in CATALOG and not numbers and not to_file:
        console.show(_parts(asked[0], None))
        return
    result = _compared(asked, numbers or [])
    if not wrote_format(result, json=json, csv=csv, markdown=markdown):
        from costmodel.views import formulas as view

        (side, *others) = result.sides
        console.show(view.parts(result, console.width()) if others else _parts(side.formula, side.arguments))
    save_all(result, save)


def _compared(asked: list[str], numbers: list[str]) -> FormulaComparison:
    """The formulas with the numbers given; one that has none has those of its docstring's example."""
    from costmodel.models import list_models
    from costmodel.side_by_side import compare, named, parse, parse_arguments
    from costmodel.views.worked import example

    shared = parse_arguments(",".join(numbers))
    called = {text: parse(text) for text in asked}
    if len(called) < len(asked):
        raise InputError(f"{next(text for text in asked if asked.count(text) > 1)} is given twice")
    for name, _ in called.values():
        if name in list_models():
            raise InputError(f"{name} is a network: `costmodel profile {name}` has its layers, and this their formulas")
        named(name)
    names = [name for name, _ in called.values()]
    called = {name if names.count(name) == 1 else text: (name, own) for text, (name, own) in called.items()}
    if len(asked) == 1 and not shared:
        called = {label: (name, own or example(name) or {}) for label, (name, own) in called.items()}
    return compare(called, **shared)


def _list(groups: Mapping[str, Any]) -> Part | str:
    from costmodel.views import grid
    from costmodel.views.styled import Text

    labels, about = [], []
    for group, members in groups.items():
        labels.append(Text(group, style="bold"))
        about.append("")
        for function in members:
            labels.append(Text(f"  {function.__name__}"))
            about.append((function.__doc__ or "").split("\n")[0].replace("``", ""))
    column = grid.Column("what it counts", about, right=False, wrap=True)
    table, _ = grid.table("formula", labels, [column], console.width(), least=30)
    return table


def _parts(name: str, arguments: Mapping[str, Any] | None) -> list[Part | str]:
    from costmodel.views.styled import Text
    from costmodel.views.worked import explained

    found = explained(name, arguments)
    parts: list[Part | str] = [Text.assemble((name, "bold"), f"  {found.summary}"), "", *found.text, ""]
    assumed = f", with {found.assumed}" if found.assumed else ""
    where = f"{assumed}, where {found.where.replace(', ', ' and ')}"
    for condition, quantities in ((assumed, found.symbols), (where, found.narrowed)):
        if quantities:
            parts.append(Text(f"In symbols{condition}:", style="bold"))
            parts += [Text.assemble((f"  {quantity} = ", "dim"), expression) for quantity, expression in quantities]
            parts.append("")
    if found.worked:
        parts.append(Text("One worked number:" if arguments is None else "With these numbers:", style="bold"))
        parts += [f"  {line}" for line in found.worked]
        parts.append("")
    parts.append(Text.assemble(("Source: ", "dim"), found.source))
    return parts
