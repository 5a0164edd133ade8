"""What a tensor depends on after an op has written, in place, into a view of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod

import numpy as np

from costmodel.access import AccessMap, Affine, AxisMap, Fixed, Reshaped
from costmodel.receptive_field.paths import EMPTY, Field, Path, Periodicity, Shape, union
from costmodel.receptive_field.reshape import reshape_field

_MAX_ENTRIES = 1 << 18
"""Of a table after a write into a part of a tensor. No other op makes tables as large as the tensor."""
_COARSE = "a write into a part of a large tensor is taken to reach all of it, and to replace nothing"


def overwrite(old: Field, shape: Shape, new: Field, view: Shape, access: AccessMap, real: bool) -> Field:
    """The field of a base of ``shape`` after a write to its view of shape ``view``, whose field is now ``new``."""
    if isinstance(access, Reshaped):
        return reshape_field(new, view, shape, real=real)
    axis_maps = access[""]
    axes = max(len(old), len(new))
    covered: list[slice] = []
    for d, axis_map in enumerate(axis_maps):
        if isinstance(axis_map, Affine) and axis_map.slope >= 1 and axis_map.first == axis_map.last:
            first, step = int(axis_map.first), int(axis_map.slope)
            covered.append(slice(first, first + step * (view[axis_map.dim] - 1) + 1, step))
        elif isinstance(axis_map, Fixed):
            covered.append(slice(axis_map.index, axis_map.index + 1))
        else:
            covered.append(slice(0, shape[d]))
    partial = [d for d, c in enumerate(covered) if len(range(*c.indices(shape[d]))) < shape[d]]
    result = []
    for axis in range(axes):
        paths = [_cut_out(path, shape, covered, partial) for path in (old[axis] if old else ())] if partial else []
        paths += [_scatter(path, axis_maps, shape, covered, partial) for path in (new[axis] if new else ())]
        result.append(union(paths, real=real))
    return tuple(result)


def _cut_out(path: Path, shape: Shape, covered: Sequence[slice], partial: Sequence[int]) -> Path:
    """The base's path without the elements that were overwritten."""
    sizes = tuple(shape[d] if d in partial else n for d, n in enumerate(path.low.shape))
    if prod(sizes) > _MAX_ENTRIES:
        return replace(path, notes=path.notes | {_COARSE})
    low, high = np.broadcast_to(path.low, sizes).copy(), np.broadcast_to(path.high, sizes).copy()
    where = tuple(c if d in partial else slice(None) for d, c in enumerate(covered))
    low[where], high[where] = EMPTY, -EMPTY
    axis_dims = {d: Periodicity(p.stride) if d in partial else p for d, p in path.axis_dims.items()}
    return replace(path, low=low, high=high, axis_dims=axis_dims)


def _scatter(
    path: Path, axis_maps: Sequence[AxisMap], shape: Shape, covered: Sequence[slice], partial: Sequence[int]
) -> Path:
    """The view's path at the elements of the base that it shows, with nothing elsewhere."""
    order = [axis_map.dim for axis_map in axis_maps if isinstance(axis_map, Affine)]
    rest = [e for e in range(path.low.ndim) if e not in order]
    sizes = [path.low.shape[axis_map.dim] if isinstance(axis_map, Affine) else 1 for axis_map in axis_maps]
    axis_dims = {}
    for d, axis_map in enumerate(axis_maps):
        if isinstance(axis_map, Affine) and axis_map.dim in path.axis_dims:
            periodicity = path.axis_dims[axis_map.dim]
            axis_dims[d] = (
                Periodicity(periodicity.stride / (Fraction(axis_map.slope) or 1)) if d in partial else periodicity
            )
    full = tuple(shape[d] if d in partial else n for d, n in enumerate(sizes))
    shown = [table.transpose([*order, *rest]).reshape(sizes) for table in (path.low, path.high)]
    if prod(full) > _MAX_ENTRIES:
        over = tuple(d for d in partial if sizes[d] > 1)
        axis_dims = {d: p for d, p in axis_dims.items() if d not in over}
        low, high = shown[0].min(axis=over, keepdims=True), shown[1].max(axis=over, keepdims=True)
        return replace(path, low=low, high=high, axis_dims=axis_dims, notes=path.notes | {_COARSE})
    low, high = np.full(full, EMPTY, np.int64), np.full(full, -EMPTY, np.int64)
    where = tuple(c if d in partial else slice(None) for d, c in enumerate(covered))
    low[where], high[where] = shown
    return replace(path, low=low, high=high, axis_dims=axis_dims)
