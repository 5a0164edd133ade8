"""What can be bounded: every measure of a forward and of a training step, times on a device, and the largest batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from costmodel.errors import InputError
from costmodel.measures import MEASURES, STEP_MEASURES, Measure, Number, is_built_in, step_total

if TYPE_CHECKING:
    from costmodel.budgets.subject import Subject


@dataclass(frozen=True)
class Quantity:
    """One quantity, and how it is read off a model."""

    name: str
    title: str
    unit: str
    symbol: str
    """The unit's symbol, if it takes an SI prefix."""
    value: Callable[[Subject], Number] = field(compare=False)
    is_exact: Callable[[Subject], bool] = field(compare=False)
    of_step: bool = False
    """Whether it is one of a training step."""
    needs: tuple[str, ...] = ()
    """Settings of which one at least must be given."""
    is_count: bool = True
    """Whether it is a whole number."""
    falls: bool = False
    """Whether it is too great where it is not exact; all others are then too small."""


def quantities() -> Mapping[str, Quantity]:
    """All of them by name; those of the measures that are registered by now."""
    return (
        {name: _of_forward(measure) for name, measure in MEASURES.items()}
        | {name: _of_step(measure) for name, measure in STEP_MEASURES.items()}
        | {of_device.name: of_device for of_device in _OF_DEVICES}
    )


def quantity(name: str, besides: tuple[str, ...] = ()) -> Quantity:
    """The quantity of that name; raises ``InputError`` for a name that is none, nor one of those besides."""
    known = quantities()
    if name not in known:
        from costmodel.loading.spec import hint

        close = hint(name, [*known, *besides])
        others = f" Settings are {', '.join(besides)}." if besides else ""
        raise InputError(
            f"no quantity is called {name!r}{close or '.'}{others} There are {', '.join(known)}, and what "
            f"costmodel.register_measure adds"
        )
    return known[name]


def _of_forward(measure: Measure) -> Quantity:
    return Quantity(
        measure.name, measure.title, measure.unit, measure.symbol,
        value=lambda subject: _total(subject, measure),
        is_exact=lambda subject: subject.profile.is_exact or not measure.needs_rules,
        is_count=is_built_in(measure.name),
    )  # fmt: skip


def _total(subject: Subject, measure: Measure) -> Number:
    total = subject.profile.total(measure.name)
    if total is None:
        raise InputError(
            f"{measure.name} has no total to hold to a bound: it does not add up over layers, and has no of_model"
        )
    return total


def _of_step(measure: Measure) -> Quantity:
    return Quantity(
        measure.name, measure.title, measure.unit, measure.symbol,
        value=lambda subject: step_total(subject.step, measure.name),
        is_exact=lambda subject: subject.step.is_exact,
        of_step=True,
    )  # fmt: skip


def _time(name: str, title: str, value: Callable[[Subject], float], *, of_step: bool = False) -> Quantity:
    return Quantity(
        name, title, "s", "s", value=value,
        is_exact=lambda subject: subject.step.is_exact if of_step else subject.profile.is_exact,
        of_step=of_step, needs=("device",), is_count=False,
    )  # fmt: skip


_OF_DEVICES = (
    _time("time", "least time", lambda s: s.roofline.time),
    _time("fused_time", "least fused time", lambda s: s.roofline.fused_time),
    _time("training_time", "least training time", lambda s: s.training_roofline.time, of_step=True),
    _time(
        "fused_training_time", "least fused training time", lambda s: s.training_roofline.fused_time,
        of_step=True,
    ),
    Quantity(
        "largest_batch", "largest training batch", "samples", "",
        value=lambda subject: subject.step.largest_batch(subject.memory),
        is_exact=lambda subject: subject.step.is_exact,
        of_step=True, needs=("memory", "device"), falls=True,
    ),
)  # fmt: skip
