"""The same elements under another shape, in the same row-major order: what each sees stays, where it lies changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from math import lcm, prod

import numpy as np

from costmodel.receptive_field.arms import Arm, Law, Shape, Table, Value, compressed


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
    held = [frozenset(d for arm in arms for d in arm.carriers) for arms in value]
    return tuple(
        tuple(_regrouped(arm, shape, out, frozenset().union(*held[:i], *held[i + 1 :]), real) for arm in arms)
        for i, arms in enumerate(value)
    )


def _regrouped(arm: Arm, shape: Shape, out: Shape, shared: frozenset[int], real: bool) -> Arm:
    """One arm; ``shared`` are the dimensions that hold other axes of the input."""
    full: list[int] = []
    sizes: list[int] = []
    woven: list[int] = []  # output dimensions of groups in which elements find new neighbours
    for before, after in groups(shape, out):
        varies = any(arm.low.shape[d] > 1 for d in before)
        full += [shape[d] if varies else 1 for d in before]
        sizes += [out[e] if varies else 1 for e in after]
        if varies and not _is_one(before, after, shape, out):
            woven += [e for e in after if out[e] > 1]
    low = np.broadcast_to(arm.low, full).reshape(sizes)
    high = np.broadcast_to(arm.high, full).reshape(sizes)
    carriers: dict[int, Law] = {}
    for before, after in groups(shape, out):
        held = [d for d in before if d in arm.carriers]
        if held and _is_one(before, after, shape, out):
            (e,) = (e for e in after if out[e] > 1)
            carriers[e] = arm.carriers[max(held, key=lambda d: shape[d])]
        elif held:
            carriers |= _resettled(arm.carriers[held[-1]], held[-1], before, after, shape, out, shared, low + high)
    new = compressed(replace(arm, low=low, high=high, carriers=carriers), woven)
    still = {e: law for e, law in carriers.items() if out[e] == 1 or new.low.shape[e] > 1}
    if carriers and not still:
        # Every position sees the same by now: the axis has been mixed all along it, window by window.
        return replace(new, kind="mixed", carriers={})
    return replace(new, carriers=still if real else {e: _found(new, e, law) for e, law in still.items()})


def _is_one(before: Sequence[int], after: Sequence[int], shape: Shape, out: Shape) -> bool:
    """Whether one dimension stays what it is, but for others of length 1 around it."""
    return sum(shape[d] > 1 for d in before) == sum(out[e] > 1 for e in after) == 1


def _resettled(
    law: Law, dim: int, before: Sequence[int], after: Sequence[int], shape: Shape, out: Shape, shared: frozenset[int],
    twice: Table,
) -> dict[int, Law]:  # fmt: skip
    """The laws of the dimensions ``after``: before, ``law`` held along ``dim``, the innermost to hold the axis.

    ``twice`` is the new table, of twice the centres.
    """
    # Rows and columns that lie in one dimension (tokens) each keep the stride of their own.
    step = prod(shape[d] for d in before if d > dim and d not in shared)
    long = [e for e in after if out[e] > 1]
    is_cut = [d for d in before if shape[d] > 1] == [dim] and shared.isdisjoint(before)
    laws = {}
    for e in long:
        inner = prod(out[f] for f in long if f > e)
        stride = law.stride * inner / step
        if len(long) > 1 and not shared.isdisjoint(before):
            ends = twice.take([0, -1], axis=e).reshape(-1, 2, prod(twice.shape[e + 1 :]))[0, :, 0]
            stride = Fraction(int(ends[1] - ends[0]), 2 * (out[e] - 1))
        period = lcm(law.period, inner) // inner if is_cut and law.period is not None else None
        laws[e] = Law(stride, period)
    return laws


def _found(arm: Arm, dim: int, law: Law) -> Law:
    """The law along a dimension, where one holds at every position of it."""
    if law.period is not None:
        return law
    low, high = np.moveaxis(arm.low, dim, 0), np.moveaxis(arm.high, dim, 0)
    for period in range(1, min(len(low) // 2, 64) + 1):
        rise = period * law.stride
        if rise.denominator == 1 and all(
            (table[period:] - table[:-period] == int(rise)).all() for table in (low, high)
        ):
            return Law(law.stride, period)
    return law
