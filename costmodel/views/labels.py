"""Where the labels of a scatter plot go, so that they overlap neither each other nor the dots."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import hypot


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with its sides along the axes."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """The area that both cover.

        >>> Box(0, 0, 2, 2).overlap(Box(1, 1, 5, 5)), Box(0, 0, 1, 1).overlap(Box(1, 0, 2, 1))
        (1, 0)
        """
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0) * max(height, 0)

    def distance(self, dot: Dot) -> float:
        """How far a dot's edge is from it.

        >>> Box(0, 0, 4, 1).distance(Dot(7, 5, 2, 0, 0)), Box(0, 0, 4, 1).distance(Dot(2, 0, 1, 0, 0))
        (3.0, -1.0)
        """
        across, up = max(self.left - dot.x, dot.x - self.right, 0), max(self.bottom - dot.y, dot.y - self.top, 0)
        return hypot(across, up) - dot.radius


SIDES = {
    (0, 1): ("center", "bottom"), (0, -1): ("center", "top"), (1, 0): ("left", "center"), (-1, 0): ("right", "center"),
    (1, 1): ("left", "bottom"), (-1, 1): ("right", "bottom"), (1, -1): ("left", "top"), (-1, -1): ("right", "top"),
}  # fmt: skip
"""The sides of a dot where a label can be, the best first, with its alignment there."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A dot and the size of its label, all in one unit."""

    x: float
    y: float
    radius: float
    width: float
    height: float

    @property
    def box(self) -> Box:
        """The square around it."""
        return Box(self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius)

    def offset(self, place: Place) -> tuple[float, float]:
        """How far from its centre, along each axis, the label begins at a place."""
        (x, y), further = place
        gap = self.radius * (0.75 if x and y else 1) + 2 + further
        return x * gap, y * gap

    def label(self, place: Place) -> Box:
        """The rectangle of its label at a place."""
        (x, y), _ = place
        across, up = self.offset(place)
        left = self.x + across - self.width * (1 - x) / 2
        bottom = self.y + up - self.height * (1 - y) / 2
        return Box(left, bottom, left + self.width, bottom + self.height)


Place = tuple[tuple[int, int], float]
"""A side of a dot, and how much further from it than beside it."""

PLACES: tuple[Place, ...] = tuple((side, further) for further in (0.0, 7.0) for side in SIDES)
"""Where a label can be, the best first."""

ROOM = 0.04
"""The part of a label that may lie on something else before it is left out."""


def line(start: tuple[float, float], end: tuple[float, float]) -> Box:
    """A line along an axis, as wide as labels keep away from it.

    >>> line((0, 5), (9, 5))
    Box(left=-1, bottom=4, right=10, top=6)
    """
    (x0, y0), (x1, y1) = start, end
    return Box(min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1)


def places(
    dots: Sequence[Dot], frame: Box, lines: tuple[Box, ...] = (), first: Collection[int] = ()
) -> list[Place | None]:
    """For each dot where its label covers least of what is there; none, where it would cover too much of it.

    Args:
        dots: the dots, each with the size of its label.
        frame: what labels stay in.
        lines: what they keep away from, besides dots and each other.
        first: the dots whose labels are placed before the others.

    >>> places([Dot(0, 0, 2, 30, 8), Dot(0, 9, 2, 30, 8)], Box(-100, -100, 100, 100))
    [((0, -1), 0.0), ((0, 1), 0.0)]
    >>> places([Dot(0, 0, 2, 30, 8)], Box(-9, -9, 9, 9))
    [None]
    """
    chosen: list[Place | None] = [None] * len(dots)
    placed: list[Box] = []
    # From the right, where the largest are.
    for i in sorted(range(len(dots)), key=lambda i: (i not in first, -dots[i].x)):
        dot, others = dots[i], [other for j, other in enumerate(dots) if j != i]
        # A line is thin, and yet crosses a word out.
        in_the_way = [*(other.box for other in others), *lines * 6, *placed]

        def covered(
            place: Place, dot: Dot = dot, others: Iterable[Dot] = others, in_the_way: Iterable[Box] = in_the_way
        ) -> float:
            box = dot.label(place)
            outside = dot.width * dot.height - box.overlap(frame)
            # Beside another dot it would be taken for that one's. Dots that cover each other share what is beside them.
            nearer = [other for other in others if box.distance(other) < box.distance(dot)]
            strays = any(not other.box.overlap(dot.box) for other in nearer) or ROOM / 2 * bool(nearer)
            found = 2 * outside + sum(map(box.overlap, in_the_way)) + strays * dot.width * dot.height
            return round(found, 3)  # of places that are as good the first one, whatever a float's last digit

        best = min(PLACES, key=covered)
        if covered(best) <= ROOM * dot.width * dot.height:
            chosen[i] = best
            placed.append(dot.label(best))
    return chosen
