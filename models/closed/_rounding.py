"""How the papers round what a multiplier scales: on numbers and on NumPy arrays alike, without torch."""

from __future__ import annotations

from typing import Any, TypeAlias

from costmodel.quantities import Count

Multiplier: TypeAlias = Any
"""A number, or a NumPy array of numbers, one per configuration."""


def make_divisible(channels: Multiplier, divisor: int = 8) -> Count:
    """The multiple of `divisor` nearest to `channels`, at least `divisor`, and never more than 10 % below `channels`.

    The rounding of the MobileNet authors' code, used by every family with a width multiplier. It rounds, so there is
    no formula of it in a symbol.

    >>> make_divisible(24 * 0.75), make_divisible(32 * 0.35)
    (24, 16)
    >>> import numpy as np
    >>> make_divisible(24 * np.array([0.75, 1.4]))
    array([24, 32])
    """
    if hasattr(channels, "free_symbols"):
        raise ValueError(
            f"cannot round {channels} channels to a multiple of {divisor}: give the width multiplier as a number or an "
            "array; resolution, num_classes and batch may be symbols"
        )
    if least(channels) <= 0:
        raise ValueError(f"cannot round {least(channels):g} channels: a width multiplier must be greater than 0")
    # Comparisons count as 0 and 1, so that one line serves a number and an array.
    multiples = (channels + divisor / 2) // divisor
    multiples = multiples + (multiples < 1)
    rounded = _whole(multiples) * divisor
    return rounded + divisor * (rounded < 0.9 * channels)


def at_least_one(width: Multiplier) -> Multiplier:
    """max(1, width): the multiplier of layers that a slimmer network leaves as they are.

    >>> at_least_one(0.35), at_least_one(1.4)
    (1.0, 1.4)
    """
    return (width < 1) * 1.0 + (width >= 1) * width


def least(values: Count) -> Count:
    """The smallest of an array, and a single number itself."""
    return values.min() if hasattr(values, "min") else values


def _whole(value: Multiplier) -> Count:
    return value.astype("int64") if hasattr(value, "astype") else int(value)
