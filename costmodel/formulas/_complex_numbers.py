"""Layers of complex numbers, each a pair of real ones: what an operation on pairs does to what they are made of."""

from __future__ import annotations

from collections.abc import Mapping

from costmodel.quantities import Work

EXP = Work(transcendentals=3, multiplies=2)
"""exp(a) cos(b) and exp(a) sin(b)."""
TANH = Work(multiplies=2, transcendentals=4, adds=1, divides=2)
"""sinh(2a) / d and sin(2b) / d, where d = cosh(2a) + cos(2b)."""
MAGNITUDE = Work(multiplies=2, adds=1, transcendentals=1)
"""sqrt(a a + b b)."""
_DIVIDE = Work(multiplies=4, adds=2) + Work(multiplies=2, adds=1) + Work(divides=2)
"""z w* / (w w*): w w* is real."""
RECIPROCAL_ROOT = MAGNITUDE + Work(adds=1, multiplies=1, transcendentals=1).times(2) + _DIVIDE
"""1 / sqrt(z), where sqrt(z) = sqrt((m + a) / 2) +- i sqrt((m - a) / 2), m the magnitude."""

_OPERATIONS: Mapping[str, Work] = {
    "macs": Work(macs=4),  # ac, -bd, ad and bc, each added to one of two sums
    "adds": Work(adds=2),  # part by part
    "multiplies": Work(multiplies=4, adds=2),  # ac - bd and ad + bc
    "divides": _DIVIDE,
    "macs_on_padding": Work(macs_on_padding=4),
}


def on_numbers(work: Work, *, complex_valued: bool, function: Work = EXP) -> Work:
    """``work`` as it is on real numbers, or on complex ones; there a transcendental function costs ``function``.

    >>> on_numbers(Work(multiplies=1, adds=1), complex_valued=True).flops
    8
    """
    if not complex_valued:
        return work
    if not (isinstance(work.compares, int) and work.compares == 0):
        raise ValueError("complex_valued=True: complex numbers have no order, and this layer compares")
    done = Work()
    for kind, one in (*_OPERATIONS.items(), ("transcendentals", function)):
        times = getattr(work, kind)
        # Most kinds are 0, and stay a plain 0 in a sweep of arrays.
        if not (isinstance(times, int) and times == 0):
            done = done + one.times(times)
    return done
