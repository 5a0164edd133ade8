"""Access maps: what an interval of output positions sees is the hull of what each of its positions sees."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest

from costmodel.access import Affine, GridAxis, Sparse, sliding, transposed

MAPS = {
    "one to one": Affine(0),
    "reversed": Affine(0, -1, 9, 9),
    "channels in groups": Affine(0, Fraction(1, 2), unit=3),
    "window": sliding(0, size=3, stride=2, pad=1),
    "window with gaps": sliding(0, size=3, dilation=2),
    "transposed window": transposed(0, size=4, stride=2, pad=1),
    "transposed window with gaps": transposed(0, size=3, stride=2, dilation=3),
    "rows of 2 x 3": GridAxis(0, 1, 0, 0, inner=3, length=2),
    "columns of 2 x 3": GridAxis(0, 1, 0, 0, inner=1, length=3),
    "the middle axis of 2 x 3 x 2, strided": GridAxis(0, 4, -1, 3, inner=2, length=3),
}


@pytest.mark.parametrize("name", MAPS)
def test_an_interval_sees_what_its_positions_see(name: str) -> None:
    """From the least to the greatest of them, also where a grid's axis begins again."""
    axis_map = MAPS[name]
    for low, n in product(range(14), range(1, 14)):
        single = [axis_map.pull(i, i) for i in range(low, low + n)]
        hull = min(first for first, _ in single), max(last for _, last in single)
        assert axis_map.pull(low, low + n - 1) == hull, (low, low + n - 1)


def test_a_grid_s_axis_follows_its_coordinate() -> None:
    """Of 2 x 3 x 2 positions in row-major order, the second coordinate."""
    middle = GridAxis(0, inner=2, length=3)
    coordinates = [j for _, j, _ in product(range(2), range(3), range(2))]
    assert [middle.pull(o, o) for o in range(12)] == [(j, j) for j in coordinates]


@pytest.mark.parametrize(
    ("size", "stride", "pad", "dilation"), [(3, 2, 1, 1), (4, 2, 0, 1), (2, 3, 0, 1), (3, 2, 1, 2)]
)
def test_a_transposed_window_is_the_reverse_of_a_window(size: int, stride: int, pad: int, dilation: int) -> None:
    """Output o sees input i where the window that begins at i covers o; with gaps, those of the hull that fit."""
    axis_map = transposed(0, size=size, stride=stride, pad=pad, dilation=dilation)
    for o in range(12):
        seen = [i for i in range(-20, 20) for k in range(size) if i * stride - pad + dilation * k == o]
        low, high = axis_map.pull(o, o)
        if isinstance(axis_map, Sparse):
            kept = [
                i for i in range(low, high + 1) if (o + axis_map.offset - axis_map.spread * i) % axis_map.modulus == 0
            ]
            assert kept == sorted(seen)
        else:
            assert list(range(low, high + 1)) == sorted(seen)
