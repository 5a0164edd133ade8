"""``costmodel check``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from costmodel.budgets.quantities import quantities
from costmodel.cli import console
from costmodel.cli.folders import save_costs
from costmodel.cli.options import (
    Autocast,
    Batch,
    Dtype,
    Inputs,
    Json,
    Loss,
    Math,
    ModelOrNone,
    Optimizer,
    Train,
    is_saved,
    read_inputs,
)
from costmodel.errors import InputError
from costmodel.files import require_place

if TYPE_CHECKING:
    from costmodel.budgets.verdict import Verdict

_PANEL = "Upper bounds, each with a COUNT, or for a least time with a TIME"


def _with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with an option ``--max-NAME`` for each quantity in the place of its ``**limits``."""
    *parameters, _ = inspect.signature(command, eval_str=True).parameters.values()
    for name, of in quantities().items():
        # In a panel of their own, whose heading says of all what is given: at 80 columns the longest name just fits.
        option = typer.Option(metavar="", help=of.title, rich_help_panel=_PANEL)
        parameters.append(
            inspect.Parameter(
                f"max_{name}", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
            )
        )
    # What typer reads options from.
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # not in typeshed
    return command


@_with_limits
def check(
    model: ModelOrNone = None,
    inputs: Inputs = None,
    dtype: Dtype = None,
    train: Train = False,
    batch: Batch = None,
    optimizer: Optimizer = "adamw",
    loss: Loss = None,
    autocast: Autocast = None,
    device: Annotated[
        str | None, typer.Option(help="The device of a bound on time, whose memory the largest batch has to fit into.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="BYTES", help="The memory of a bound on the largest batch: 24GB, or a device.")
    ] = None,
    math: Math = "float32",
    bound: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BOUND",
            help="A bound with <=, >=, ==, < or >: 'largest_batch >= 64', 'params == 25.6M ± 1%'. Can be repeated.",
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The budget file, where no model is named.", show_default=False)
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A budget of the file, instead of all. Can be repeated.")
    ] = None,
    against: Annotated[
        str, typer.Option(help="Another counter beside the cross-check: fvcore, thop, any that reconcile has.")
    ] = "",
    json: Json = False,
    save: Annotated[
        list[Path] | None,
        typer.Option(
            "--save",
            "-o",
            metavar="FILE.md|FOLDER",
            help="FILE.md: what is printed, as Markdown. FOLDER: the costs of each model as .json, for `costmodel "
            "diff`; those of budgets that the file no longer has are removed. Can be repeated.",
        ),
    ] = None,
    **limits: str | None,
) -> None:
    """Exit with status 1 if the cross-check disagrees, an operation has no rule, or the model exceeds a budget.

    Without a model, every budget of the file costmodel.toml is checked: a table budget.NAME each, with model =
    "resnet18", input = [1, 3, 224, 224], and bounds such as macs = "<= 2G".

    A network of the library's own is also compared with its closed form as a whole. A COUNT is written as 320M, 1.5k or
    25557032, for bytes also as 20MB; a TIME as 5ms. A bound on a figure of training (as --max-training-peak) looks at a
    training step, made as `costmodel train` makes it; its cross-check and coverage count, too. Times are the least that
    the device needs, as `costmodel roofline` has them.
    """
    from costmodel.budgets.subject import Settings, examine
    from costmodel.budgets.verdict import verdict
    from costmodel.views import budgets as views

    settings = Settings(
        mode="train" if train else "eval", dtype=dtype, batch=batch, optimizer=optimizer, loss=loss, autocast=autocast,
        device=device, memory=memory, math=math,
    )  # fmt: skip
    bounds = _bounds(limits, bound or [])
    if unknown := [path for path in save or () if path.suffix not in ("", ".md")]:
        raise InputError(f"--save {unknown[0]}: name a file .md for what is printed, or a folder for the costs")
    for path in save or ():
        require_place(path if path.suffix else path / "costs.json")
    if model is None:
        if inputs or bounds or against or settings != Settings():
            raise InputError("name a model; without one, the budget file alone says what is checked, and how")
        raise typer.Exit(_check_file(file, budget or [], save or [], json=json))
    if file is not None or budget:
        raise InputError("give a model, or --file and --budget: a file says itself which models it is about")
    if model.endswith(".toml"):
        raise InputError(f"{model} is no model: for a budget file write --file {model}")
    if against and is_saved(model):
        raise InputError(f"{model} is a saved profile, and {against} needs the model itself: name it instead")
    from costmodel.budgets.bounds import bounds_of
    from costmodel.conventions import tool_named

    if against:
        tool_named(against)
    read = bounds_of(bounds, settings)
    with console.doing(f"checking {model}"):
        found = examine(model, read_inputs(inputs), settings, partial(verdict, bounds=read))
    if against:
        from costmodel.cross_check import crosscheck

        with console.doing(f"counting {model} by {against}"):
            third = crosscheck(model, read_inputs(inputs), mode="train" if train else "eval", against=against)
        found = replace(found, crosscheck=third)
    if json:
        _write(views.as_json(found))
    else:
        console.show(views.parts(found))
    _save({model: found}, save or [])
    raise typer.Exit(0 if found.ok else 1)


def _bounds(limits: Mapping[str, str | None], bounds: list[str]) -> dict[str, list[str]]:
    """All bounds as texts, by the name of their quantity."""
    found: dict[str, list[str]] = {}
    for option, limit in limits.items():
        if limit is not None:
            found[option.removeprefix("max_")] = [f"<= {limit}"]
    for text in bounds:
        name = re.match(r"\s*(\w*)", text)[1]  # type: ignore[index]  # it matches any text
        found.setdefault(name, []).append(text.strip().removeprefix(name))
    return found


def _check_file(file: Path | None, names: list[str], save: list[Path], *, json: bool) -> int:
    """Checks the budgets of a file; returns the exit status."""
    from costmodel.budgets.file import DEFAULT, named, read_budgets
    from costmodel.budgets.verdict import verdict
    from costmodel.views import budgets as views

    budgets = read_budgets(file or DEFAULT)
    chosen = {name: named(budgets, name) for name in names or budgets}
    found = {}
    for name in console.progress([*chosen], "checking"):
        found[name] = chosen[name].examine(partial(verdict, bounds=chosen[name].bounds))
    ok = all(checked.ok for checked in found.values())
    if json:
        models = {name: {"model": checked.name, **views.as_json(checked)} for name, checked in found.items()}
        _write({"ok": ok, "models": models})
    else:
        console.show(views.parts_of_file(found))
    _save(found, save, budgets)
    return 0 if ok else 1


def _save(found: Mapping[str, Verdict], paths: list[Path], budgets: Collection[str] | None = None) -> None:
    """Writes the verdicts as Markdown, and what was looked at into folders; ``budgets`` are all of a file."""
    for path in paths:
        if path.suffix == ".md":
            from costmodel.files import write_text
            from costmodel.views import budgets as views

            write_text(path, views.as_markdown(found))
        else:
            save_costs(path, found, budgets)
        console.print_status(f"wrote {path}")


def _write(told: Any) -> None:
    from json import dumps

    console.write(dumps(told, indent=1, ensure_ascii=False))
