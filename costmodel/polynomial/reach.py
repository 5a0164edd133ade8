"""How far polynomials hold, up and down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

from costmodel.polynomial.grid import Polynomials
from costmodel.polynomial.samples import Point
from costmodel.polynomial.search import FOLDS, FURTHER, LONGEST_RUN, Axis

_GREATEST = {"batch": 1 << 20, "length": 1 << 17, "resolution": 1 << 13}
"""How far a polynomial is followed, by what the size is guessed to be."""
_FOLD = 16
"""A trace at each so many times larger size shows whether the polynomial still holds, or a loop grows."""


def consecutive(axes: Sequence[Axis], *, is_real: bool) -> Iterator[Point]:
    """Points at which all sizes grow together, one step at a time and then in leaps."""
    in_steps = (tuple(axis.after(steps) for axis in axes) for steps in FURTHER)
    in_leaps = (tuple(axis.after((fold - 1) * axis.first // axis.lattice) for axis in axes) for fold in FOLDS)
    for point in (*in_steps, *in_leaps):
        if not is_real or all(size <= LONGEST_RUN * axis.first for axis, size in zip(axes, point, strict=True)):
            yield point


def reach(found: Polynomials, guesses: Sequence[str]) -> list[Axis]:
    """The axes with the least and the greatest sizes for which the polynomials are those of traces."""
    axes = [
        axis if axis.is_fixed else replace(axis, greatest=_highest(axis, guess, is_real=found.is_real))
        for axis, guess in zip(found.axes, guesses, strict=True)
    ]
    axes = axes if _hold_up_to_the_greatest(found, axes) else [_up(found, axes, i) for i in range(len(axes))]
    axes = [axis if axis.is_fixed else replace(axis, least=axis.lattice) for axis in axes]
    if _hold_at_corners(found, axes):
        return axes
    axes = [_down(found, axes, i) for i in range(len(axes))]
    return _right_together(found, axes, sorted(range(len(axes)), key=lambda i: guesses[i] == "batch"))


def _highest(axis: Axis, guess: str, *, is_real: bool) -> int:
    most = LONGEST_RUN * axis.first if is_real else max(_GREATEST[guess], axis.first)
    return max(axis.greatest, most // axis.lattice * axis.lattice)


def _larger(axis: Axis, times: int) -> int:
    """So many times the first size, at most the greatest."""
    return min(axis.after((times - 1) * axis.first // axis.lattice), axis.greatest)


def _hold_up_to_the_greatest(found: Polynomials, axes: Sequence[Axis]) -> bool:
    """Whether they hold where all sizes grow together; false as soon as a loop grows with one."""
    times, top = _FOLD, tuple(axis.greatest for axis in axes)
    while True:
        point = tuple(_larger(axis, times) for axis in axes)
        if not found.hold_at(point) or (found.has_grown(point) and point != top):
            return False
        if point == top:
            return True
        times *= _FOLD


def _up(found: Polynomials, axes: Sequence[Axis], i: int) -> Axis:
    """One size as far up as they hold, the others being the first."""
    axis = axes[i]
    if axis.is_fixed:
        return axis
    right = _right(found, axes, i)
    times, known = _FOLD, axis.after(axis.degree)
    while known < axis.greatest and not found.has_grown(_with(axes, i, known)):
        further = _larger(axis, times)
        if not right(further // axis.lattice):
            known = axis.lattice * boundary(right, known // axis.lattice, further // axis.lattice)
            break
        known, times = further, times * _FOLD
    return replace(axis, greatest=known)


def _down(found: Polynomials, axes: Sequence[Axis], i: int) -> Axis:
    """One size as far down as they hold, the others being the first."""
    axis = axes[i]
    if axis.is_fixed:
        return axis
    right, first = _right(found, axes, i), axis.first // axis.lattice
    return replace(axis, least=axis.lattice * (1 if first == 1 or right(1) else boundary(right, first, 1)))


def _with(axes: Sequence[Axis], i: int, size: int) -> Point:
    return tuple(size if j == i else axis.first for j, axis in enumerate(axes))


def _right(found: Polynomials, axes: Sequence[Axis], i: int) -> Callable[[int], bool]:
    """Whether they hold at a multiple of one size's lattice, the others being the first."""
    return lambda nth: bool(found.hold_at(_with(axes, i, nth * axes[i].lattice)))


def _right_together(found: Polynomials, axes: list[Axis], raised_first: Sequence[int]) -> list[Axis]:
    """The axes with least sizes at which the polynomials are right together, as they are for each size alone.

    A map of one position and a batch of one, for instance, are special only together.
    """
    for i in raised_first:
        if axes[i].is_fixed or _hold_at_corners(found, axes):
            continue
        raised = partial(_raised, axes, i)
        first, least = (size // axes[i].lattice for size in (axes[i].first, axes[i].least))
        if _hold_at_corners(found, raised(first)):
            axes = raised(boundary(partial(_holds_if, found, raised), first, least))
    return axes


def _raised(axes: Sequence[Axis], i: int, nth: int) -> list[Axis]:
    """The axes, the least of one being another multiple of its lattice."""
    return [replace(axis, least=nth * axis.lattice) if j == i else axis for j, axis in enumerate(axes)]


def _holds_if(found: Polynomials, raised: Callable[[int], list[Axis]], nth: int) -> bool:
    return _hold_at_corners(found, raised(nth))


def _hold_at_corners(found: Polynomials, axes: Sequence[Axis]) -> bool:
    """Whether the polynomials hold where each size is its least or its greatest.

    Of two things that an op may have live, the larger one changes with the ratio of sizes, which is extreme there.
    """
    for point in product(*(dict.fromkeys((axis.least, axis.greatest)) for axis in axes)):
        holds = found.hold_at(point)
        # Each size can be traced up to its greatest, and several great ones may be too much together.
        are_great = sum(size == axis.greatest > axis.first for axis, size in zip(axes, point, strict=True)) > 1
        if holds is False or (holds is None and not are_great):
            return False
    return True


def boundary(right: Callable[[int], bool], inside: int, outside: int) -> int:
    """The last number on the way from ``inside`` to ``outside`` that is right, ``outside`` being none."""
    while abs(inside - outside) > 1:
        middle = (inside + outside) // 2
        if right(middle):
            inside = middle
        else:
            outside = middle
    return inside
