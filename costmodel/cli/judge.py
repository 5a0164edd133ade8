"""The command that says yes or no: ``check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Inputs, Json, Model, Train, is_saved, profiled, read_inputs
from costmodel.errors import InputError

if TYPE_CHECKING:
    from costmodel.crosscheck import CrossCheck
    from costmodel.models.closed import ClosedFormCheck
    from costmodel.profile import Profile

_BUDGETS = ("macs", "params", "flops", "memory_access", "activations")


def check(
    model: Model,
    inputs: Inputs = None,
    train: Train = False,
    max_macs: Annotated[str | None, typer.Option(metavar="COUNT", help="At most so many MACs, as in 320M.")] = None,
    max_params: Annotated[str | None, typer.Option(metavar="COUNT", help="At most so many parameters.")] = None,
    max_flops: Annotated[str | None, typer.Option(metavar="COUNT", help="At most so many FLOPs.")] = None,
    max_memory_access: Annotated[
        str | None, typer.Option(metavar="COUNT", help="At most so many elements read and written.")
    ] = None,
    max_activations: Annotated[
        str | None, typer.Option(metavar="COUNT", help="At most so many output elements of products.")
    ] = None,
    against: Annotated[str, typer.Option(help="A third opinion: fvcore.")] = "",
    json: Json = False,
) -> None:
    """Does the cross-check hold, has every operation a rule, is the model within budget? Exit status 1 if not.

    A network of the library's own is held against its closed form as a whole too.
    """
    from costmodel.views import units

    limits = zip(_BUDGETS, (max_macs, max_params, max_flops, max_memory_access, max_activations), strict=True)
    budgets = {name: units.parse(limit) for name, limit in limits if limit is not None}
    if against and is_saved(model):
        raise InputError(f"{model} is a saved profile, and {against} needs the model itself: name it instead")
    p = profiled(model, inputs, train=train)
    found = p.crosscheck()
    if against:
        from costmodel.crosscheck import crosscheck

        found = crosscheck(model, read_inputs(inputs), mode="train" if train else "eval", against=against)
    whole = _whole(model, p)
    kept = {name: _within(p, name, limit) for name, limit in budgets.items()}
    ok = found.ok and (whole is None or whole.ok) and p.is_exact and all(kept.values())
    if json:
        import json as writer

        console.write(writer.dumps({
            "ok": ok, "crosscheck": found.ok, "is_exact": p.is_exact,
            "budgets": {n: {"limit": limit, "value": getattr(p, n), "ok": kept[n]} for n, limit in budgets.items()},
            "mismatches": [[c.name, c.quantity] for c in found.mismatches],
            "closed_form": None if whole is None else whole.ok,
            "differences": [] if whole is None else [[d.layer, d.quantity] for d in whole.differences],
        }, indent=1))  # fmt: skip
    else:
        _tell(p, found, whole, budgets, kept)
    raise typer.Exit(0 if ok else 1)


def _whole(model: str, p: Profile) -> ClosedFormCheck | None:
    """The whole network in closed form against its trace, where it is one of the library's own."""
    from costmodel.load import parse

    if is_saved(model):
        return None
    spec = parse(model)
    if spec.scheme:
        return None
    from costmodel.models import check_closed_form

    return check_closed_form(p, spec.name, **(spec.kwargs or {}))


def _within(p: Profile, name: str, limit: int) -> bool:
    # A lower bound that is within budget shows nothing.
    return getattr(p, name) <= limit and (p.is_exact or name == "params")


def _tell(
    p: Profile,
    found: CrossCheck,
    whole: ClosedFormCheck | None,
    budgets: dict[str, int],
    kept: dict[str, bool],
) -> None:
    from rich.text import Text

    from costmodel.views import text, units

    parts = [*text.verdict_parts(p, found), *text.closed_form_parts(whole)]
    for name, limit in budgets.items():
        exact = p.is_exact or name == "params"
        value = getattr(p, name)
        said = f"{units.figure(name, value, exact=exact)} of at most {units.figure(name, limit)}"
        mark = ("✓ ", "green") if kept[name] else ("✗ ", "red")
        why = f", {units.share(value - limit, limit)} over" if value > limit else ""
        parts.append(Text.assemble(mark, f"{units.name(name)}: {said}{why}"))
    console.show(parts)


COMMANDS = (check,)
