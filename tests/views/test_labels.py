"""Labels of a scatter plot."""

from __future__ import annotations

import itertools

from costmodel.views.labels import Box, Dot, sides

FRAME = Box(0, 0, 400, 300)


def test_labels_do_not_cover_each_other_where_there_is_room() -> None:
    """Dots one above the other, closer than a label is high, get labels apart, inside the frame."""
    dots = [Dot(200, 150 + 6 * i, 3, 60, 10) for i in range(4)]
    boxes = [dot.label(side) for dot, side in zip(dots, sides(dots, FRAME), strict=True)]
    assert [a.overlap(b) for a, b in itertools.combinations(boxes, 2)] == [0] * 6
    assert all(box.overlap(FRAME) == 600 for box in boxes)


def test_a_label_at_the_edge_stays_inside() -> None:
    """A dot in a corner has its label towards the middle."""
    corner = Dot(398, 298, 2, 60, 10)
    (side,) = sides([corner], FRAME)
    assert corner.label(side).overlap(FRAME) == 600


def test_a_dot_by_itself_has_its_label_above() -> None:
    """As one expects it."""
    assert sides([Dot(200, 150, 3, 60, 10)], FRAME) == [(0, 1)]
