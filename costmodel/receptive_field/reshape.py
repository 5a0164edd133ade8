"""The same elements under another shape, in the same row-major order: what each sees stays, where it lies changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod

import numpy as np

from costmodel.receptive_field.arms import Arm, Law, Shape, Value, compressed


@lru_cache(maxsize=4096)
def groups(shape: Shape, out: Shape) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """The dimensions of two shapes of one size, in the smallest groups that hold the same elements.

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


def reshaped(value: Value, shape: Shape, out: Shape, *, real: bool) -> Value:
    """What a tensor of ``shape`` sees, read as one of shape ``out``."""
    folded = [tuple(_folded(arm, shape, out) for arm in arms) for arms in value]
    before = [frozenset(d for arm in arms for d in arm.carriers) for arms in value]
    after = [frozenset(d for arm in arms for d, n in enumerate(arm.low.shape) if n > 1) for arms in folded]
    return tuple(
        tuple(
            _settled(
                arm, new, shape, out, frozenset().union(*_but(before, i)), frozenset().union(*_but(after, i)), real
            )
            for arm, new in zip(value[i], folded[i], strict=True)
        )
        for i in range(len(value))
    )


def _but(held: Sequence[frozenset[int]], axis: int) -> list[frozenset[int]]:
    return [*held[:axis], *held[axis + 1 :]]


def _folded(arm: Arm, shape: Shape, out: Shape) -> Arm:
    """The arm's tables under the new shape."""
    full: list[int] = []
    sizes: list[int] = []
    woven: list[int] = []  # output dimensions of groups in which elements find new neighbours
    for before, after in groups(shape, out):
        varies = any(arm.low.shape[d] > 1 for d in before)
        full += [shape[d] if varies else 1 for d in before]
        sizes += [out[e] if varies else 1 for e in after]
        if varies and not _is_one(before, after, shape, out):
            woven += after
    low = np.broadcast_to(arm.low, full).reshape(sizes)
    high = np.broadcast_to(arm.high, full).reshape(sizes)
    return compressed(replace(arm, low=low, high=high), woven)


def _settled(
    arm: Arm, new: Arm, shape: Shape, out: Shape, others: frozenset[int], others_now: frozenset[int], real: bool
) -> Arm:
    """The folded arm ``new`` with its carriers; ``others`` are the dimensions that hold other axes, before and now."""
    carriers: dict[int, Law] = {}
    for before, after in groups(shape, out):
        held = [d for d in before if d in arm.carriers]
        if not held:
            continue
        if _is_one(before, after, shape, out):
            (e,) = (e for e in after if out[e] > 1)
            carriers[e] = arm.carriers[max(held, key=lambda d: shape[d])]
            continue
        # Where rows and columns lie in one dimension (tokens), a step along rows is no step through all columns.
        last = held[-1]
        stride = arm.carriers[last].stride / prod(shape[d] for d in before if d > last and d not in others)
        inner = 1
        for e in reversed(after):
            if out[e] > 1:
                carriers[e] = Law(stride * inner)
            inner *= 1 if e in others_now and new.low.shape[e] == 1 else out[e]
    still = {e: law for e, law in carriers.items() if out[e] == 1 or new.low.shape[e] > 1}
    if carriers and not still:
        # Every position sees the same by now: the axis has been mixed all along it, window by window.
        return replace(new, kind="mixed", carriers={})
    return replace(new, carriers=still if real else {e: _found(new, e, law) for e, law in still.items()})


def _is_one(before: Sequence[int], after: Sequence[int], shape: Shape, out: Shape) -> bool:
    """Whether one dimension stays what it is, but for others of length 1 around it."""
    return sum(shape[d] > 1 for d in before) == sum(out[e] > 1 for e in after) == 1


def _found(arm: Arm, dim: int, law: Law) -> Law:
    """The law along a dimension, where one holds at every position of it."""
    if law.period is not None:
        return law
    low, high = np.moveaxis(arm.low, dim, 0), np.moveaxis(arm.high, dim, 0)
    column = low.reshape(len(low), -1)[:, 0].tolist()
    above, below = law.stride.as_integer_ratio()
    for period in range(1, min(len(low) // 2, 64) + 1):
        rise = column[period] - column[0]
        if rise * below == period * above and all(
            (table[period:] - table[:-period] == rise).all() for table in (low, high)
        ):
            return Law(law.stride, period)
    return law
