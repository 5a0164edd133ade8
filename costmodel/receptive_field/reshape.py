"""Reshapes a field: the same elements in the same row-major order, under another shape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np

from costmodel.receptive_field.paths import (
    Field,
    Path,
    Periodicity,
    Shape,
    Table,
    TooLargeError,
    collapse,
    compress_tables,
    require_room,
)


def groups(shape: Shape, out: Shape) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Splits the dimensions of two shapes of equal size into the smallest groups that hold the same elements.

    >>> groups((2, 3, 8, 8), (2, 3, 64))
    (((0,), (0,)), ((1,), (1,)), ((2, 3), (2,)))
    """
    if 0 in shape:
        return ((tuple(range(len(shape))), tuple(range(len(out)))),)
    found = []
    i = j = 0
    while i < len(shape) or j < len(out):
        i0, j0 = i, j
        left, right = prod(shape[i : i + 1]), prod(out[j : j + 1])
        i, j = min(i + 1, len(shape)), min(j + 1, len(out))
        while left != right:
            if left < right:
                left, i = left * shape[i], i + 1
            else:
                right, j = right * out[j], j + 1
        found.append((tuple(range(i0, i)), tuple(range(j0, j))))
    return tuple(found)


@lru_cache(maxsize=4096)
def _parts(shape: Shape, out: Shape) -> tuple[tuple[tuple[int, ...], tuple[int, ...], bool], ...]:
    """The groups, each with whether it is a single dimension before and after, those of length 1 apart."""
    return tuple(
        (before, after, sum(shape[d] > 1 for d in before) == sum(out[e] > 1 for e in after) == 1)
        for before, after in groups(shape, out)
    )


def reshape_field(field: Field, shape: Shape, out: Shape, *, real: bool) -> Field:
    """The field of a tensor of ``shape``, read as a tensor of shape ``out``."""
    try:
        reshaped = [tuple(_reshape_tables(path, shape, out) for path in paths) for paths in field]
    except TooLargeError:
        return tuple(tuple(collapse(path, len(out)) for path in paths) for paths in field)
    before = [frozenset(d for path in paths for d in path.axis_dims) for paths in field]
    after = [frozenset(d for low, _ in tables for d, n in enumerate(low.shape) if n > 1) for tables in reshaped]
    return tuple(
        tuple(
            _with_axis_dims(path, new, shape, out, _union_without(before, i), _union_without(after, i), real)
            for path, new in zip(field[i], reshaped[i], strict=True)
        )
        for i in range(len(field))
    )


def _union_without(dims: Sequence[frozenset[int]], axis: int) -> frozenset[int]:
    return frozenset().union(*dims[:axis], *dims[axis + 1 :])


def _reshape_tables(path: Path, shape: Shape, out: Shape) -> tuple[Table, Table]:
    """The path's tables under the new shape."""
    if path.low.size == 1:
        alone = (1,) * len(out)
        return path.low.reshape(alone), path.high.reshape(alone)
    # Shrunk first, as a table of all windows of a large tensor would take gigabytes.
    low, high = compress_tables(path.low, path.high, _regrouped(shape, out))
    full, sizes, regrouped = _sizes(shape, out, low.shape)
    require_room(*full)
    if full != low.shape:
        low, high = np.broadcast_to(low, full), np.broadcast_to(high, full)
    return compress_tables(low.reshape(sizes), high.reshape(sizes), regrouped)


@lru_cache(maxsize=4096)
def _regrouped(shape: Shape, out: Shape) -> tuple[int, ...]:
    """The dimensions that are split, or joined with others."""
    return tuple(d for before, _, is_one in _parts(shape, out) if not is_one for d in before)


@lru_cache(maxsize=4096)
def _sizes(shape: Shape, out: Shape, table: Shape) -> tuple[Shape, Shape, Shape]:
    """What a table is spread out to, its shape after that, and the output dimensions with new neighbours in it."""
    full: list[int] = []
    sizes: list[int] = []
    regrouped: list[int] = []
    for before, after, is_one in _parts(shape, out):
        varies = any(table[d] > 1 for d in before)
        full += [shape[d] if varies else 1 for d in before]
        sizes += [out[e] if varies else 1 for e in after]
        if varies and not is_one:
            regrouped += after
    return tuple(full), tuple(sizes), tuple(regrouped)


def _with_axis_dims(
    path: Path,
    tables: tuple[Table, Table],
    shape: Shape,
    out: Shape,
    others: frozenset[int],
    others_after: frozenset[int],
    real: bool,
) -> Path:
    """The path with its reshaped ``tables``.

    ``others`` and ``others_after`` are the dimensions that hold the other axes, before and after the reshape.
    """
    low, high = tables
    axis_dims: dict[int, Periodicity] = {}
    for before, after, is_one in _parts(shape, out) if path.axis_dims else ():
        held = [d for d in before if d in path.axis_dims]
        if not held:
            continue
        if is_one:
            (e,) = (e for e in after if out[e] > 1)
            axis_dims[e] = path.axis_dims[max(held, key=lambda d: shape[d])]
            continue
        # Where one dimension holds rows and columns (tokens), a step along rows does not pass through the columns.
        last = held[-1]
        stride = path.axis_dims[last].stride / prod(shape[d] for d in before if d > last and d not in others)
        inner = 1
        for e in reversed(after):
            if out[e] > 1:
                axis_dims[e] = Periodicity(stride * inner)
            inner *= 1 if e in others_after and low.shape[e] == 1 else out[e]
    moving = {e: periodicity for e, periodicity in axis_dims.items() if out[e] == 1 or low.shape[e] > 1}
    if axis_dims and not moving:
        # Every position depends on the same interval: window by window, the whole axis has been mixed.
        return Path(low, high, {}, "mixed", path.adaptive, path.notes)
    if not real:
        moving = {e: _detect_period(tables, e, periodicity) for e, periodicity in moving.items()}
    return Path(low, high, moving, path.kind, path.adaptive, path.notes)


def _detect_period(tables: tuple[Table, Table], dim: int, periodicity: Periodicity) -> Periodicity:
    """The periodicity with the period read off the tables, if they have one along the dimension."""
    if periodicity.period is not None:
        return periodicity
    above, below = periodicity.stride.as_integer_ratio()
    n = tables[0].shape[dim]
    periods = range(below, min(n // 2, 64) + 1, below)  # others times the stride are no whole number of positions
    if not periods:
        return periodicity
    # Columns at both ends first: tables of windows have a million.
    columns = (
        table[*(end,) * dim, :, *(end,) * (table.ndim - dim - 1)].tolist() for table in tables for end in (0, -1)
    )
    rise = {period: period // below * above for period in periods}
    for column in columns:
        rise = {p: r for p, r in rise.items() if all(column[i + p] - column[i] == r for i in range(n - p))}
        if not rise:
            return periodicity
    along = [np.moveaxis(table, dim, 0) for table in tables]
    for period, by in rise.items():
        if all((t[period:] - t[:-period] == by).all() for t in along):
            return Periodicity(periodicity.stride, period)
    return periodicity
