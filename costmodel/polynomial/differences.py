"""Exact interpolation of integers on a grid, by Newton's forward differences.

A function of steps t = 0, 1, 2 ... that is a polynomial of degree d is the sum of D_k C(t, k) for k = 0 ... d, where
D_k is the k-th forward difference at 0. The differences of integers are integers and so are binomials, so nothing is
rounded. In several variables the same holds along each axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations, product
from math import comb, factorial, prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Integers: TypeAlias = "NDArray[np.object_]"
"""Python's integers, which have no greatest."""


def differences(samples: Integers, axes: int = 1) -> Integers:
    """The coefficients of samples (n_1, ..., n_axes, *rest) on a grid of steps, of the same shape.

    >>> differences(np.array([1, 4, 9, 16], dtype=object))  # (t + 1)²
    array([1, 3, 2, 0], dtype=object)
    """
    found = samples.copy()
    for axis in range(axes):
        along = np.moveaxis(found, axis, 0)
        for order in range(1, len(along)):
            along[order:] = along[order:] - along[order - 1 : -1]
    return found


def degree(samples: Sequence[Integers], spare: int = 2) -> int | None:
    """The degree of the polynomial through samples at steps 0, 1, 2 ...; ``None`` if so many do not settle it.

    It is settled where the differences of higher order are zero, at least ``spare`` of them.

    >>> degree([np.array([n**2], dtype=object) for n in (1, 2, 3, 4, 5)])
    2
    """
    found = differences(np.array(samples, dtype=object))
    orders = [order for order in range(len(found)) if any(found[order].ravel())]
    highest = max(orders, default=0)
    return highest if len(samples) - 1 - highest >= spare else None


def evaluate(coefficients: Integers, steps: Sequence[int]) -> Any:
    """The value at given steps, one for each leading axis of the coefficients; an array where these have more axes.

    >>> evaluate(np.array([1, 3, 2], dtype=object), [10])
    121
    """
    value = coefficients
    for step in steps:
        weights = [_binomial(step, k) for k in range(len(value))]
        value = sum(weight * part for weight, part in zip(weights, value, strict=True))
    return value


def _binomial(n: int, k: int) -> int:
    """C(n, k), also of a negative n.

    >>> _binomial(5, 2), _binomial(-1, 3)
    (10, -1)
    """
    return comb(n, k) if n >= 0 else (-1) ** k * comb(k - n - 1, k)


def expression(coefficients: Integers, steps: Sequence[Any]) -> Any:
    """The polynomial in expressions of the steps, expanded.

    >>> import sympy
    >>> n = sympy.Symbol("n")
    >>> expression(np.array([1, 3, 2], dtype=object), [n - 1])
    n**2
    """
    import sympy

    powers = [[_falling(step, k) for k in range(n)] for step, n in zip(steps, coefficients.shape, strict=True)]
    terms = (
        sympy.Integer(int(coefficients[at])) * prod((power[k] for power, k in zip(powers, at, strict=True)), start=1)
        for at in _places(coefficients)
    )
    return sympy.expand(sympy.Add(*terms))


def _places(coefficients: Integers) -> Iterator[tuple[int, ...]]:
    return (at for at in product(*map(range, coefficients.shape)) if coefficients[at])


def _falling(step: Any, k: int) -> Any:
    """step (step - 1) ... (step - k + 1) / k!."""
    import sympy

    return prod((step - i for i in range(k)), start=sympy.Integer(1)) / factorial(k)


def greatest(polynomials: Sequence[Integers]) -> list[Integers]:
    """Those of several polynomials without which their maximum would be another at some step from 0 on.

    Binomials of steps from 0 on are not negative. So q is never less than p where none of its coefficients is; and the
    greater of two is never less than p where a weighted mean of these has no coefficient less than p's. What neither
    shows is kept.

    >>> lines = [[1, 2], [1, 3], [5, 0], [2, 1]]
    >>> greatest([np.array(line, dtype=object) for line in lines])
    [array([1, 3], dtype=object), array([5, 0], dtype=object)]
    """
    kept: list[Integers] = []
    for p in {tuple(p.ravel()): p for p in polynomials}.values():
        if not any((q >= p).all() for q in kept):
            kept = [q for q in kept if not (p >= q).all()] + [p]
    for p in list(kept):
        others = [q for q in kept if q is not p]
        if any(_is_below_a_mean(p.ravel(), q.ravel(), r.ravel()) for q, r in combinations(others, 2)):
            kept = others
    return kept


def _is_below_a_mean(p: Integers, q: Integers, r: Integers) -> bool:
    """Whether p <= w q + (1 - w) r in every coefficient, for a weight from 0 to 1."""
    least, most = Fraction(0), Fraction(1)
    for a, b in zip(q - r, p - r, strict=True):  # w a >= b
        if a > 0:
            least = max(least, Fraction(b, a))
        elif a < 0:
            most = min(most, Fraction(b, a))
        elif b > 0:
            return False
    return least <= most
