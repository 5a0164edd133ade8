"""How two paths from the input become one: the hull of both, or none where one table cannot hold them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from costmodel.receptive_field.paths import Path, Periodicity, merge

LOW = np.arange(6, dtype=np.int64)[:, None]
ONE = Path(LOW, LOW + 2, {0: Periodicity(Fraction(1), 1)})


def joined(a: Path, b: Path) -> tuple[list[int], list[int]]:
    """What the two see together, position by position; the same whichever comes first."""
    both = [merge(a, b, real=False), merge(b, a, real=False)]
    assert both[0] is not None
    assert both[1] is not None
    ends = [(path.low.flatten().tolist(), path.high.flatten().tolist()) for path in both]
    assert ends[0] == ends[1]
    return ends[0]


def test_a_path_and_itself_are_the_path() -> None:
    """With the notes of both."""
    noted = replace(ONE, notes=frozenset({"a note"}))
    assert merge(ONE, ONE, real=False) is ONE
    assert merge(noted, ONE, real=False) is noted
    both = merge(ONE, noted, real=False)
    assert both is not None
    assert (both.low is LOW, both.notes) == (True, noted.notes)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 0), (-1, 1), (1, -1), (1, 3)])
def test_two_paths_see_from_the_first_to_the_last(low: int, high: int) -> None:
    """Also where they have one end in common, by the same table."""
    other = replace(ONE, low=LOW + low if low else LOW, high=ONE.high + high if high else ONE.high)
    assert joined(ONE, other) == (
        [i + min(low, 0) for i in range(6)],
        [i + 2 + max(high, 0) for i in range(6)],
    )


def test_paths_whose_windows_move_otherwise_stay_apart() -> None:
    """Of one table a half-step, or paths of another kind; unless any stride may stand for all."""
    half = replace(ONE, axis_dims={0: Periodicity(Fraction(1, 2), 1)})
    assert merge(ONE, half, real=False) is None
    assert merge(ONE, replace(ONE, kind="reduced"), real=False) is None
    endless = [replace(ONE, axis_dims={0: Periodicity(Fraction(n, 2))}) for n in (2, 1)]
    both = merge(*endless, real=False, any_stride=True)
    assert both is not None
    assert both.axis_dims[0].stride == 1
    assert merge(*endless, real=False) is None


@pytest.mark.parametrize(("a", "b", "together"), [(1, 1, 1), (2, 3, 6), (2, 2, 2), (4, 6, None), (1, None, "apart")])
def test_two_periods_have_a_common_one(a: int, b: int | None, together: int | str | None) -> None:
    """The least common multiple, where that fits into the axis of six positions."""
    paths = [Path(LOW, LOW + i, {0: Periodicity(Fraction(1), period)}) for i, period in enumerate((a, b))]
    both = merge(*paths, real=False)
    if isinstance(together, int):
        assert both is not None
        assert both.axis_dims[0] == Periodicity(Fraction(1), together)
    else:
        assert both is None
