"""Figures that a user gives, as Python's int or float: one number of pandas, NumPy, torch or decimal is one, too."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

LARGEST, SMALLEST = int(1e100), 1e-100
"""Magnitudes between which a figure lies, unless it is 0: a figure's axes and ratios stay far from a float's limits."""

_MISSING = frozenset({"NAType", "NaTType", "MaskedConstant"})
"""Types of what pandas and NumPy put where a figure is missing. By name, so that neither is imported."""


def scalar(figure: Any) -> int | float | None:
    """One figure; ``None`` for what stands for a missing one: None, NaN, and what pandas and NumPy have for it.

    Tensors and arrays without dimensions are one figure. A text and a truth value are none.

    Raises ``ValueError`` for anything else, an infinity, and what lies beyond ``LARGEST`` and ``SMALLEST``; it says in
    a few words what is wanted.

    >>> from decimal import Decimal
    >>> from fractions import Fraction
    >>> scalar(3), scalar(Decimal("69.758")), scalar(Fraction(1, 4)), scalar(float("nan"))
    (3, 69.758, 0.25, None)
    """
    if type(figure).__name__ in _MISSING:
        return None
    if getattr(figure, "shape", None) == ():
        try:
            figure = figure.item()
        except Exception as error:  # whatever a tensor without a value raises
            raise ValueError("a figure that can be read") from error
    if figure is None:
        return None
    if isinstance(figure, bool) or not (isinstance(figure, Real) or _is_decimal(figure)):
        raise ValueError("a finite number")
    try:
        number = int(figure) if isinstance(figure, Integral) else float(figure)
    except OverflowError:  # a fraction, or an integral number of another type
        number = LARGEST + 1
    except ValueError:  # Decimal's signaling NaN
        return None
    if number != number:
        return None
    if abs(number) == float("inf"):
        raise ValueError("a finite number")
    if figure and not SMALLEST <= abs(number) <= LARGEST:
        raise ValueError("between 1e-100 and 1e100 in magnitude: give it in another unit")
    return number


def _is_decimal(figure: Any) -> bool:
    from decimal import Decimal  # which is no Real

    return isinstance(figure, Decimal)
