"""What every position of a tensor sees of one input axis, as tables of intervals, and how taps compose them.

A table holds, for each element of a tensor, the first and the last input position that can influence it. The hull of a
union is the hull of the hulls, so a table is composed through an op's taps exactly, gaps and channels included. A
dimension along which a table is constant has length 1 in it: a plain convolutional network's tables are vectors.

Two kinds of table: the *real* one, in which positions outside a tensor do not exist, and the *nominal* one of the
literature, in which the network goes on past every border, so that windows reach into the padding. The latter needs
to know by what law a table goes on: ``table[i + period] = table[i] + period * stride``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, reduce
from math import lcm, prod
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from costmodel.window import Fitted, Fixed, Follow, Gated, Mirrored, Piece, Rolled, Sparse, Tap, Whole, Wrapped

Table: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Shape: TypeAlias = tuple[int, ...]

NOTHING = 1 << 62
"""``low`` of an element that sees nothing of the axis; its ``high`` is minus that. An empty interval has low > high."""


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """What the elements of one tensor see of one input axis along paths of one kind."""

    low: Table
    high: Table
    carriers: frozenset[int]
    """The dimensions that hold the axis: along them the interval moves."""
    stride: Fraction
    """Input positions from one position to the next, on average."""
    period: int | None
    """By what law the table goes on past the border of its one carrier; ``None``: it does not."""
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
    return Arm(table, table, frozenset((dim,)), Fraction(1), 1)


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
def _look(tap: Follow | Rolled, n_in: int, n_out: int, real: bool) -> _Look:
    out = np.arange(n_out, dtype=np.int64)
    valid: Mask | None = None
    if isinstance(tap, Rolled):
        index = (out - tap.shift)[:, None]
        if real or not isinstance(tap, Wrapped):
            index = index % tap.length
    else:
        slope, first, last = Fraction(tap.slope), Fraction(tap.first), Fraction(tap.last)
        scale = lcm(slope.denominator, first.denominator, last.denominator)
        low = tap.unit * ((int(slope * scale) * out + int(first * scale)) // scale)
        high = tap.unit * ((int(slope * scale) * out + int(last * scale)) // scale + 1) - 1
        width = max(int((high - low).max(initial=0)) // tap.step + 1, 1)
        index = low[:, None] + tap.step * np.arange(width, dtype=np.int64)
        valid = index <= high[:, None]
        if isinstance(tap, Sparse):
            valid &= (out[:, None] + tap.offset - tap.spread * index) % tap.modulus == 0
        if isinstance(tap, Mirrored) and real:
            index = np.clip(index, 0, n_in - 1) if tap.repeats_edge else _mirrored(index, n_in)
        if valid.all():
            valid = None
    within: Mask = (index >= 0) & (index < n_in)
    inside = None if within.all() else within
    met = valid
    if inside is not None and (real or isinstance(tap, Piece)):
        met = inside if valid is None else valid & inside
    sees: Mask | None = None if met is None or met.any(axis=1).all() else np.asarray(met.any(axis=1))
    return _Look(index, valid, inside, sees)


def _mirrored(index: Table, n: int) -> Table:
    folded = np.abs(index) % max(2 * (n - 1), 1)
    mirrored: Table = np.minimum(folded, 2 * (n - 1) - folded)
    return mirrored


def _moved(arm: Arm, d: int, tap: Follow | Rolled, n_in: int, n_out: int, real: bool) -> Arm:
    """The arm with dimension ``d`` replaced by the output dimension that the tap follows, in the same place."""
    period = arm.period if arm.carriers == {d} and not isinstance(tap, Piece) else None
    if period is not None and period > n_in:
        period = None
    if not real and period is None and isinstance(tap, (Wrapped, Mirrored)):
        real = True
    look = _look(tap, n_in, n_out, real)
    index, valid, rise = look.index, look.valid, None
    if look.inside is not None:
        if real or period is None:
            valid = look.inside if valid is None else valid & look.inside
            index = np.clip(index, 0, n_in - 1)
        else:
            rise = np.where(look.inside, 0, index // period * int(period * arm.stride))
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


def _law_after(arm: Arm, d: int, tap: Follow | Rolled, n_in: int, n_out: int) -> tuple[Fraction, int | None]:
    """The arm's stride and period after a tap on a carrier."""
    if isinstance(tap, Rolled):
        stays = isinstance(tap, Wrapped) or (tap.shift % n_in == 0 and n_in == n_out)
        return arm.stride, arm.period if stays else None
    slope = Fraction(tap.slope)
    if arm.period is None or isinstance(tap, Piece) or arm.carriers != {d} or tap.unit != 1 or slope == 0:
        return arm.stride * slope, None
    # The tap moves by ``slope.numerator`` inputs every ``slope.denominator`` outputs; after how many of these moves
    # is that a multiple of the arm's own period?
    phase = slope.denominator * tap.modulus if isinstance(tap, Sparse) else slope.denominator
    moved = abs(slope * phase)
    return arm.stride * slope, phase * (lcm(arm.period, int(moved)) // int(moved))


# -- one op --------------------------------------------------------------------------------------------------------


def through(arms: Arms, taps: Sequence[Tap], shape: Shape, out: Shape, *, real: bool, alike: bool) -> list[Arm]:
    """What an output sees of an axis through one argument of ``shape``.

    ``alike``: where an axis is summed up, whether the result is the same for every output position.
    """
    result: list[Arm] = []
    for arm in arms:
        gated = {d for d, tap in enumerate(taps) if isinstance(tap, Gated)}
        if arm.carriers and arm.carriers <= gated:
            # The element itself, and apart from it the statistic over all of them.
            result.append(_placed(arm, [Follow(t.dim) if isinstance(t, Gated) else t for t in taps], shape, out, real))
            joined = _placed(arm, [Whole() if isinstance(t, Gated) else t for t in taps], shape, out, real)
            result.append(replace(joined, kind="reduced"))
            continue
        placed = _placed(arm, taps, shape, out, real)
        if any(isinstance(taps[d], Whole) for d in arm.carriers):
            if not placed.carriers:
                placed = replace(placed, kind="reduced" if alike else "mixed")
            elif _spans(arm, taps, shape, out):
                placed = replace(placed, kind="mixed", carriers=frozenset(), period=None)
        result.append(placed)
    return result


def _spans(arm: Arm, taps: Sequence[Tap], shape: Shape, out: Shape) -> bool:
    """Whether a sum over a part of what holds the axis, for every output position, spans most of the axis.

    A sum within windows does not: windows lie side by side. One over every n-th position (grid attention) does.
    """
    middle = arm.low + arm.high
    spread = _placed(replace(arm, low=middle, high=middle, period=None), taps, shape, out, real=True)
    shared = int(spread.high.min()) - int(spread.low.max())
    return 2 * shared > int(middle.max()) - int(middle.min())


def _placed(arm: Arm, taps: Sequence[Tap], shape: Shape, out: Shape, real: bool) -> Arm:
    place: dict[int, int] = {}  # output dimension -> the argument's dimension that follows it
    carriers = set()
    for d, tap in enumerate(taps):
        n = shape[d]
        if isinstance(tap, (Follow, Rolled)) and tap.dim not in place:
            place[tap.dim] = d
            if d in arm.carriers:
                carriers.add(tap.dim)
                arm = replace(arm, fitted=True) if isinstance(tap, Fitted) else arm
            if _is_identity(tap, n, out[tap.dim]):
                continue
            stride, period = arm.stride, arm.period
            if d in arm.carriers:
                stride, period = _law_after(arm, d, tap, n, out[tap.dim])
            if arm.low.shape[d] > 1 or (n == 1 and d in arm.carriers):
                arm = _moved(arm, d, tap, n, out[tap.dim], real)
            elif (sees := _look(tap, n, out[tap.dim], real).sees) is not None:
                mask = sees.reshape([-1, *(1,) * (arm.low.ndim - d - 1)])
                arm = replace(
                    arm, low=np.where(mask, arm.low, NOTHING), high=np.where(mask, arm.high, -NOTHING)
                )  # fmt: skip
            if d in arm.carriers:
                arm = replace(arm, stride=stride, period=period)
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
    period = arm.period if len(carriers) == 1 and len(arm.carriers) == 1 else None
    return replace(
        arm, low=arm.low.transpose(order).reshape(sizes), high=arm.high.transpose(order).reshape(sizes),
        carriers=frozenset(carriers), period=period,
    )  # fmt: skip


def _is_identity(tap: Tap, n_in: int, n_out: int) -> bool:
    return (
        type(tap) is Follow and n_in == n_out and tap.slope == 1 and tap.first == 0 and tap.last == 0 and tap.unit == 1
    )


def unmoved(taps: Sequence[Tap], shape: Shape, out: Shape) -> bool:
    """Whether every output element sees the argument's element at its own place, and nothing else."""
    return shape == out and all(
        isinstance(tap, Follow) and tap.dim == d and _is_identity(tap, n, n)
        for d, (tap, n) in enumerate(zip(taps, shape, strict=True))
    )


# -- the same elements under another shape -------------------------------------------------------------------------


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


def regrouped(arm: Arm, shape: Shape, out: Shape, *, real: bool) -> Arm:
    """The arm of the same elements, in the same row-major order, under another shape."""
    full: list[int] = []
    sizes: list[int] = []
    carriers: set[int] = set()
    woven: list[int] = []  # output dimensions of groups in which elements find new neighbours
    period = arm.period
    for before, after in groups(shape, out):
        long_before = [d for d in before if shape[d] > 1]
        long_after = [e for e in after if out[e] > 1]
        varies = any(arm.low.shape[d] > 1 for d in before)
        full += [shape[d] if varies else 1 for d in before]
        sizes += [out[e] if varies else 1 for e in after]
        held = arm.carriers & set(before)
        if len(long_before) == len(long_after) == 1:
            if held:
                carriers.add(long_after[0])
            continue
        if varies:
            woven += long_after
        if held:
            carriers.update(long_after)
            period = None
    low = np.broadcast_to(arm.low, full).reshape(sizes)
    high = np.broadcast_to(arm.high, full).reshape(sizes)
    new = replace(arm, low=low, high=high, carriers=frozenset(carriers), period=period)
    new = compressed(new, woven)
    still = {e for e in new.carriers if out[e] == 1 or new.low.shape[e] > 1}
    if new.carriers and not still:
        # Every position sees the same by now: the axis has been mixed all along it, window by window.
        return replace(new, kind="mixed", carriers=frozenset(), period=None)
    new = replace(new, carriers=frozenset(still))
    return new if real or period is not None else _lawful(new)


def compressed(arm: Arm, dims: Iterable[int]) -> Arm:
    """The arm with those of ``dims`` along which it is constant shrunk to length 1."""
    low, high = arm.low, arm.high
    for d in dims:
        if low.shape[d] > 1:
            first = (slice(None),) * d + (slice(0, 1),)
            if (low == low[first]).all() and (high == high[first]).all():
                low, high = low[first], high[first]
    return arm if low is arm.low else replace(arm, low=low, high=high)


def _lawful(arm: Arm) -> Arm:
    """The arm with the law by which it goes on, where one holds at every position of its one carrier."""
    if len(arm.carriers) != 1:
        return arm
    (d,) = arm.carriers
    n = arm.low.shape[d]
    low, high = np.moveaxis(arm.low, d, 0), np.moveaxis(arm.high, d, 0)
    for period in range(1, min(n // 2, 64) + 1):
        rise = period * arm.stride
        if rise.denominator == 1 and all(
            (table[period:] - table[:-period] == int(rise)).all() for table in (low, high)
        ):
            return replace(arm, period=period)
    return arm


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
    period, notes = None, a.notes | b.notes
    if a.kind == "local" and not real:
        if a.stride != b.stride or (a.period is None) != (b.period is None):
            return None
        if a.period is not None and b.period is not None and a.carriers == b.carriers:
            (d,) = a.carriers or (0,)
            period = lcm(a.period, b.period)
            if period > shape[d] and a.period != b.period:
                return None
        if a.carriers == b.carriers and not _concentric(a, b):
            notes |= {"where branches join, their centres differ: the field is their union"}
    return replace(
        a, low=np.minimum(a.low, b.low), high=np.maximum(a.high, b.high), carriers=a.carriers | b.carriers,
        period=period, fitted=a.fitted or b.fitted, notes=notes,
    )  # fmt: skip


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
