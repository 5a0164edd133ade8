"""What every position of a tensor sees of one input axis, as tables of intervals, and how paths meet.

A table holds, for each element of a tensor, the first and the last input position that can influence it. The hull of a
union is the hull of the hulls, so a table is composed through an op's taps exactly, gaps and channels included. A
dimension along which a table is constant has length 1 in it: a plain convolutional network's tables are vectors.

Two kinds of table: the *real* one, in which positions outside a tensor do not exist, and the *nominal* one of the
literature, in which the network goes on past every border, so that windows reach into the padding. The latter needs
to know by what law a table goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from math import lcm, prod
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Table: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Shape: TypeAlias = tuple[int, ...]

NOTHING = 1 << 62
"""``low`` of an element that sees nothing of the axis; its ``high`` is minus that. An empty interval has low > high."""


@dataclass(frozen=True, slots=True)
class Law:
    """How a table moves along one dimension: ``table[i + period] = table[i] + period * stride``."""

    stride: Fraction
    """Input positions from one position to the next, on average."""
    period: int | None = None
    """``None``: there is no such law, so the table does not go on past its border."""


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """What the elements of one tensor see of one input axis along paths of one kind."""

    low: Table
    high: Table
    carriers: Mapping[int, Law]
    """The dimensions that hold the axis: along them the interval moves."""
    kind: Literal["local", "reduced", "mixed"] = "local"
    """``local``: each position has its own interval. ``reduced``: the axis was summed up into one value, which is the
    same everywhere. ``mixed``: each position has its own value, that sees the whole axis (attention, a dense layer)."""
    fitted: bool = False
    """Whether a window on the way is a share of the input's size (adaptive pooling)."""
    notes: frozenset[str] = frozenset()


Arms: TypeAlias = tuple[Arm, ...]
Value: TypeAlias = tuple[Arms, ...]
"""The arms of each input axis; no arms: nothing is seen."""


def axis_itself(length: int, dim: int, rank: int) -> Arm:
    """The input's own table: each position sees itself."""
    table = np.arange(length, dtype=np.int64).reshape([length if d == dim else 1 for d in range(rank)])
    return Arm(table, table, {dim: Law(Fraction(1), 1)})


def compressed(arm: Arm, dims: Iterable[int]) -> Arm:
    """The arm with those of ``dims`` along which it is constant shrunk to length 1."""
    low, high = arm.low, arm.high
    for d in dims:
        if low.shape[d] > 1:
            first = (slice(None),) * d + (slice(0, 1),)
            if (low == low[first]).all() and (high == high[first]).all():
                low, high = low[first], high[first]
    return arm if low is arm.low else replace(arm, low=low, high=high)


# -- where paths meet ----------------------------------------------------------------------------------------------


def union(arms: Iterable[Arm], *, real: bool) -> Arms:
    """The arms of a value that several paths lead to; those that can be told in one table are."""
    met: list[Arm] = []
    for arm in arms:
        for i, other in enumerate(met):
            joined = _joined(other, arm, real)
            if joined is not None:
                met[i] = joined
                break
        else:
            met.append(arm)
    return tuple(met)


def _joined(a: Arm, b: Arm, real: bool) -> Arm | None:
    """Both arms as one, if one table can tell both."""
    if a.kind != b.kind:
        return None
    if a.low is b.low and a.high is b.high and a.carriers == b.carriers:
        return a if a.notes >= b.notes else replace(a, notes=a.notes | b.notes)
    shape = np.broadcast_shapes(a.low.shape, b.low.shape)
    if prod(shape) > max(a.low.size, b.low.size):
        return None
    carriers, notes = {**a.carriers, **b.carriers}, a.notes | b.notes
    if a.kind == "local" and not real:
        for d in carriers:
            law = _common(a.carriers.get(d), b.carriers.get(d), shape[d])
            if law is None:
                return None
            carriers[d] = law
        if a.carriers.keys() == b.carriers.keys() and not _concentric(a, b):
            notes |= {"where branches join, their centres differ: the field is their union"}
    return Arm(
        np.minimum(a.low, b.low), np.maximum(a.high, b.high), carriers, a.kind, a.fitted or b.fitted, notes
    )  # fmt: skip


def _common(a: Law | None, b: Law | None, length: int) -> Law | None:
    """By what law the union of two tables moves along a dimension; ``None`` where no one law tells of both."""
    if a is None or b is None:
        return Law((a or b or Law(Fraction(0))).stride)
    if a.stride != b.stride or (a.period is None) != (b.period is None):
        return None
    if a.period == b.period or a.period is None or b.period is None:
        return a
    period = lcm(a.period, b.period)
    return Law(a.stride, period) if period <= length else None


def _concentric(a: Arm, b: Arm) -> bool:
    """Whether both see about the same centre at every position that both are told for."""
    (low_a, high_a), (low_b, high_b) = along_carriers(a), along_carriers(b)
    both = (low_a <= high_a) & (low_b <= high_b)
    return bool((~both | (low_a + high_a == low_b + high_b)).all())


def along_carriers(arm: Arm) -> tuple[Table, Table]:
    """The tables with every other dimension joined: channels together see what each of them sees."""
    others = tuple(d for d, n in enumerate(arm.low.shape) if d not in arm.carriers and n > 1)
    if not others:
        return arm.low, arm.high
    return arm.low.min(axis=others, keepdims=True), arm.high.max(axis=others, keepdims=True)


def hull(tables: Iterable[tuple[Table, Table]]) -> tuple[Table, Table]:
    """The union of several tables."""
    pairs = list(tables)
    return reduce(np.minimum, (low for low, _ in pairs)), reduce(np.maximum, (high for _, high in pairs))
