"""The arithmetic of a vector's norm, of real and of complex numbers."""

from __future__ import annotations

from costmodel.formulas._complex_numbers import MAGNITUDE
from costmodel.quantities import Count, Work

INFINITE = (float("inf"), float("-inf"))


def vector_norm(*, of: Count, order: float = 2, complex_valued: bool = False) -> Work:
    """The norm of ``of`` numbers: powers, their sum, and its root; order 2 needs no magnitudes of complex numbers.

    >>> vector_norm(of=3).flops, vector_norm(of=3, order=1).flops, vector_norm(of=3, order=0.5).flops
    (6, 2, 6)
    """
    if order == 2:
        parts = 2 * of if complex_valued else of
        return Work(multiplies=parts, adds=parts - 1, transcendentals=1)
    if order == 0:  # how many are not zero
        return Work(compares=2 * of if complex_valued else of, adds=of - 1)
    magnitudes = MAGNITUDE.times(of) if complex_valued else Work()
    if order == 1:
        return magnitudes + Work(adds=of - 1)
    if order in INFINITE:
        return magnitudes + Work(compares=of - 1)
    return magnitudes + Work(transcendentals=of + 1, adds=of - 1)
