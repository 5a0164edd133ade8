"""A figure as papers and model cards print it, and which counts print as that figure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

from costmodel.arguments import short
from costmodel.errors import InputError
from costmodel.measures import MEASURES
from costmodel.views import parsing

FAMILIES: Mapping[str, str] = {
    "macs": "operations", "flops": "operations", "params": "params", "activations": "activations",
}  # fmt: skip
"""What a figure counts, by the keyword under which it is given: a paper's FLOPs may be MACs, and its MACs FLOPs."""

_POWERS = {
    "": 0, "k": 3, "m": 6, "g": 9, "b": 9, "t": 12, "thousand": 3, "million": 6, "billion": 9, "trillion": 12,
}  # fmt: skip
_SYMBOLS = {"k": "k", "m": "M", "g": "G", "b": "B", "t": "T"}

_FIGURE = re.compile(
    r"""
    (?P<digits>\d[\d,_]{0,30}(?:\.\d{1,30})?) (?:e\+?(?P<power>\d{1,2}))? \s*
    (?P<prefix>[kmgbt]|thousand|million|billion|trillion)?? [\s-]*
    (?: (?P<operations>macc?s?|flops?|m-?adds?|mult(?:iply|s)?[\s-]?(?:adds?|acc(?:umulate)?s?)|op(?:eration)?s?)
      | (?P<params>param(?:eter)?s?|weights?)
      | (?P<activations>act(?:ivation)?s?|elements?)
    )?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_HINT = "'4.1G', '569M mult-adds', '25.6 million' or '25,557,032'"

LEAST_DIGITS = 2
"""Digits that stay where zeros at the end may be no digits: ``120 M`` may be rounded to two."""

LEAST_ZEROS = 3
"""Zeros at the end of a number without a prefix from which on they are no digits: ``4100000000`` is 4.1 G."""


@dataclass(frozen=True)
class Figure:
    """One printed figure."""

    text: str
    """As it is printed."""
    quantity: str
    """The keyword under which it was given, a key of ``FAMILIES``."""
    value: Fraction
    unit: Fraction
    """What one more in the last printed digit is worth."""
    coarse: Fraction
    """The same without the zeros at its end, which may be no digits; ``unit`` where there are none."""
    scale: Fraction
    """What its prefix stands for."""
    suffix: str
    """The prefix, as it stands behind a number."""

    @property
    def family(self) -> str:
        """What it counts."""
        return FAMILIES[self.quantity]

    @property
    def title(self) -> str:
        """The figure with its noun.

        >>> read("4.1G", "flops").title, read("569M mult-adds", "macs").title
        ('4.1G FLOPs', '569M mult-adds')
        """
        found = _FIGURE.fullmatch(self.text)
        has_noun = found is not None and any(found[family] for family in FAMILIES.values())
        return self.text if has_noun else f"{self.text} {MEASURES[self.quantity].title}"

    def match(self, count: int) -> str:
        """How a count becomes the figure; empty where it does not.

        >>> figure = read("3.8G", "macs")
        >>> figure.match(3_800_000_000), figure.match(3_857_973_248), figure.match(4_089_184_256)
        ('rounded', 'truncated', '')
        >>> read("120 M", "params").match(118_515_272), read("11,689,512", "params").match(11_689_512)
        ('rounded to 2 digits', 'exact')
        """
        if self.unit == 1:
            return "exact" if count == self.value else ""
        if 2 * abs(count - self.value) <= self.unit:  # some round a half up, some to even
            return "rounded"
        if self.value <= count < self.value + self.unit:
            return "truncated"
        if self.coarse != self.unit and 2 * abs(count - self.value) <= self.coarse:
            return f"rounded to {len(str(self.value / self.coarse))} digits"
        return ""

    def as_printed(self, count: int) -> str:
        """A count with the figure's prefix and decimals, rounded.

        >>> read("4.1 GFLOPs", "flops").as_printed(8_178_368_512), read("1,500", "params").as_printed(1234)
        ('8.2 G', '1,234')
        """
        steps = floor(count / self.unit + Fraction(1, 2))
        decimals = len(str(self.scale / self.unit)) - 1 if self.unit < self.scale else 0
        return f"{float(steps * self.unit / self.scale):,.{decimals}f}{self.suffix}"


def read(given: Any, quantity: str) -> Figure:
    """The figure that a text, or an int, prints. Raises ``InputError`` for one that cannot be read.

    >>> figure = read("569M mult-adds", "macs")
    >>> int(figure.value), int(figure.unit), figure.suffix
    (569000000, 1000000, ' M')
    """
    text = f"{given:,}" if type(given) is int else given.strip() if isinstance(given, str) else ""
    found = _FIGURE.fullmatch(text)
    if found is None:
        raise InputError(f"{quantity}={short(given)} is no printed figure; write it as a text, as in {_HINT}")
    for family in dict.fromkeys(FAMILIES.values()):
        if found[family] and family != FAMILIES[quantity]:
            keywords = " or ".join(f"{name}=" for name, of in FAMILIES.items() if of == family)
            raise InputError(f"{quantity}={short(given)} is a number of {found[family]}: give it as {keywords}")
    try:
        whole, _, decimals = parsing.ungrouped(found["digits"], text).partition(".")
    except InputError as error:
        raise InputError(f"{quantity}={error}") from error
    prefix = (found["prefix"] or "").lower()
    scale = Fraction(10 ** (_POWERS[prefix] + int(found["power"] or 0)))
    value = int(whole + decimals) * scale / 10 ** len(decimals)
    if value < 1 or value.denominator > 1:
        raise InputError(
            f"{quantity}={short(given)} is not a positive whole number: it lacks its prefix, as in {_HINT}"
        )
    unit = coarse = scale / 10 ** len(decimals)
    zeros = 0 if decimals else len(whole) - len(whole.rstrip("0"))
    if scale > 1:
        coarse = unit * 10 ** min(zeros, max(0, len(whole) - LEAST_DIGITS))
    elif zeros >= LEAST_ZEROS:
        unit = coarse = Fraction(10**zeros)
    suffix = f"e{found['power']}" if found["power"] else f" {_SYMBOLS[prefix]}" if len(prefix) == 1 else f" {prefix}"
    return Figure(text, quantity, value, unit, coarse, scale, suffix.rstrip())
