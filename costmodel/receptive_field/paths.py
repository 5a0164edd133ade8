"""Intervals of one input axis that each element of a tensor depends on, and how paths from the input merge.

A ``Path`` has two tables: for each element of a tensor, the first and the last input position that can influence it.
The hull of a union is the hull of the hulls, so composing a table with an op's access map loses nothing, whatever
channels or gaps lie between. A dimension along which a table is constant has length 1 in it: the tables of a plain
convolutional network are vectors.

Tables come in two kinds. In a *real* one, positions outside a tensor do not exist. In a *nominal* one, as in the
literature, every tensor is extended past its borders, so that windows reach into the padding: this takes a table that
is periodic up to a linear term, and ``Periodicity`` says how.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from math import lcm, prod
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from costmodel.records import dataclass

if TYPE_CHECKING:
    import numpy.typing as npt

Table: TypeAlias = "npt.NDArray[np.int64]"
Mask: TypeAlias = "npt.NDArray[np.bool_]"
Shape: TypeAlias = tuple[int, ...]

EMPTY = 1 << 62
"""``low`` of an element that depends on no position of the axis; its ``high`` is ``-EMPTY``, so that low > high."""

MAX_ENTRIES = 1 << 26
"""Of one table: half a gigabyte."""

_COLLAPSED = f"tables of more than {MAX_ENTRIES:,} entries are not made: the output is taken to see everything"

_MAX_PATHS = 8
"""Where a tensor has more paths from one axis, those that differ in their average stride alone are merged. Otherwise
attention over windows or pooled tokens would double their number in every layer."""


@dataclass(frozen=True, slots=True)
class Periodicity:
    """How a table grows along one dimension: ``table[i + period] = table[i] + period * stride``."""

    stride: Fraction
    """Input positions per position, on average."""
    period: int | None = None
    """``None`` where the table is not periodic: then it ends at the tensor's border."""


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """The input positions that the elements of one tensor depend on, along one axis and through paths of one kind."""

    low: Table
    high: Table
    axis_dims: Mapping[int, Periodicity]
    """The dimensions of the tensor along which the interval moves."""
    kind: Literal["local", "reduced", "mixed"] = "local"
    """``local``: each position has an interval of its own. ``reduced``: the axis was summed up into one value, the same
    at every position. ``mixed``: each position has a value of its own that depends on the whole axis (attention, a
    dense layer)."""
    adaptive: bool = False
    """Whether a window along the path is a share of the input's size (adaptive pooling)."""
    notes: frozenset[str] = frozenset()


Paths: TypeAlias = tuple[Path, ...]
Field: TypeAlias = tuple[Paths, ...]
"""What a tensor depends on: its paths from each input axis, none where it does not depend on the axis."""


def axis_itself(length: int, dim: int, rank: int) -> Path:
    """The path of the input to itself: each position depends on itself."""
    table = np.arange(length, dtype=np.int64).reshape([length if d == dim else 1 for d in range(rank)])
    return Path(table, table, {dim: Periodicity(Fraction(1), 1)})


class TooLargeError(Exception):
    """A table would have more than ``MAX_ENTRIES`` entries."""


def require_room(*sizes: int) -> None:
    """Raises ``TooLargeError`` if a table of these sizes would be too large."""
    if prod(sizes) > MAX_ENTRIES:
        raise TooLargeError


def collapse(path: Path, rank: int) -> Path:
    """An upper bound of the path for every element of a tensor: the positions that any element depends on."""
    low, high = (np.full((1,) * rank, bound, np.int64) for bound in (path.low.min(), path.high.max()))
    return Path(low, high, {}, "mixed", path.adaptive, path.notes | {_COLLAPSED})


def compress(path: Path, dims: Iterable[int]) -> Path:
    """Shrinks those of ``dims`` along which the tables are constant to length 1."""
    low, high = compress_tables(path.low, path.high, dims)
    return path if low is path.low else replace(path, low=low, high=high)


def compress_tables(low: Table, high: Table, dims: Iterable[int]) -> tuple[Table, Table]:
    """``compress`` of a path's tables."""
    for d in dims:
        if low.shape[d] > 1 and _may_be_constant(low, d) and _may_be_constant(high, d):
            first = (slice(None),) * d + (slice(0, 1),)
            if (low == low[first]).all() and (high == high[first]).all():
                low, high = low[first], high[first]
    return low, high


def _may_be_constant(table: Table, d: int) -> bool:
    """A look at few entries: tables of windows have a million, and nearly always two differ that are seen at once."""
    if table[(0,) * d + (-1,) + (0,) * (table.ndim - d - 1)] != table.item(0):
        return False
    if table.size < 1 << 12:
        return True
    middle = [n // 2 for n in table.shape]
    line = table[*middle[:d], :, *middle[d + 1 :]]
    return bool((line == line[0]).all())


def is_same(a: Path, b: Path) -> bool:
    """Whether two paths are equal in all they have."""
    return (
        (a.kind, a.adaptive, a.notes, a.axis_dims) == (b.kind, b.adaptive, b.notes, b.axis_dims)
        and np.array_equal(a.low, b.low)
        and np.array_equal(a.high, b.high)
    )


# -- merging paths -------------------------------------------------------------------------------------------------


def union(paths: Iterable[Path], *, real: bool) -> Paths:
    """The paths of a tensor that several paths lead to, merged where one table holds two of them exactly."""
    merged = _merged(paths, real, any_stride=False)
    if len(merged) > _MAX_PATHS:
        merged = _merged(merged, real, any_stride=True)
    return tuple(merged)


def _merged(paths: Iterable[Path], real: bool, any_stride: bool) -> list[Path]:
    merged: list[Path] = []
    for path in paths:
        for i, other in enumerate(merged):
            both = merge(other, path, real=real, any_stride=any_stride)
            if both is not None:
                merged[i] = both
                break
        else:
            merged.append(path)
    return merged


def merge(a: Path, b: Path, *, real: bool, any_stride: bool = False) -> Path | None:
    """Both paths as one, or ``None`` where one table cannot hold both.

    ``any_stride``: merge tables without periods even if their average strides differ; the larger one stays.
    """
    if a.kind != b.kind:
        return None
    if a.low is b.low and a.high is b.high and a.axis_dims == b.axis_dims:
        return a if a.notes >= b.notes else replace(a, notes=a.notes | b.notes)
    shape = a.low.shape
    if shape != b.low.shape:
        shape = np.broadcast_shapes(shape, b.low.shape)
        if prod(shape) > max(a.low.size, b.low.size):
            return None
    axis_dims, notes = {**a.axis_dims, **b.axis_dims}, a.notes | b.notes
    if a.kind == "local" and not real:
        same_dims = a.axis_dims.keys() == b.axis_dims.keys()
        for d in axis_dims:
            periodicity = _common_periodicity(a.axis_dims.get(d), b.axis_dims.get(d), shape[d])
            if periodicity is None and same_dims and any_stride:
                periodicity = _larger_stride(a.axis_dims[d], b.axis_dims[d])
                notes |= {"branches of different strides join: the field is their union, the stride the largest"}
            if periodicity is None:
                return None
            axis_dims[d] = periodicity
        if same_dims and not _concentric(a, b):
            notes |= {"where branches join, their centres differ: the field is their union"}
    return Path(
        np.minimum(a.low, b.low), np.maximum(a.high, b.high), axis_dims, a.kind, a.adaptive or b.adaptive, notes
    )  # fmt: skip


def _common_periodicity(a: Periodicity | None, b: Periodicity | None, length: int) -> Periodicity | None:
    """The periodicity of the union of two tables along a dimension, or ``None`` where none describes both."""
    if a is None or b is None:
        return Periodicity((a or b or Periodicity(Fraction(0))).stride)
    if a.stride != b.stride or (a.period is None) != (b.period is None):
        return None
    if a.period == b.period or a.period is None or b.period is None:
        return a
    period = lcm(a.period, b.period)
    return Periodicity(a.stride, period) if period <= length else None


def _larger_stride(a: Periodicity, b: Periodicity) -> Periodicity | None:
    """The one with the larger stride, or ``None`` where either has a period."""
    return max(a, b, key=lambda p: abs(p.stride)) if a.period is None and b.period is None else None


def _concentric(a: Path, b: Path) -> bool:
    """Whether the intervals of both have the same centre, wherever neither is empty."""
    (low_a, high_a), (low_b, high_b) = project_to_axis_dims(a), project_to_axis_dims(b)
    both = (low_a <= high_a) & (low_b <= high_b)
    return bool((~both | (low_a + high_a == low_b + high_b)).all())


def project_to_axis_dims(path: Path) -> tuple[Table, Table]:
    """The tables with every other dimension reduced: channels together depend on what each of them depends on."""
    others = tuple(d for d, n in enumerate(path.low.shape) if d not in path.axis_dims and n > 1)
    if not others:
        return path.low, path.high
    return path.low.min(axis=others, keepdims=True), path.high.max(axis=others, keepdims=True)


def hull(tables: Iterable[tuple[Table, Table]]) -> tuple[Table, Table]:
    """The hull of several tables, element by element."""
    pairs = list(tables)
    return reduce(np.minimum, (low for low, _ in pairs)), reduce(np.maximum, (high for _, high in pairs))
