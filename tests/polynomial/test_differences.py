"""Interpolation on a grid is exact, and a maximum keeps every polynomial that it needs."""

from __future__ import annotations

import numpy as np
import sympy
from hypothesis import given
from hypothesis import strategies as st

from costmodel.polynomial.differences import degree, differences, evaluate, expression, greatest

COEFFICIENTS = st.lists(st.integers(-(10**20), 10**20), min_size=1, max_size=5)
STEPS = st.integers(-50, 10**6)


def horner(coefficients: list[int], x: int) -> int:
    """The value of a polynomial in powers of x."""
    value = 0
    for c in reversed(coefficients):
        value = value * x + c
    return value


@given(COEFFICIENTS, STEPS)
def test_values_and_expression_are_those_of_the_polynomial(coefficients: list[int], x: int) -> None:
    """Through as many points as coefficients there is one polynomial, also far away and below the first point."""
    samples = np.array([horner(coefficients, t) for t in range(len(coefficients))], dtype=object)
    found = differences(samples)
    assert evaluate(found, [x]) == horner(coefficients, x)
    t = sympy.Symbol("t")
    assert expression(found, [t]).subs(t, x) == horner(coefficients, x)


@given(st.lists(COEFFICIENTS, min_size=1, max_size=4), STEPS, STEPS)
def test_two_variables(rows: list[list[int]], x: int, y: int) -> None:
    """A product of axes: each row is a polynomial of y, and they are coefficients of one of x."""
    width = max(map(len, rows))

    def value(a: int, b: int) -> int:
        return horner([horner(row, b) for row in rows], a)

    grid = np.array([[value(a, b) for b in range(width)] for a in range(len(rows))], dtype=object)
    assert evaluate(differences(grid, 2), [x, y]) == value(x, y)


@given(COEFFICIENTS)
def test_the_degree_is_the_highest_power(coefficients: list[int]) -> None:
    """Two samples more than coefficients settle it; as many do not."""
    highest = max((i for i, c in enumerate(coefficients) if c), default=0)
    samples = [np.array([horner(coefficients, t)], dtype=object) for t in range(highest + 3)]
    assert degree(samples) == highest
    assert degree(samples[:-1]) is None or highest == 0


@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=1, max_size=8))
def test_the_maximum_is_the_same_without_what_is_left_out(rows: list[list[int]]) -> None:
    """At each step the greatest of those that are kept is the greatest of all."""
    polynomials = [np.array(row, dtype=object) for row in rows]
    kept = greatest(polynomials)
    for step in (*range(12), 10**3, 10**9):
        assert max(evaluate(p, [step]) for p in kept) == max(evaluate(p, [step]) for p in polynomials)
