"""``costmodel check``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Dtype, Inputs, Json, Model, Train, is_saved, profiled, read_inputs
from costmodel.errors import InputError
from costmodel.measures import MEASURES, Number

if TYPE_CHECKING:
    from costmodel.crosscheck import CrossCheck
    from costmodel.models.closed import ClosedFormCheck
    from costmodel.profile import Profile


def _with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with an option ``--max-NAME`` for each measure in the place of its ``**limits``."""
    *parameters, _ = inspect.signature(command, eval_str=True).parameters.values()
    for name, measure in MEASURES.items():
        unit = "" if measure.unit in measure.title.split() else f" ({measure.unit})"
        option = typer.Option(metavar="COUNT", help=f"Upper bound on {measure.title}{unit}.")
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
    model: Model,
    inputs: Inputs = None,
    dtype: Dtype = None,
    train: Train = False,
    against: Annotated[str, typer.Option(help="A third opinion: fvcore.")] = "",
    json: Json = False,
    **limits: str | None,
) -> None:
    """Exit with status 1 if the cross-check disagrees, an operation has no rule, or the model exceeds a budget.

    A network of the library's own is also compared with its closed form as a whole. A COUNT is written as 320M, 1.5k or
    25557032, for bytes also as 20MB.
    """
    from costmodel.views import units

    given = {option.removeprefix("max_"): limit for option, limit in limits.items() if limit is not None}
    budgets = {name: units.parse(limit, MEASURES[name].symbol) for name, limit in given.items()}
    if against and is_saved(model):
        raise InputError(f"{model} is a saved profile, and {against} needs the model itself: name it instead")
    p = profiled(model, inputs, train=train, dtype=dtype)
    found = p.crosscheck()
    if against:
        from costmodel.crosscheck import crosscheck

        found = crosscheck(model, read_inputs(inputs), mode="train" if train else "eval", against=against)
    whole = _whole(model, p)
    totals = {name: p.total(name) or 0 for name in budgets}
    kept = {name: _is_exact(p, name) and totals[name] <= limit for name, limit in budgets.items()}
    ok = found.ok and (whole is None or whole.ok) and p.is_exact and all(kept.values())
    if json:
        import json as writer

        console.write(writer.dumps({
            "ok": ok, "crosscheck": found.ok, "checked": found.checked, "is_exact": p.is_exact,
            "budgets": {n: {"limit": limit, "value": totals[n], "ok": kept[n]} for n, limit in budgets.items()},
            "mismatches": [[c.name, c.quantity] for c in found.mismatches],
            "closed_form": None if whole is None else whole.ok,
            "differences": [] if whole is None else [[d.layer, d.quantity] for d in whole.differences],
        }, indent=1))  # fmt: skip
    else:
        _show(p, found, whole, budgets, totals, kept)
    raise typer.Exit(0 if ok else 1)


def _whole(model: str, p: Profile) -> ClosedFormCheck | None:
    """The trace compared with the closed form of the whole network, if it is one of the library's own."""
    from costmodel.load import parse

    if is_saved(model):
        return None
    spec = parse(model)
    if spec.scheme:
        return None
    from costmodel.models import check_closed_form

    return check_closed_form(p, spec.name, **(spec.kwargs or {}))


def _is_exact(p: Profile, name: str) -> bool:
    """Whether a total is more than a lower bound, which could not show that a budget is kept."""
    return p.is_exact or not MEASURES[name].needs_rules


def _show(
    p: Profile,
    found: CrossCheck,
    whole: ClosedFormCheck | None,
    budgets: dict[str, int],
    totals: dict[str, Number],
    kept: dict[str, bool],
) -> None:
    from rich.text import Text

    from costmodel.views import text, units

    parts = [*text.verdict_parts(p, found), *text.closed_form_parts(whole)]
    for name, limit in budgets.items():
        value = totals[name]
        said = f"{units.figure(name, value, exact=_is_exact(p, name))} of at most {units.figure(name, limit)}"
        mark = ("✓ ", "green") if kept[name] else ("✗ ", "red")
        why = f", {units.share(value - limit, limit)} over" if value > limit else ""
        parts.append(Text.assemble(mark, f"{units.name(name)}: {said}{why}"))
    console.show(parts)
