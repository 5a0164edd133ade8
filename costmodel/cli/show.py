"""Commands that show what models cost: ``profile``, ``compare``, ``diff``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import (
    Csv,
    Inputs,
    Json,
    Markdown,
    Model,
    Models,
    Save,
    Strict,
    Train,
    is_saved,
    profiled,
    read_inputs,
)
from costmodel.errors import InputError

if TYPE_CHECKING:
    from costmodel.compare import Comparison
    from costmodel.profile import Profile


def profile(
    model: Model,
    inputs: Inputs = None,
    train: Train = False,
    depth: Annotated[int | None, typer.Option(help="Levels of the tree; fits 60 rows by itself.", min=1)] = None,
    sort: Annotated[str | None, typer.Option(help="List layers by a quantity: macs, params, memory_access ...")] = None,
    top: Annotated[int | None, typer.Option(help="List only so many layers, the most expensive first.", min=1)] = None,
    columns: Annotated[str | None, typer.Option(help="Columns of the table, as in kind,params,macs,share.")] = None,
    full_names: Annotated[bool, typer.Option("--full-names", help="Qualified names, never cut.")] = False,
    strict: Strict = False,
    save: Save = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """What a model costs, layer by layer."""
    from costmodel.views import text

    p = profiled(model, inputs, train=train, strict=strict)
    if not written(p, json=json, csv=csv, markdown=markdown):
        chosen = None if columns is None else [name.strip() for name in columns.split(",") if name.strip()]
        console.show(
            text.profile_parts(
                p, depth=depth, sort=sort, top=top, columns=chosen, full_names=full_names, width=console.width()
            )
        )
    saved(p, save)


def compare(
    models: Models,
    inputs: Inputs = None,
    baseline: Annotated[str | None, typer.Option(help="The model to which ratios are taken.")] = None,
    train: Train = False,
    strict: Strict = False,
    save: Save = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Several models side by side."""
    from costmodel.compare import compare as compared
    from costmodel.views import text

    sides = {model: profiled(model, None, strict=strict) if is_saved(model) else model for model in models}
    c = compared(
        sides, read_inputs(inputs), baseline, progress=console.progress,
        mode="train" if train else "eval", strict=strict,
    )  # fmt: skip
    if not written(c, json=json, csv=csv, markdown=markdown):
        console.show(text.comparison_parts(c, console.width()))
    saved(c, save)


def diff(
    old: Annotated[str, typer.Argument(help="Before: a profile saved as .json, or a model.", show_default=False)],
    new: Annotated[str, typer.Argument(help="After, likewise.", show_default=False)],
    inputs: Inputs = None,
    fail_over: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Exit with 1 where a total grew by more, as in 1%.")
    ] = None,
    top: Annotated[int, typer.Option(help="Layers to list.", min=1)] = 20,
    save: Annotated[Path | None, typer.Option("--save", "-o", metavar="FILE.md", help="Write it there too.")] = None,
) -> None:
    """What changed between two profiles, in Markdown for a pull request."""
    from costmodel.difference import Difference
    from costmodel.views import markdown, units

    limit = None if fail_over is None else units.parse_share(fail_over)
    if save is not None and save.suffix != ".md":
        raise InputError(f"--save {save}: a difference is written as Markdown, to a file named .md")
    found = Difference(_side(old, inputs), _side(new, inputs))
    report = markdown.difference(found, top=top, limit=limit)
    console.write(report)
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        save.write_text(report, encoding="utf-8")
    if limit is not None and (grown := found.grown(limit)):
        console.told(f"grew by more than {fail_over}: {', '.join(units.name(total) for total in grown)}")
        raise typer.Exit(1)


def _side(name: str, inputs: list[str] | None) -> Profile:
    return profiled(name, None if is_saved(name) else inputs)


def written(result: Profile | Comparison, *, json: bool, csv: bool, markdown: bool) -> bool:
    """Writes what scripts ask for on standard output; whether anything was asked."""
    asked = [
        method
        for wanted, method in ((json, result.to_json), (csv, result.to_csv), (markdown, result.to_markdown))
        if wanted
    ]
    if len(asked) > 1:
        raise InputError(
            "of --json, --csv and --markdown one goes to standard output; --save takes any number of files"
        )
    for method in asked:
        console.write(method())
    return bool(asked)


def saved(result: Profile | Comparison, paths: Iterable[Path] | None) -> None:
    """Writes the files that were asked for, and says so."""
    for path in paths or ():
        console.told(f"wrote {result.save(path)}")


COMMANDS = (profile, compare, diff)
