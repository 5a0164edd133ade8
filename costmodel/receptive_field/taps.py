"""How the taps of one op compose a table: what its output sees through one argument, given what the argument sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import Any

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
from costmodel.receptive_field.arms import NOTHING, Arm, Arms, Law, Mask, Shape, Table

# -- the positions behind one tap ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """Where along one input dimension each output position looks: ``index[o, k]``, where ``valid[o, k]``."""

    index: Table
    valid: Mask | None
    inside: Mask | None
    """Which of the positions lie in the input; ``None`` for all."""
    sees: Mask | None
    """Which output positions see any position at all; ``None`` for all."""


@lru_cache(maxsize=4096)
def _look(tap: Affine | Rolled, n_in: int, n_out: int, real: bool) -> _Look:
    out = np.arange(n_out, dtype=np.int64)
    valid: Mask | None = None
    if isinstance(tap, Rolled):
        index = (out - tap.shift)[:, None]
        if real or not isinstance(tap, Wrapped):
            index = index % tap.length
    else:
        if isinstance(tap, GridAxis):
            out = out // tap.inner % tap.length
        slope, first, last = Fraction(tap.slope), Fraction(tap.first), Fraction(tap.last)
        scale = lcm(slope.denominator, first.denominator, last.denominator)
        low = tap.unit * ((int(slope * scale) * out + int(first * scale)) // scale)
        high = tap.unit * ((int(slope * scale) * out + int(last * scale)) // scale + 1) - 1
        width = max(int((high - low).max(initial=0)) // tap.step + 1, 1)
        index = low[:, None] + tap.step * np.arange(width, dtype=np.int64)
        valid = index <= high[:, None]
        if isinstance(tap, Sparse):
            valid &= (out[:, None] + tap.offset - tap.spread * index) % tap.modulus == 0
        if isinstance(tap, Reflected) and real:
            index = np.clip(index, 0, n_in - 1) if tap.repeats_edge else _mirrored(index, n_in)
        if valid.all():
            valid = None
    within: Mask = (index >= 0) & (index < n_in)
    inside = None if within.all() else within
    met = valid
    if inside is not None and (real or isinstance(tap, Slice)):
        met = inside if valid is None else valid & inside
    sees: Mask | None = None if met is None or met.any(axis=1).all() else np.asarray(met.any(axis=1))
    return _Look(index, valid, inside, sees)


def _mirrored(index: Table, n: int) -> Table:
    folded = np.abs(index) % max(2 * (n - 1), 1)
    mirrored: Table = np.minimum(folded, 2 * (n - 1) - folded)
    return mirrored


def _moved(arm: Arm, d: int, tap: Affine | Rolled, n_in: int, n_out: int, real: bool) -> Arm:
    """The arm with dimension ``d`` replaced by the output dimension that the tap follows, in the same place."""
    law = arm.carriers.get(d)
    period = None if law is None or isinstance(tap, Slice) else law.period
    if period is not None and period > n_in:
        period = None
    if not real and period is None and isinstance(tap, (Wrapped, Reflected)):
        real = True
    look = _look(tap, n_in, n_out, real)
    index, valid, rise = look.index, look.valid, None
    if look.inside is not None:
        if real or law is None or period is None:
            valid = look.inside if valid is None else valid & look.inside
            index = np.clip(index, 0, n_in - 1)
        else:
            rise = np.where(look.inside, 0, index // period * int(period * law.stride))
            index = np.where(look.inside, index, index % period)
    aligned = (*index.shape, *(1,) * (arm.low.ndim - d - 1))

    def gather(table: Table, nothing: int, hull: Any) -> Table:
        taken = table.take(index, axis=d)
        if rise is not None:
            taken = taken + rise.reshape(aligned)
        if valid is not None:
            taken = np.where(valid.reshape(aligned), taken, nothing)
        result: Table = hull(taken, axis=d + 1)
        return result

    return replace(arm, low=gather(arm.low, NOTHING, np.min), high=gather(arm.high, -NOTHING, np.max))


def _law_after(law: Law, tap: Affine | Rolled, n_in: int, n_out: int) -> Law:
    """The law along a carrier after a tap on it."""
    if isinstance(tap, Rolled):
        stays = isinstance(tap, Wrapped) or (tap.shift % n_in == 0 and n_in == n_out)
        return law if stays else Law(law.stride)
    slope = Fraction(tap.slope)
    if law.period is None or isinstance(tap, (Slice, GridAxis)) or tap.unit != 1 or slope == 0:
        return Law(law.stride * slope)
    # The tap moves by ``slope.numerator`` inputs every ``slope.denominator`` outputs; after how many of these moves
    # is that a multiple of the arm's own period?
    phase = slope.denominator * tap.modulus if isinstance(tap, Sparse) else slope.denominator
    moved = abs(slope * phase)
    return Law(law.stride * slope, phase * (lcm(law.period, int(moved)) // int(moved)))


# -- one op --------------------------------------------------------------------------------------------------------


def through(arms: Arms, taps: Sequence[AxisMap], shape: Shape, out: Shape, *, real: bool, alike: bool) -> list[Arm]:
    """What an output sees of an axis through one argument of ``shape``.

    ``alike``: where an axis is summed up, whether the result is the same for every output position.
    """
    result: list[Arm] = []
    for arm in arms:
        gated = {d for d, tap in enumerate(taps) if isinstance(tap, Statistic)}
        if arm.carriers and arm.carriers.keys() <= gated:
            # The element itself, and apart from it the statistic over all of them.
            result.append(
                _placed(arm, [Affine(t.dim) if isinstance(t, Statistic) else t for t in taps], shape, out, real)
            )
            joined = _placed(arm, [All() if isinstance(t, Statistic) else t for t in taps], shape, out, real)
            result.append(replace(joined, kind="reduced"))
            continue
        placed = _placed(arm, taps, shape, out, real)
        if any(isinstance(taps[d], All) for d in arm.carriers):
            if not placed.carriers:
                placed = replace(placed, kind="reduced" if alike else "mixed")
            elif _spans(arm, taps, shape, out):
                placed = replace(placed, kind="mixed", carriers={})
        result.append(placed)
    return result


def _spans(arm: Arm, taps: Sequence[AxisMap], shape: Shape, out: Shape) -> bool:
    """Whether a sum over a part of what holds the axis, for every output position, spans most of the axis.

    A sum within windows does not: windows lie side by side. One over every n-th position (grid attention) does.
    """
    middle = arm.low + arm.high
    spread = _placed(replace(arm, low=middle, high=middle), taps, shape, out, real=True)
    shared = int(spread.high.min()) - int(spread.low.max())
    return 2 * shared > int(middle.max()) - int(middle.min())


def _placed(arm: Arm, taps: Sequence[AxisMap], shape: Shape, out: Shape, real: bool) -> Arm:
    place: dict[int, int] = {}  # output dimension -> the argument's dimension that follows it
    for d, tap in enumerate(taps):
        if isinstance(tap, (Affine, Rolled)) and (tap.dim not in place or d in arm.carriers):
            place[tap.dim] = d
    carriers: dict[int, Law] = {}
    for d, tap in enumerate(taps):
        n = shape[d]
        if isinstance(tap, (Affine, Rolled)) and place[tap.dim] == d:
            if d in arm.carriers:
                carriers[tap.dim] = arm.carriers[d]
                arm = replace(arm, fitted=True) if isinstance(tap, Adaptive) else arm
            if _is_identity(tap, n, out[tap.dim]):
                continue
            if d in arm.carriers:
                carriers[tap.dim] = _law_after(arm.carriers[d], tap, n, out[tap.dim])
            if arm.low.shape[d] > 1 or (n == 1 and d in arm.carriers):
                arm = _moved(arm, d, tap, n, out[tap.dim], real)
            elif (sees := _look(tap, n, out[tap.dim], real).sees) is not None:
                mask = sees.reshape([-1, *(1,) * (arm.low.ndim - d - 1)])
                arm = replace(
                    arm, low=np.where(mask, arm.low, NOTHING), high=np.where(mask, arm.high, -NOTHING)
                )  # fmt: skip
        elif arm.low.shape[d] > 1:
            if isinstance(tap, Fixed):
                at = slice(tap.index, tap.index + 1)
                cut = (slice(None),) * d + (at,)
                arm = replace(arm, low=arm.low[cut], high=arm.high[cut])
            else:
                arm = replace(
                    arm, low=arm.low.min(axis=d, keepdims=True), high=arm.high.max(axis=d, keepdims=True)
                )  # fmt: skip
    order = [place[e] for e in sorted(place)]
    order += [d for d in range(len(shape)) if d not in order]
    sizes = tuple(arm.low.shape[place[e]] if e in place else 1 for e in range(len(out)))
    return replace(
        arm, low=arm.low.transpose(order).reshape(sizes), high=arm.high.transpose(order).reshape(sizes),
        carriers=carriers,
    )  # fmt: skip


def _is_identity(tap: AxisMap, n_in: int, n_out: int) -> bool:
    return (
        type(tap) is Affine and n_in == n_out and tap.slope == 1 and tap.first == 0 and tap.last == 0 and tap.unit == 1
    )


def unmoved(taps: Sequence[AxisMap], shape: Shape, out: Shape) -> bool:
    """Whether every output element sees the argument's element at its own place, and nothing else."""
    return shape == out and all(
        isinstance(tap, Affine) and tap.dim == d and _is_identity(tap, n, n)
        for d, (tap, n) in enumerate(zip(taps, shape, strict=True))
    )
