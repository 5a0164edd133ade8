"""The Pareto front against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.front import front


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[st.integers(0, 6)] * n), min_size=1, max_size=30)))
def test_a_row_is_on_the_front_if_no_other_undercuts_it(rows: list[tuple[int, ...]]) -> None:
    """Row by row: none is as small in every column and smaller in one; equal rows stay together."""
    expected = [not any(all(a <= b for a, b in zip(o, row, strict=True)) and o != row for o in rows) for row in rows]
    assert front(list(zip(*rows, strict=True))).tolist() == expected


def test_integers_beyond_64_bits_are_compared_exactly() -> None:
    """Two that are the same as floats are not the same."""
    large = np.array([2**80 + 1, 2**80], dtype=object)
    assert front([large, [1, 1]]).tolist() == [False, True]


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_nothing_has_an_empty_front(columns: int) -> None:
    """No row, no front."""
    assert front([np.array([], dtype=int)] * columns).tolist() == []
