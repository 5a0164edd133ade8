"""One figure of whatever type: read to the same number, or refused; and what is missing is never a number."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from costmodel.arguments import short
from costmodel.scalars import LARGEST, SMALLEST, scalar

INTEGERS = [3, np.int8(3), np.uint64(3), np.array(3), torch.tensor(3), torch.tensor(3, dtype=torch.uint8)]
HALVES = [
    2.5, np.float16(2.5), np.float64(2.5), np.longdouble(2.5), np.array(2.5), torch.tensor(2.5), Fraction(5, 2),
    torch.tensor(2.5, dtype=torch.bfloat16), torch.tensor(2.5, requires_grad=True), Decimal("2.5"),
    pd.array([2.5], dtype="Float64")[0],
]  # fmt: skip
MISSING = [
    None, math.nan, np.float32("nan"), np.array(np.nan), torch.tensor(torch.nan), Decimal("NaN"), Decimal("sNaN"),
    pd.NA, pd.NaT, pd.array([None], dtype="Int64")[0], np.ma.masked, np.array(None), np.timedelta64("NaT"),
]  # fmt: skip
WRONG = {
    "a finite number": [
        "2.5", b"2", True, np.True_, torch.tensor(True), 1j, torch.tensor(1j), math.inf, np.float32("-inf"),
        torch.tensor(torch.inf), Decimal("Infinity"), [1], (1,), np.array([1]), torch.tensor([1.0]), object(),
        np.datetime64("2020"), pd.Timestamp(0), np.longdouble("1e400"), np.timedelta64(3, "s"),
    ],
    "a figure that can be read": [torch.empty((), device="meta")],
    "between 1e-100 and 1e100 in magnitude": [
        10**400, -(10**101), 1e308, -1e308, 5e-324, Fraction(10**400), Fraction(1, 10**200), Decimal("1e300"),
        Decimal("1e-400"), Fraction(1, 10**400), np.longdouble("1e-400"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("figure", INTEGERS, ids=repr)
def test_an_integer_of_any_type_is_an_int(figure: Any) -> None:
    """Exact, and of Python's own type."""
    assert scalar(figure) == 3
    assert type(scalar(figure)) is int


@pytest.mark.parametrize("figure", HALVES, ids=repr)
def test_a_real_number_of_any_type_is_a_float(figure: Any) -> None:
    """A half is exact in each of them."""
    assert scalar(figure) == 2.5
    assert type(scalar(figure)) is float


@pytest.mark.parametrize("figure", MISSING, ids=repr)
def test_what_is_missing_is_none(figure: Any) -> None:
    """Whatever stands for it."""
    assert scalar(figure) is None


@pytest.mark.parametrize(("wanted", "figure"), [(wanted, figure) for wanted, some in WRONG.items() for figure in some])
def test_anything_else_is_refused_with_what_is_wanted(wanted: str, figure: Any) -> None:
    """By one error, and not by one of Python's, torch's or NumPy's own."""
    with pytest.raises(ValueError, match=wanted) as found:
        scalar(figure)
    assert type(found.value) is ValueError


def test_an_int_that_python_does_not_write_is_refused() -> None:
    """It writes none of more than 4,300 digits, in an error neither."""
    with pytest.raises(ValueError, match="between 1e-100 and 1e100"):
        scalar(10**5000)
    assert short([10**5000]) == "[an int of about 5000 digits]"


def test_the_limits_themselves_are_figures() -> None:
    """As ints and as floats, and so is 0."""
    for figure in (LARGEST, 10**100, 1e100, -1e100, SMALLEST, -SMALLEST, 0, 0.0):
        assert scalar(figure) == figure
