"""Figures as people write them: counts with a prefix, quantities with a unit, shares in percent."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from costmodel.errors import InputError
from costmodel.views.units import STEPS

# Digits are bounded so that a figure is a float, too; "1e999999999" would fill the memory.
_FIGURE = re.compile(r"(\d[\d_,]{0,99}(?:\.\d{1,99})?(?:[eE][+-]?\d{1,2})?)\s*([kKMGTPmuµμnp]?)(i?)")
_GROUPED = re.compile(r"(?:[1-9]\d{0,2}(?:,\d{3})+|[\d_]+)(?![\d,_])")
_PREFIXES = {prefix: Fraction(step) for step, prefix in STEPS}
_BINARY = {prefix: 1 << 10 * power for power, prefix in enumerate("KMGTP", 1)} | {"k": 1 << 10}
_SMALL_PREFIXES = {"m": Fraction(1, 10**3), "µ": Fraction(1, 10**6), "n": Fraction(1, 10**9), "p": Fraction(1, 10**12)}


def parse(text: str, symbol: str = "") -> int:
    """The count that a person writes, with or without the symbol of its unit.

    >>> parse("320M"), parse("4.2 k"), parse("1e9"), parse("25,557,032"), parse("20 MB", "B"), parse("20MiB", "B")
    (320000000, 4200, 1000000000, 25557032, 20000000, 20971520)
    """
    return int(parse_exactly(text, symbol))


def parse_exactly(text: str, symbol: str = "", *, small: bool = False) -> Fraction:
    """The same without a rounding; with ``small`` also a quantity below 1, whose prefix needs its unit's symbol.

    >>> parse_exactly("1.2345k"), parse_exactly("5 ms", "s", small=True), parse_exactly("0.25", "s", small=True)
    (Fraction(2469, 2), Fraction(1, 200), Fraction(1, 4))
    """
    found = _FIGURE.fullmatch(text.strip().removesuffix(symbol).strip())
    if found is not None and found[3]:
        # Powers of 1024 are of bytes alone, and then with their symbol.
        binary = _BINARY.get(found[2]) if symbol == "B" and text.rstrip().endswith("iB") else None
        found = None if binary is None else found
    # Nobody means megaseconds: 5 Ms, written for milliseconds, would be a bound that every model keeps.
    prefixes = {} if symbol == "s" else _PREFIXES
    if small and symbol and text.rstrip().endswith(symbol):
        prefixes = prefixes | _SMALL_PREFIXES
    prefix = "" if found is None else {"K": "k", "u": "µ", "μ": "µ"}.get(found[2], found[2])
    if found is None or (prefix and prefix not in prefixes):
        if small:
            raise InputError(f"{text!r} is not a number; write it as {f'250 m{symbol}' if symbol else '1.5k'} or 0.25")
        wanted = "20MB, 1.5GB, 16GiB" if symbol == "B" else "320M, 4.2M, 1e9"
        raise InputError(f"{text!r} is not a count; write it as {wanted} or 25557032")
    number = Fraction(Decimal(ungrouped(found[1], text)))
    return number * (_BINARY[found[2]] if found[3] else prefixes.get(prefix, 1))


def ungrouped(number: str, text: str) -> str:
    """A number that stands in ``text``, without what groups its digits: commas in threes, or underscores.

    Raises ``InputError`` for any other comma, which in much of the world is a decimal one.

    >>> ungrouped("25,557,032", "25,557,032"), ungrouped("1_000.5", "1_000.5 M")
    ('25557032', '1000.5')
    """
    if not _GROUPED.match(number):
        raise InputError(
            f"{text!r} has a decimal comma, or groups that are not of three digits: write it as 4.1G or 1,234,567"
        )
    return number.replace("_", "").replace(",", "")


def parse_share(text: str) -> Fraction:
    """The share that a person writes in percent.

    >>> parse_share("1%"), parse_share("0.5 %")
    (Fraction(1, 100), Fraction(1, 200))
    """
    match = re.fullmatch(r"(\d{1,99}(?:\.\d{1,99})?)\s*%", text.strip())
    if match is None:
        raise InputError(f"{text!r} is not a percentage; write it as 1% or 0.5%")
    return Fraction(match[1]) / 100
