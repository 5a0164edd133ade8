"""Bounds as people write them: ``<= 320M``, ``>= 64``, ``== 25.6M ± 1%``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from costmodel.arguments import short
from costmodel.budgets.quantities import Quantity, quantity
from costmodel.budgets.subject import OF_A_STEP, Settings
from costmodel.errors import InputError
from costmodel.measures import Number
from costmodel.views import parsing

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_BOUND = re.compile(r"(?P<operator><=|>=|==|<|>|≤|≥)\s*(?P<limit>[^±]*?)\s*(?:(?:±|\+/?-)\s*(?P<tolerance>\S+\s*%))?")


@dataclass(frozen=True)
class Bound:
    """One bound on a quantity."""

    quantity: Quantity
    operator: str
    limit: Fraction
    tolerance: Fraction = Fraction(0)
    """Of ``==``: the share of the limit by which a figure may differ from it."""

    def holds(self, value: Number, *, exact: bool = True) -> bool:
        """Whether a figure keeps it. One that is too small may exceed an upper bound, and keeps lower ones alone."""
        if not exact and self.operator not in (("<=", "<") if self.quantity.falls else (">=", ">")):
            return False
        if self.operator == "==":
            return abs(Fraction(value) - self.limit) <= self.tolerance * self.limit
        return _OPERATORS[self.operator](value, self.limit)


def parse(of: Quantity, text: str) -> Bound:
    """The bound that a person writes.

    >>> bound = parse(quantity("peak_memory"), "<= 20MB")
    >>> bound.operator, bound.limit, bound.holds(20_000_000), bound.holds(20_000_001)
    ('<=', Fraction(20000000, 1), True, False)
    """
    example = "<= 5ms" if of.symbol == "s" else "<= 20MB" if of.symbol == "B" else ">= 64" if of.falls else "<= 320M"
    match = _BOUND.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        alone = re.fullmatch(r"\s*=?\s*(\d[\w.]*)\s*", str(text))
        example = f"{'>=' if of.falls else '<='} {alone[1]}" if alone else example
        raise InputError(f"{short(text)} is no bound on {of.name}; write it as {example!r}, with <=, >=, ==, < or >")
    sign = {"≤": "<=", "≥": ">="}.get(match["operator"], match["operator"])
    if match["tolerance"] and sign != "==":
        raise InputError(f"{text!r}: a tolerance is one of ==, as in '== 25.6M ± 1%'")
    # A unit that is a word, as in "4M params", takes no prefix of its own.
    written = match["limit"].removesuffix(of.unit) if not of.symbol else match["limit"]
    try:
        limit = parsing.parse_exactly(written, of.symbol, small=not of.is_count)
        tolerance = parsing.parse_share(match["tolerance"]) if match["tolerance"] else Fraction(0)
    except InputError as error:
        raise InputError(f"{of.name}: {error}") from error
    return Bound(of, sign, limit, tolerance)


def bounds_of(given: Mapping[str, Any], settings: Settings, besides: tuple[str, ...] = ()) -> tuple[Bound, ...]:
    """The bounds by the name of their quantity, each a text, or a list of several.

    Raises ``InputError`` for one that cannot be read or lacks a setting, and for a setting that no bound needs.
    """
    found = []
    for name, texts in given.items():
        of = quantity(name, besides)
        if of.needs and all(getattr(settings, needed) is None for needed in of.needs):
            needed = " or ".join(_NEEDED[setting] for setting in of.needs)
            raise InputError(f"a bound on {name} needs {needed}")
        found += [parse(of, text) for text in (texts if isinstance(texts, list | tuple) and texts else [texts])]
    on_time = any(bound.quantity.needs == ("device",) for bound in found)
    on_memory = any("memory" in bound.quantity.needs for bound in found)
    reads_device = on_time or (on_memory and settings.memory is None)
    for names, are_used, remedy in (
        (OF_A_STEP, any(bound.quantity.of_step for bound in found), "training_peak"),
        (("device",), reads_device, "time" if on_memory else "time or largest_batch"),
        (("memory",), on_memory, "largest_batch"),
        (("math",), on_time, "time"),
    ):
        if not are_used and (unused := settings.changed(*names)):
            raise InputError(f"no bound needs {' or '.join(unused)}: leave that out, or bound {remedy}")
    return tuple(found)


_NEEDED = {"device": "a device, such as h100", "memory": "a memory, such as 24GB,"}
