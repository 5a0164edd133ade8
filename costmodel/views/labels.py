"""Where the labels of a scatter plot go, so that they overlap neither each other nor the dots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


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

    def gap(self, side: tuple[int, int]) -> float:
        """How far from its centre, along each axis, the label begins at a side."""
        return self.radius * (0.75 if all(side) else 1) + 2

    def label(self, side: tuple[int, int]) -> Box:
        """The rectangle of its label at a side."""
        x, y = side
        gap = self.gap(side)
        left = self.x + x * gap - self.width * (1 - x) / 2
        bottom = self.y + y * gap - self.height * (1 - y) / 2
        return Box(left, bottom, left + self.width, bottom + self.height)


def sides(dots: Sequence[Dot], frame: Box) -> list[tuple[int, int]]:
    """For each dot the side at which its label covers least of what is there, and leaves the frame least.

    >>> sides([Dot(0, 0, 2, 30, 8), Dot(0, 9, 2, 30, 8)], Box(-100, -100, 100, 100))
    [(0, -1), (0, 1)]
    """
    chosen: dict[int, tuple[int, int]] = {}
    placed: list[Box] = []
    # From the right, where the largest are.
    for i in sorted(range(len(dots)), key=lambda i: -dots[i].x):
        dot = dots[i]
        others = [other.box for j, other in enumerate(dots) if j != i]

        def cost(side: tuple[int, int], dot: Dot = dot, others: Iterable[Box] = others) -> float:
            box = dot.label(side)
            outside = dot.width * dot.height - box.overlap(frame)
            return 4 * outside + 2 * sum(map(box.overlap, placed)) + sum(map(box.overlap, others))

        chosen[i] = min(SIDES, key=cost)
        placed.append(dot.label(chosen[i]))
    return [chosen[i] for i in range(len(dots))]
