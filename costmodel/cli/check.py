"""``costmodel check``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from costmodel.cli import console
from costmodel.cli.options import (
    Autocast,
    Batch,
    Dtype,
    Inputs,
    Json,
    Model,
    Optimizer,
    Train,
    is_saved,
    is_saved_step,
    profiled,
    read_inputs,
    require_step,
    stepped,
)
from costmodel.errors import InputError
from costmodel.measures import MEASURES, STEP_MEASURES, Measure, Number, find, step_total

if TYPE_CHECKING:
    from costmodel.cross_check import CrossCheck
    from costmodel.models.closed import ClosedFormCheck
    from costmodel.profiling import Profile
    from costmodel.training import TrainingStep


def _with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with an option ``--max-NAME`` for each measure in the place of its ``**limits``."""
    *parameters, _ = inspect.signature(command, eval_str=True).parameters.values()
    for name, measure in (MEASURES | STEP_MEASURES).items():
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
    batch: Batch = None,
    optimizer: Optimizer = "adamw",
    autocast: Autocast = None,
    against: Annotated[str, typer.Option(help="A third opinion: fvcore.")] = "",
    json: Json = False,
    **limits: str | None,
) -> None:
    """Exit with status 1 if the cross-check disagrees, an operation has no rule, or the model exceeds a budget.

    A network of the library's own is also compared with its closed form as a whole. A COUNT is written as 320M, 1.5k or
    25557032, for bytes also as 20MB. A bound on a figure of training (as --max-training-peak) looks at a training step,
    made as `costmodel train` makes it; its cross-check and coverage count, too.
    """
    from costmodel.views import units

    given = {option.removeprefix("max_"): limit for option, limit in limits.items() if limit is not None}
    budgets = {name: units.parse(limit, _measure(name).symbol) for name, limit in given.items()}
    if against and is_saved(model):
        raise InputError(f"{model} is a saved profile, and {against} needs the model itself: name it instead")
    step = _step(model, inputs, budgets, batch=batch, optimizer=optimizer, autocast=autocast, dtype=dtype)
    p = step.forward if step is not None and is_saved(model) else profiled(model, inputs, train=train, dtype=dtype)
    # The forward of a step runs under autograd, where some layers do more: the step's own cross-check knows.
    found = step.crosscheck() if step is not None and is_saved(model) else p.crosscheck()
    if against:
        from costmodel.cross_check import crosscheck

        with console.doing(f"counting {model} by {against}"):
            found = crosscheck(model, read_inputs(inputs), mode="train" if train else "eval", against=against)
    whole = _whole(model, p)
    budget = [
        Bound(name, limit, p.total(name) or 0, _is_exact(p, name))
        if name in MEASURES or step is None
        else Bound(name, limit, step_total(step, name), step.is_exact)
        for name, limit in budgets.items()
    ]
    ok = found.ok and (whole is None or whole.ok) and p.is_exact and all(bound.is_kept for bound in budget)
    ok = ok and (step is None or (step.crosscheck().ok and step.is_exact))
    if json:
        import json as writer

        training = {} if step is None else {"training_step": {"ok": step.crosscheck().ok, "is_exact": step.is_exact}}
        console.write(writer.dumps({
            "ok": ok, "crosscheck": found.ok, "checked": found.checked, "is_exact": p.is_exact,
            "budgets": {b.name: {"limit": b.limit, "value": b.value, "ok": b.is_kept} for b in budget},
            "mismatches": [[c.name, c.quantity] for c in found.mismatches],
            "closed_form": None if whole is None else whole.ok,
            "differences": [] if whole is None else [[d.layer, d.quantity] for d in whole.differences],
            **training,
        }, indent=1))  # fmt: skip
    else:
        _show(p, step, found, whole, budget)
    raise typer.Exit(0 if ok else 1)


@dataclass(frozen=True)
class Bound:
    """The upper bound of a figure, and what the model has."""

    name: str
    limit: int
    value: Number
    is_exact: bool

    @property
    def is_kept(self) -> bool:
        """Whether the figure is within it: a lower bound cannot show that."""
        return self.is_exact and self.value <= self.limit


def _measure(name: str) -> Measure:
    measure = find(name)
    assert measure is not None  # it has an option
    return measure


def _step(model: str, inputs: list[str] | None, budgets: Iterable[str], **options: Any) -> TrainingStep | None:
    """The training step, where a bound is on one of its figures, or the model argument names a saved one."""
    if is_saved_step(model):
        return stepped(model, inputs)
    if any(name in STEP_MEASURES for name in budgets):
        return stepped(model, inputs, **options)
    require_step(False, batch=options["batch"], autocast=options["autocast"])
    return None


def _whole(model: str, p: Profile) -> ClosedFormCheck | None:
    """The trace compared with the closed form of the whole network, if it is one of the library's own."""
    from costmodel.loading import parse

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
    p: Profile, step: TrainingStep | None, found: CrossCheck, whole: ClosedFormCheck | None, budget: list[Bound]
) -> None:
    from costmodel.views import text, units
    from costmodel.views.styled import Text
    from costmodel.views.training import words

    parts = [*text.verdict_parts(p, found), *text.closed_form_parts(whole)]
    if step is not None:
        parts += [Text(f"{words.title(step)}:", style="dim"), *text.verdict_parts(step, step.crosscheck())]
    for bound in budget:
        name, over = bound.name, bound.value - bound.limit
        value, most = units.figure(name, bound.value, exact=bound.is_exact), units.figure(name, bound.limit)
        mark = ("✓ ", "green") if bound.is_kept else ("✗ ", "red")
        why = f", {units.share(over, bound.limit)} over" if over > 0 else ""
        parts.append(Text.assemble(mark, f"{units.name(name)}: {value} of at most {most}{why}"))
    console.show(parts)
