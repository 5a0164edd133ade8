"""What every tensor of a trace sees of one input, op by op in the order in which they ran.

A tensor that is written in place has another value afterwards, and so have the tensors that share its storage: a view
is read again from its base, and a write to a view is carried to its base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import prod

import numpy as np

from costmodel.access import AccessMap, Adaptive, Affine, All, AxisMap, Fixed, Reshaped, Rolled, Slice
from costmodel.graph import TensorSpec
from costmodel.pricing import PricedOp, Pricing
from costmodel.receptive_field.arms import NOTHING, Arm, Law, Shape, Value, axis_itself, compressed, union
from costmodel.receptive_field.reshape import reshaped
from costmodel.receptive_field.taps import through, unmoved

_LARGEST = 1 << 18
"""Entries of a table that a write into a part of a tensor may need, which no other op makes so large."""
_COARSE = "a write into a part of a large tensor is taken to reach all of it, and to replace nothing"


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    base: TensorSpec
    access: AccessMap


@dataclass(slots=True, eq=False)
class Flow:
    """The values of all tensors at the end of each op and of each module call."""

    pricing: Pricing
    source: TensorSpec
    axes: tuple[int, ...]
    """The dimensions of ``source`` that are followed."""
    real: bool
    """Whether positions outside a tensor are left out, instead of being followed into the padding."""
    _now: dict[int, tuple[Value, int]] = field(default_factory=dict)
    """By identity of the record: the value, and which write to its storage it knows of."""
    _views: dict[int, _View] = field(default_factory=dict)
    _writes: dict[int, int] = field(default_factory=dict)
    """By storage: how often it was written in place."""

    def run(self, wanted: Mapping[int, Sequence[TensorSpec]]) -> dict[tuple[int, int], Value]:
        """Values by (op index, identity of the record), for the records in ``wanted[i]`` just before op ``i`` runs."""
        rank = len(self.source.shape)
        self._set(self.source, tuple((axis_itself(self.source.shape[d], d, rank),) for d in self.axes))
        found: dict[tuple[int, int], Value] = {}
        for i, op in enumerate(self.pricing.ops):
            for spec in wanted.get(i, ()):
                found[i, id(spec)] = self.value(spec)
            self._step(op)
        end = len(self.pricing.ops)
        for spec in wanted.get(end, ()):
            found[end, id(spec)] = self.value(spec)
        return found

    def value(self, spec: TensorSpec) -> Value:
        """What the tensor sees now."""
        value, known = self._now.get(id(spec), ((), 0))
        if known == self._writes.get(spec.storage, 0):
            return value
        view = self._views.get(id(spec))
        if view is not None:
            value = self._seen({"": view.base}, spec.shape, view.access)
        self._set(spec, value)
        return value

    def _set(self, spec: TensorSpec, value: Value) -> None:
        self._now[id(spec)] = value, self._writes.get(spec.storage, 0)

    def _step(self, op: PricedOp) -> None:
        call = op.call
        tensors = dict(call.tensors())
        if not any(self.value(t) for t in tensors.values()):
            self._note_views(op, tensors)
            return
        for i, y in enumerate(call.outputs):
            if op.rule is None:
                access: AccessMap = {name: (All(),) * len(t.shape) for name, t in tensors.items()}
            else:
                access = op.rule.access(call, i)
            value = self._seen(tensors, y.shape, access)
            if op.rule is None:
                note = f"{call.op!r} has no rule: it is taken to see everything"
                value = tuple(tuple(replace(arm, notes=arm.notes | {note}) for arm in arms) for arms in value)
            if call.inplace:
                self._write(y, value)
            else:
                self._set(y, value)
        self._note_views(op, tensors)

    def _note_views(self, op: PricedOp, tensors: Mapping[str, TensorSpec]) -> None:
        call = op.call
        if call.inplace or op.rule is None:
            return
        for i, y in enumerate(call.outputs):
            for name, base in tensors.items():
                if base is not y and base.storage == y.storage and id(y) not in self._views:
                    access = op.rule.access(call, i)
                    if isinstance(access, Reshaped):
                        self._views[id(y)] = _View(base, Reshaped(""))
                    elif name in access:
                        self._views[id(y)] = _View(base, {"": access[name]})
                    break

    # -- what one output sees ---------------------------------------------------------------------------------

    def _seen(self, tensors: Mapping[str, TensorSpec], out: Shape, access: AccessMap) -> Value:
        if 0 in out:
            return ()
        if isinstance(access, Reshaped):
            base = tensors[access.arg]
            value = self.value(base)
            return value if base.shape == out else reshaped(value, base.shape, out, real=self.real)
        read = [
            (tensors[name], _plain(taps, out), value)
            for name, taps in access.items()
            if any(value := self.value(tensors[name]))
        ]
        if len(read) == 1 and unmoved(read[0][1], read[0][0].shape, out):
            return read[0][2]
        pieces = {t.dim for _, taps, _ in read for t in taps if isinstance(t, Slice)}
        result = []
        for axis in range(len(self.axes)):
            arms: list[Arm] = []
            summed = False
            for spec, taps, value in read:
                if unmoved(taps, spec.shape, out):
                    arms.extend(value[axis])
                    continue
                alike = self._is_alike(axis, read, out)
                seen = through(value[axis], taps, spec.shape, out, real=self.real, alike=alike)
                summed |= any(
                    a.kind == "local" and b.kind == "reduced" for a, b in zip(value[axis], seen, strict=False)
                )
                arms.extend(seen)
            if len(read) > 1:
                arms = self._contracted(axis, arms, read, summed)
            if len(arms) > 1:
                met = union(arms, real=self.real)
                arms = [compressed(arm, pieces - arm.carriers.keys()) for arm in met] if pieces else list(met)
            result.append(tuple(arms))
        return tuple(result)

    def _contracted(
        self, axis: int, arms: list[Arm], read: Sequence[tuple[TensorSpec, tuple[AxisMap, ...], Value]], summed: bool
    ) -> list[Arm]:
        """The arms, where arguments that were summed up along the axis before are contracted with others now."""
        kinds = {
            arm.kind
            for spec, taps, value in read
            if not any(arm.carriers for arm in value[axis])
            and any(isinstance(tap, All) and n > 1 for tap, n in zip(taps, spec.shape, strict=True))
            for arm in value[axis]
        }
        if "mixed" in kinds and summed:
            # Weights that a softmax mixed along the axis, and values summed up by them: one sum.
            return [replace(arm, kind="reduced") if arm.kind == "mixed" else arm for arm in arms]
        if "reduced" in kinds and any(arm.kind == "local" and arm.carriers for arm in arms):
            # A matrix summed up over the axis, times each position: no gate, but linear attention.
            return [replace(arm, kind="mixed") if arm.kind == "reduced" else arm for arm in arms]
        return arms

    def _is_alike(self, axis: int, read: Sequence[tuple[TensorSpec, tuple[AxisMap, ...], Value]], out: Shape) -> bool:
        """Whether an output that sums the axis up is the same along all its dimensions, as far as the axis goes.

        It is not where an output dimension is new (a dense layer's features) or follows the axis by another path (the
        queries of an attention).
        """
        free = set()
        for spec, taps, value in read:
            carried = {d for arm in value[axis] for d in arm.carriers if spec.shape[d] > 1}
            for d, tap in enumerate(taps):
                if isinstance(tap, (Affine, Rolled)) and d not in carried:
                    free.add(tap.dim)
                elif isinstance(tap, (Affine, Rolled)):
                    return False
        return all(n == 1 or e in free for e, n in enumerate(out))

    # -- writing in place -------------------------------------------------------------------------------------

    def _write(self, spec: TensorSpec, value: Value) -> None:
        chain: list[tuple[TensorSpec, Value]] = []
        child, new = spec, value
        chain.append((spec, value))
        while (view := self._views.get(id(child))) is not None:
            new = _overwritten(self.value(view.base), view.base.shape, new, child.shape, view.access, self.real)
            chain.append((view.base, new))
            child = view.base
        self._writes[spec.storage] = self._writes.get(spec.storage, 0) + 1
        for written, now in chain:
            self._set(written, now)


def _plain(taps: tuple[AxisMap, ...], out: Shape) -> tuple[AxisMap, ...]:
    """The taps, with a share of the input that is all of it called by its name."""
    if any(isinstance(tap, Adaptive) and out[tap.dim] == 1 for tap in taps):
        return tuple(All() if isinstance(tap, Adaptive) and out[tap.dim] == 1 else tap for tap in taps)
    return taps


def _overwritten(old: Value, shape: Shape, new: Value, view: Shape, access: AccessMap, real: bool) -> Value:
    """The base's value after the elements that a view of it shows were given new ones."""
    if isinstance(access, Reshaped):
        return reshaped(new, view, shape, real=real)
    taps = access[""]
    axes = max(len(old), len(new))
    covered: list[slice] = []
    for d, tap in enumerate(taps):
        if isinstance(tap, Affine) and tap.slope >= 1 and tap.first == tap.last:
            first, step = int(tap.first), int(tap.slope)
            covered.append(slice(first, first + step * (view[tap.dim] - 1) + 1, step))
        elif isinstance(tap, Fixed):
            covered.append(slice(tap.index, tap.index + 1))
        else:
            covered.append(slice(0, shape[d]))
    partial = [d for d, c in enumerate(covered) if len(range(*c.indices(shape[d]))) < shape[d]]
    result = []
    for axis in range(axes):
        arms = [_without(arm, shape, covered, partial) for arm in (old[axis] if old else ())] if partial else []
        arms += [_laid(arm, taps, shape, covered, partial) for arm in (new[axis] if new else ())]
        result.append(union(arms, real=real))
    return tuple(result)


def _without(arm: Arm, shape: Shape, covered: Sequence[slice], partial: Sequence[int]) -> Arm:
    sizes = tuple(shape[d] if d in partial else n for d, n in enumerate(arm.low.shape))
    if prod(sizes) > _LARGEST:
        return replace(arm, notes=arm.notes | {_COARSE})
    low, high = np.broadcast_to(arm.low, sizes).copy(), np.broadcast_to(arm.high, sizes).copy()
    hole = tuple(c if d in partial else slice(None) for d, c in enumerate(covered))
    low[hole], high[hole] = NOTHING, -NOTHING
    laws = {d: Law(law.stride) if d in partial else law for d, law in arm.carriers.items()}
    return replace(arm, low=low, high=high, carriers=laws)


def _laid(arm: Arm, taps: Sequence[AxisMap], shape: Shape, covered: Sequence[slice], partial: Sequence[int]) -> Arm:
    order = [tap.dim for tap in taps if isinstance(tap, Affine)]
    rest = [e for e in range(arm.low.ndim) if e not in order]
    sizes = [arm.low.shape[tap.dim] if isinstance(tap, Affine) else 1 for tap in taps]
    carriers = {}
    for d, tap in enumerate(taps):
        if isinstance(tap, Affine) and tap.dim in arm.carriers:
            law = arm.carriers[tap.dim]
            carriers[d] = Law(law.stride / (Fraction(tap.slope) or 1)) if d in partial else law
    full = tuple(shape[d] if d in partial else n for d, n in enumerate(sizes))
    shown = [table.transpose([*order, *rest]).reshape(sizes) for table in (arm.low, arm.high)]
    if prod(full) > _LARGEST:
        over = tuple(d for d in partial if sizes[d] > 1)
        carriers = {d: law for d, law in carriers.items() if d not in over}
        low, high = shown[0].min(axis=over, keepdims=True), shown[1].max(axis=over, keepdims=True)
        return replace(arm, low=low, high=high, carriers=carriers, notes=arm.notes | {_COARSE})
    low, high = np.full(full, NOTHING, np.int64), np.full(full, -NOTHING, np.int64)
    hole = tuple(c if d in partial else slice(None) for d, c in enumerate(covered))
    low[hole], high[hole] = shown
    return replace(arm, low=low, high=high, carriers=carriers)
