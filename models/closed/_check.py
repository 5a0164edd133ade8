"""Compares a network's closed form with the profile of the built network; all integers must agree exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from ._result import COLUMNS, TOTALS, ClosedForm

if TYPE_CHECKING:
    from costmodel.profiling import Profile


@dataclass(frozen=True, slots=True)
class Difference:
    """One quantity that the two derivations do not agree in."""

    layer: str
    """The layer's name; empty for a total."""
    quantity: str
    closed_form: Any
    traced: Any


@dataclass(frozen=True, slots=True)
class ClosedFormCheck:
    """The verdict over a whole network: every layer, every operation between layers, and the totals."""

    form: ClosedForm
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """Whether every quantity of every layer, and every total, agrees."""
        return not self.differences


def check(form: ClosedForm, profile: Profile) -> ClosedFormCheck:
    """Compares the rows one by one, in order, and the totals; a row too many on one side is a difference too."""
    return ClosedFormCheck(form, (*_rows(form, profile), *_totals(form, profile), *_whole_field(form, profile)))


def _rows(form: ClosedForm, profile: Profile) -> Iterator[Difference]:
    # Lists, for pandas would make floats of columns in which a value is missing.
    traced = profile.layers[list(COLUMNS)].astype(object).to_numpy().tolist()
    derived = [[getattr(row, column) for column in COLUMNS] for row in form.rows]
    nothing = [None] * len(COLUMNS)
    for ours, theirs in zip_longest(derived, traced, fillvalue=nothing):
        for quantity, closed_form, traced_value in zip(COLUMNS, ours, theirs, strict=True):
            if closed_form != traced_value:
                yield Difference(str(theirs[0] or ours[0]), quantity, closed_form, traced_value)


def _whole_field(form: ClosedForm, profile: Profile) -> Iterator[Difference]:
    traced = profile.receptive_field()
    for quantity in ("size", "stride", "start"):
        closed_form = tuple(getattr(field, quantity) for field in form.receptive_field())
        if closed_form != getattr(traced, quantity):
            yield Difference("", f"receptive field, {quantity}", closed_form, getattr(traced, quantity))


def _totals(form: ClosedForm, profile: Profile) -> Iterator[Difference]:
    for quantity in TOTALS:
        closed_form, traced = getattr(form, quantity), getattr(profile, quantity)
        if closed_form != traced:
            yield Difference("", quantity, closed_form, traced)
