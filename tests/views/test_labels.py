"""Labels of a scatter plot."""

from __future__ import annotations

import itertools

from costmodel.views.labels import Box, Dot, Place, places

FRAME = Box(0, 0, 400, 300)


def placed(dots: list[Dot]) -> list[Place]:
    """Where each label is; all have room."""
    found = [place for place in places(dots, FRAME) if place is not None]
    assert len(found) == len(dots)
    return found


def test_labels_do_not_cover_each_other_where_there_is_room() -> None:
    """Dots one above the other, closer than a label is high, get labels apart, inside the frame."""
    dots = [Dot(200, 150 + 6 * i, 2, 60, 10) for i in range(4)]
    boxes = [dot.label(place) for dot, place in zip(dots, placed(dots), strict=True)]
    assert [a.overlap(b) for a, b in itertools.combinations(boxes, 2)] == [0] * 6
    assert all(box.overlap(FRAME) == 600 for box in boxes)


def test_a_label_at_the_edge_stays_inside() -> None:
    """A dot in a corner has its label towards the middle."""
    corner = Dot(398, 298, 2, 60, 10)
    (place,) = placed([corner])
    assert corner.label(place).overlap(FRAME) == 600


def test_a_dot_by_itself_has_its_label_above() -> None:
    """As one expects it."""
    assert placed([Dot(200, 150, 3, 60, 10)]) == [((0, 1), 0.0)]


def test_a_dot_that_others_cover_has_its_label_beside_them() -> None:
    """Of three bubbles that lie on each other, the one in the middle is named, too."""
    placed([Dot(200, 150, 9, 40, 10), Dot(204, 148, 9, 40, 10), Dot(208, 147, 9, 40, 10)])
