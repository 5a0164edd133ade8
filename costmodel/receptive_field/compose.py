"""Composes the paths of an op's argument with the op's access map: the paths of its output through that argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import Any, TypeGuard

import numpy as np

from costmodel.access import (
    Adaptive,
    Affine,
    All,
    AxisMap,
    Fixed,
    GridAxis,
    Reflected,
    Rolled,
    Slice,
    Sparse,
    Statistic,
    Wrapped,
)
from costmodel.receptive_field.paths import (
    EMPTY,
    Mask,
    Path,
    Paths,
    Periodicity,
    Shape,
    Table,
    TooLargeError,
    collapse,
    require_room,
)
from costmodel.records import dataclass

# -- one dimension -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Gather:
    """The input positions ``index[o, k]``, where ``valid[o, k]``, that output position ``o`` depends on."""

    index: Table
    valid: Mask | None
    inside: Mask | None
    """Which of the positions lie in the input; ``None`` for all."""
    nonempty: Mask | None
    """Which output positions depend on any input position; ``None`` for all."""
    piece: slice | None
    """The positions as a slice, where each output position has one and all lie in the input."""
    placed: tuple[slice, slice] | None
    """Where each output position has one and only a run of them lies in the input (padding, a piece): the run, and
    where in the input."""


@lru_cache(maxsize=4096)
def _gather_plan(axis_map: Affine | Rolled, n_in: int, n_out: int, real: bool) -> _Gather:
    require_room(n_out)
    out = np.arange(n_out, dtype=np.int64)
    valid: Mask | None = None
    if isinstance(axis_map, Rolled):
        index = (out - axis_map.shift)[:, None]
        if real or not isinstance(axis_map, Wrapped):
            index = index % axis_map.length
    else:
        if isinstance(axis_map, GridAxis):
            out = out // axis_map.inner % axis_map.length
        slope, first, last = Fraction(axis_map.slope), Fraction(axis_map.first), Fraction(axis_map.last)
        scale = lcm(slope.denominator, first.denominator, last.denominator)
        low = axis_map.unit * ((int(slope * scale) * out + int(first * scale)) // scale)
        high = axis_map.unit * ((int(slope * scale) * out + int(last * scale)) // scale + 1) - 1
        width = max(int((high - low).max(initial=0)) // axis_map.step + 1, 1)
        require_room(n_out, width)
        index = low[:, None] + axis_map.step * np.arange(width, dtype=np.int64)
        valid = index <= high[:, None]
        if isinstance(axis_map, Sparse):
            valid &= (out[:, None] + axis_map.offset - axis_map.spread * index) % axis_map.modulus == 0
        if isinstance(axis_map, Reflected) and real:
            index = np.clip(index, 0, n_in - 1) if axis_map.repeats_edge else _mirrored(index, n_in)
        if valid.all():
            valid = None
    within: Mask = (index >= 0) & (index < n_in)
    inside = None if within.all() else within
    used = valid
    if inside is not None and (real or isinstance(axis_map, Slice)):
        used = inside if valid is None else valid & inside
    nonempty: Mask | None = None if used is None or used.any(axis=1).all() else np.asarray(used.any(axis=1))
    piece = _as_slice(index) if valid is None and inside is None else None
    placed = _as_run(index, inside) if valid is None and inside is not None else None
    return _Gather(index, valid, inside, nonempty, piece, placed)


def _as_slice(index: Table) -> slice | None:
    n, width = index.shape
    if n == 0 or width > 1:
        return None
    first, last = int(index[0, 0]), int(index[-1, 0])
    step = max((last - first) // max(n - 1, 1), 1)
    return slice(first, last + 1, step) if index[:, 0].tolist() == list(range(first, last + 1, step)) else None


def _as_run(index: Table, inside: Mask) -> tuple[slice, slice] | None:
    (run,) = np.nonzero(inside[:, 0])
    if index.shape[1] > 1 or len(run) == 0 or not (np.diff(index[:, 0]) == 1).all():
        return None
    first, at = int(run[0]), int(index[run[0], 0])
    return slice(first, first + len(run)), slice(at, at + len(run))


def _mirrored(index: Table, n: int) -> Table:
    folded = np.abs(index) % max(2 * (n - 1), 1)
    mirrored: Table = np.minimum(folded, 2 * (n - 1) - folded)
    return mirrored


def _gather(
    low: Table,
    high: Table,
    periodicity: Periodicity | None,
    d: int,
    axis_map: Affine | Rolled,
    n_in: int,
    n_out: int,
    real: bool,
) -> tuple[Table, Table]:
    """Replaces dimension ``d`` of a path's tables by the output dimension ``axis_map.dim``, in the same place."""
    period = None if periodicity is None or isinstance(axis_map, Slice) else periodicity.period
    if period is not None and period > n_in:
        period = None
    if not real and period is None and isinstance(axis_map, (Wrapped, Reflected)):
        real = True
    plan = _gather_plan(axis_map, n_in, n_out, real)
    index, valid, rise = plan.index, plan.valid, None
    if plan.inside is None and valid is None and plan.piece is not None:
        at = (*(slice(None),) * d, plan.piece)
        return low[at], high[at]
    if plan.placed is not None and (real or periodicity is None or period is None):
        return _place(low, d, n_out, *plan.placed, EMPTY), _place(high, d, n_out, *plan.placed, -EMPTY)
    if plan.inside is not None:
        if real or periodicity is None or period is None:
            valid = plan.inside if valid is None else valid & plan.inside
            index = np.clip(index, 0, n_in - 1)
        else:
            rise = np.where(plan.inside, 0, index // period * int(period * periodicity.stride))
            index = np.where(plan.inside, index, index % period)
    require_room(index.size, low.size // low.shape[d])
    aligned = (*index.shape, *(1,) * (low.ndim - d - 1))
    outside = None if valid is None else ~valid.reshape(aligned)

    def gather(table: Table, empty: int, hull: Any) -> Table:
        taken = table.take(index, axis=d)
        if rise is not None:
            taken += rise.reshape(aligned)
        if outside is not None:
            np.copyto(taken, empty, where=outside)
        result: Table = taken.squeeze(d + 1) if taken.shape[d + 1] == 1 else hull(taken, axis=d + 1)
        return result

    if low is high and outside is None and index.shape[1] == 1:
        low = high = gather(low, EMPTY, np.min)
        return low, high
    return gather(low, EMPTY, np.min), gather(high, -EMPTY, np.max)


def _place(table: Table, d: int, n_out: int, run: slice, at: slice, empty: int) -> Table:
    """A run of the table's positions along dimension ``d``, with nothing around it: half the time of ``take``."""
    require_room(n_out, table.size // table.shape[d])
    before = (slice(None),) * d
    placed: Table = np.full((*table.shape[:d], n_out, *table.shape[d + 1 :]), empty, np.int64)
    placed[*before, run] = table[*before, at]
    return placed


def _periodicity_after(periodicity: Periodicity, axis_map: Affine | Rolled, n_in: int, n_out: int) -> Periodicity:
    """The periodicity along an axis dimension after ``axis_map``."""
    if isinstance(axis_map, Rolled):
        stays = isinstance(axis_map, Wrapped) or (axis_map.shift % n_in == 0 and n_in == n_out)
        return periodicity if stays else Periodicity(periodicity.stride)
    slope = Fraction(axis_map.slope)
    if periodicity.period is None or isinstance(axis_map, (Slice, GridAxis)) or axis_map.unit != 1 or slope == 0:
        return Periodicity(periodicity.stride * slope)
    # Every ``slope.denominator`` outputs the map advances by ``slope.numerator`` inputs; after how many such advances
    # is the sum a multiple of the path's period?
    phase = slope.denominator * axis_map.modulus if isinstance(axis_map, Sparse) else slope.denominator
    moved = abs(slope * phase)
    return Periodicity(periodicity.stride * slope, phase * (lcm(periodicity.period, int(moved)) // int(moved)))


# -- one op --------------------------------------------------------------------------------------------------------


def compose(
    paths: Paths, axis_maps: Sequence[AxisMap], shape: Shape, out: Shape, *, real: bool, uniform: bool
) -> list[Path]:
    """The paths of an output along one axis through an argument of ``shape`` that has ``paths``.

    ``uniform``: whether the result is the same at every output position where the axis is summed up.
    """
    result: list[Path] = []
    for path in paths:
        try:
            result += _compose_one(path, axis_maps, shape, out, real, uniform)
        except TooLargeError:
            result.append(collapse(path, len(out)))
    return result


def _compose_one(
    path: Path, axis_maps: Sequence[AxisMap], shape: Shape, out: Shape, real: bool, uniform: bool
) -> list[Path]:
    statistics = {d for d, m in enumerate(axis_maps) if isinstance(m, Statistic)}
    if path.axis_dims and path.axis_dims.keys() <= statistics:
        # One path through the element itself, another through the statistic over all elements.
        elementwise = [Affine(m.dim) if isinstance(m, Statistic) else m for m in axis_maps]
        statistic = [All() if isinstance(m, Statistic) else m for m in axis_maps]
        return [
            _compose_path(path, elementwise, shape, out, real),
            replace(_compose_path(path, statistic, shape, out, real), kind="reduced"),
        ]
    composed = _compose_path(path, axis_maps, shape, out, real)
    if any(isinstance(axis_maps[d], All) for d in path.axis_dims):
        if not composed.axis_dims:
            composed = replace(composed, kind="reduced" if uniform else "mixed")
        elif _spans(path, axis_maps, shape, out):
            composed = replace(composed, kind="mixed", axis_dims={})
    return [composed]


def _spans(path: Path, axis_maps: Sequence[AxisMap], shape: Shape, out: Shape) -> bool:
    """Whether a sum over some of the axis dimensions spans most of the axis, for every output position.

    A sum within windows does not, as windows lie side by side. A sum over every n-th position (grid attention) does.
    """
    middle = path.low + path.high
    spread = _compose_path(replace(path, low=middle, high=middle), axis_maps, shape, out, real=True)
    shared = int(spread.high.min()) - int(spread.low.max())
    return 2 * shared > int(middle.max()) - int(middle.min())


@dataclass(frozen=True, slots=True, eq=False)
class _Alignment:
    """What composing paths with an op's axis maps takes that is the same for all paths."""

    dims: tuple[tuple[int, AxisMap, bool], ...]
    """Each dimension of the argument, its map, and whether an output dimension follows it one to one."""
    source: Mapping[int, int]
    """The argument's dimension that each output dimension follows."""
    order: tuple[int, ...] | None
    """The argument's dimensions in the order of the output's; ``None`` where they are in it."""


@lru_cache(maxsize=4096)
def _alignment(axis_maps: tuple[AxisMap, ...], shape: Shape, out: Shape, axis_dims: frozenset[int]) -> _Alignment:
    """``axis_dims``: the dimensions to follow where several lead to one of the output."""
    source: dict[int, int] = {}
    for d, axis_map in enumerate(axis_maps):
        if isinstance(axis_map, (Affine, Rolled)) and (axis_map.dim not in source or d in axis_dims):
            source[axis_map.dim] = d
    order = [source[e] for e in sorted(source)]
    order += [d for d in range(len(shape)) if d not in order]
    dims = tuple(
        (d, m if not isinstance(m, (Affine, Rolled)) or source[m.dim] == d else All(),
         isinstance(m, Affine) and source[m.dim] == d and is_identity_axis(m, shape[d], out[m.dim]))
        for d, m in enumerate(axis_maps)
    )  # fmt: skip
    return _Alignment(dims, source, None if order == sorted(order) else tuple(order))


def _compose_path(path: Path, axis_maps: Sequence[AxisMap], shape: Shape, out: Shape, real: bool) -> Path:
    aligned = _alignment(tuple(axis_maps), shape, out, frozenset(path.axis_dims))
    low, high, adaptive = path.low, path.high, path.adaptive
    axis_dims: dict[int, Periodicity] = {}
    for d, axis_map, is_unchanged in aligned.dims:
        if isinstance(axis_map, (Affine, Rolled)):
            periodicity = path.axis_dims.get(d)
            if is_unchanged:
                if periodicity is not None:
                    axis_dims[axis_map.dim] = periodicity
                continue
            n, n_out = shape[d], out[axis_map.dim]
            if periodicity is not None:
                adaptive |= isinstance(axis_map, Adaptive)
                axis_dims[axis_map.dim] = _periodicity_after(periodicity, axis_map, n, n_out)
            if low.shape[d] > 1 or (n == 1 and periodicity is not None):
                low, high = _gather(low, high, periodicity, d, axis_map, n, n_out, real)
            elif (nonempty := _gather_plan(axis_map, n, n_out, real).nonempty) is not None:
                require_room(n_out, low.size)
                mask = nonempty.reshape([-1, *(1,) * (low.ndim - d - 1)])
                low, high = np.where(mask, low, EMPTY), np.where(mask, high, -EMPTY)
        elif low.shape[d] > 1:
            if isinstance(axis_map, Fixed):
                cut = (*(slice(None),) * d, slice(axis_map.index, axis_map.index + 1))
                low, high = low[cut], high[cut]
            else:
                low, high = low.min(axis=d, keepdims=True), high.max(axis=d, keepdims=True)
    source = aligned.source
    sizes = tuple(low.shape[source[e]] if e in source else 1 for e in range(len(out)))
    if aligned.order is not None:
        low, high = low.transpose(aligned.order), high.transpose(aligned.order)
    if sizes != low.shape:
        low, high = low.reshape(sizes), high.reshape(sizes)
    return Path(low, high, axis_dims, path.kind, adaptive, path.notes)


def is_identity_axis(axis_map: AxisMap, n_in: int, n_out: int) -> TypeGuard[Affine]:
    """Whether every position of the output dimension depends on the same position of the input dimension alone."""
    return (
        type(axis_map) is Affine
        and n_in == n_out
        and axis_map.slope == 1
        and axis_map.first == 0
        and axis_map.last == 0
        and axis_map.unit == 1
    )


def is_identity(axis_maps: Sequence[AxisMap], shape: Shape, out: Shape) -> bool:
    """Whether every output element depends on the argument's element at its own place alone."""
    return shape == out and all(
        isinstance(axis_map, Affine) and axis_map.dim == d and is_identity_axis(axis_map, n, n)
        for d, (axis_map, n) in enumerate(zip(axis_maps, shape, strict=True))
    )
