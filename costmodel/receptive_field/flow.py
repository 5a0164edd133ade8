"""Forward data-flow analysis: the field of every tensor of a trace, op by op in the order in which they ran.

A write in place changes the fields of all tensors that share the storage: a write to a view is carried to its base, and
a view is derived from its base again when it is next read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from costmodel.access import AccessMap, Adaptive, Affine, All, AxisMap, Reshaped, Rolled, Slice
from costmodel.graph import TensorSpec
from costmodel.pricing import PricedOp, Pricing
from costmodel.receptive_field.compose import compose, is_identity
from costmodel.receptive_field.concatenate import concatenate, same_pieces
from costmodel.receptive_field.memo import Memo
from costmodel.receptive_field.overwrite import overwrite
from costmodel.receptive_field.paths import Field, Path, Paths, Shape, axis_itself, compress, union
from costmodel.receptive_field.reshape import reshape_field
from costmodel.records import dataclass

_Read: TypeAlias = tuple[TensorSpec, tuple[AxisMap, ...], Field]
"""A tensor that an op reads, how, and its field."""


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    base: TensorSpec
    access: AccessMap


@dataclass(slots=True, eq=False)
class Flow:
    """The fields of all tensors at each point of the execution."""

    pricing: Pricing
    source: TensorSpec
    axes: tuple[int, ...]
    """The dimensions of ``source`` that are followed."""
    real: bool
    """Whether positions outside a tensor are left out, instead of being followed into the padding."""
    _now: dict[int, tuple[Field, int]] = dataclasses.field(default_factory=dict)
    """By identity of the record: its field, and the number of writes to its storage when the field was set."""
    _views: dict[int, _View] = dataclasses.field(default_factory=dict)
    _of_storage: dict[int, list[int]] = dataclasses.field(default_factory=dict)
    """By storage: the identities of the records that have a field in ``_now``."""
    _memo: Memo = dataclasses.field(default_factory=Memo)
    _writes: dict[int, int] = dataclasses.field(default_factory=dict)
    """By storage: how often it has been written in place."""

    def run(self, wanted: Mapping[int, Mapping[int, TensorSpec]]) -> Iterator[tuple[tuple[int, int], Field]]:
        """Fields by (op index, identity of the record), for the records in ``wanted[i]`` just before op ``i`` runs.

        A tensor's field is dropped after the last op that has to do with its memory: the tables of all windows of an
        attention, over all layers, would take gigabytes.
        """
        rank = len(self.source.shape)
        self._set(self.source, tuple((axis_itself(self.source.shape[d], d, rank),) for d in self.axes))
        unused = self._unused_after(wanted)
        for i, op in enumerate(self.pricing.ops):
            for key, spec in wanted.get(i, {}).items():
                yield (i, key), self.field_of(spec)
            for storage in unused.get(i - 1, ()):
                for key in self._of_storage.pop(storage, ()):
                    self._now.pop(key, None)
            self._step(op)
        end = len(self.pricing.ops)
        for key, spec in wanted.get(end, {}).items():
            yield (end, key), self.field_of(spec)

    def _unused_after(self, wanted: Mapping[int, Mapping[int, TensorSpec]]) -> dict[int, list[int]]:
        """The storages that no op after an index has to do with, by that index."""
        last: dict[int, int] = {}
        for i, op in enumerate(self.pricing.ops):
            for spec in wanted.get(i, {}).values():
                last[spec.storage] = i - 1
            for _, spec in op.call.tensors():
                last[spec.storage] = i
            for spec in op.call.outputs:
                last[spec.storage] = i
        for spec in wanted.get(len(self.pricing.ops), {}).values():
            last[spec.storage] = len(self.pricing.ops)
        unused: dict[int, list[int]] = {}
        for storage, i in last.items():
            unused.setdefault(i, []).append(storage)
        return unused

    def field_of(self, spec: TensorSpec) -> Field:
        """The field of the tensor at this point of the execution."""
        field, known = self._now.get(id(spec), ((), 0))
        if known == self._writes.get(spec.storage, 0):
            return field
        view = self._views.get(id(spec))
        if view is not None:
            field = self._output_field({"": view.base}, spec.shape, view.access)
        self._set(spec, field)
        return field

    def _set(self, spec: TensorSpec, field: Field) -> None:
        if id(spec) not in self._now:
            self._of_storage.setdefault(spec.storage, []).append(id(spec))
        self._now[id(spec)] = field, self._writes.get(spec.storage, 0)

    def _step(self, op: PricedOp) -> None:
        call = op.call
        tensors = dict(call.tensors())
        if not any(self.field_of(t) for t in tensors.values()):
            self._note_views(op, tensors)
            return
        for i, y in enumerate(call.outputs):
            if op.rule is None:
                access: AccessMap = {name: (All(),) * len(t.shape) for name, t in tensors.items()}
            else:
                access = op.rule.access(call, i)
            field = self._output_field(tensors, y.shape, access)
            if op.rule is None:
                note = f"{call.op!r} has no rule: it is taken to see everything"
                field = tuple(tuple(replace(path, notes=path.notes | {note}) for path in paths) for paths in field)
            if call.inplace:
                self._write(y, field)
            else:
                self._set(y, field)
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

    # -- one output -------------------------------------------------------------------------------------------

    def _output_field(self, tensors: Mapping[str, TensorSpec], out: Shape, access: AccessMap) -> Field:
        if 0 in out:
            return ()
        if isinstance(access, Reshaped):
            base = tensors[access.arg]
            field = self.field_of(base)
            if base.shape == out or not any(field):
                return field
            return self._memo.answer(
                [field], (base.shape, out), lambda: reshape_field(field, base.shape, out, real=self.real)
            )
        read = [
            (tensors[name], _adaptive_as_all(axis_maps, out), field)
            for name, axis_maps in access.items()
            if any(field := self.field_of(tensors[name]))
        ]
        if len(read) == 1 and is_identity(read[0][1], read[0][0].shape, out):
            return read[0][2]
        rest = (out, *((axis_maps, spec.shape) for spec, axis_maps, _ in read))
        return self._memo.answer([field for _, _, field in read], rest, lambda: self._composed(read, out))

    def _composed(self, read: Sequence[_Read], out: Shape) -> Field:
        """The field of an output that is not merely the one of what was read."""
        pieces = {t.dim for _, axis_maps, _ in read for t in axis_maps if isinstance(t, Slice)}
        result: list[Paths] = []
        for axis in range(len(self.axes)):
            if len(read) > 1 and pieces:
                arguments = [(field[axis], axis_maps, spec.shape) for spec, axis_maps, field in read]
                same = same_pieces(arguments, out, real=self.real)
                if same is not None:
                    result.append(same)
                    continue
                whole = concatenate(arguments, out, real=self.real) if len(read) > 2 else None
                if whole is not None:
                    result.append((compress(whole, pieces),))
                    continue
            paths: list[Path] = []
            summed = False
            for spec, axis_maps, field in read:
                if is_identity(axis_maps, spec.shape, out):
                    paths.extend(field[axis])
                    continue
                uniform = self._is_uniform(axis, read, out)
                composed = compose(field[axis], axis_maps, spec.shape, out, real=self.real, uniform=uniform)
                summed |= any(
                    a.kind == "local" and b.kind == "reduced" for a, b in zip(field[axis], composed, strict=False)
                )
                paths.extend(composed)
            if len(read) > 1:
                paths = self._after_contraction(axis, paths, read, summed)
            if len(paths) > 1:
                merged = union(paths, real=self.real)
                paths = [compress(path, pieces - path.axis_dims.keys()) for path in merged] if pieces else list(merged)
            result.append(tuple(paths))
        return tuple(result)

    def _after_contraction(self, axis: int, paths: list[Path], read: Sequence[_Read], summed: bool) -> list[Path]:
        """The paths, their kinds corrected where one argument was summed up along the axis before the contraction."""
        kinds = {
            path.kind
            for spec, axis_maps, field in read
            if not any(path.axis_dims for path in field[axis])
            and any(isinstance(axis_map, All) and n > 1 for axis_map, n in zip(axis_maps, spec.shape, strict=True))
            for path in field[axis]
        }
        if "mixed" in kinds and summed:
            # Weights mixed along the axis by a softmax, times values summed up by them: one sum.
            return [replace(path, kind="reduced") if path.kind == "mixed" else path for path in paths]
        if "reduced" in kinds and any(path.kind == "local" and path.axis_dims for path in paths):
            # A matrix summed up over the axis, times each position: linear attention, not a gate.
            return [replace(path, kind="mixed") if path.kind == "reduced" else path for path in paths]
        return paths

    def _is_uniform(self, axis: int, read: Sequence[_Read], out: Shape) -> bool:
        """Whether an output that sums up the axis depends on it in the same way at all of its positions.

        It does not where an output dimension is new (a dense layer's features) or follows the axis along another path
        (the queries of an attention).
        """
        free = set()
        for spec, axis_maps, field in read:
            axis_dims = {d for path in field[axis] for d in path.axis_dims if spec.shape[d] > 1}
            for d, axis_map in enumerate(axis_maps):
                if isinstance(axis_map, (Affine, Rolled)) and d not in axis_dims:
                    free.add(axis_map.dim)
                elif isinstance(axis_map, (Affine, Rolled)):
                    return False
        return all(n == 1 or e in free for e, n in enumerate(out))

    # -- writing in place -------------------------------------------------------------------------------------

    def _write(self, spec: TensorSpec, field: Field) -> None:
        chain: list[tuple[TensorSpec, Field]] = []
        child, new = spec, field
        chain.append((spec, field))
        while (view := self._views.get(id(child))) is not None:
            new = overwrite(self.field_of(view.base), view.base.shape, new, child.shape, view.access, self.real)
            chain.append((view.base, new))
            child = view.base
        self._writes[spec.storage] = self._writes.get(spec.storage, 0) + 1
        for written, now in chain:
            self._set(written, now)


def _adaptive_as_all(axis_maps: tuple[AxisMap, ...], out: Shape) -> tuple[AxisMap, ...]:
    """The axis maps, with ``All`` for adaptive windows that span the whole input."""
    if any(isinstance(axis_map, Adaptive) and out[axis_map.dim] == 1 for axis_map in axis_maps):
        return tuple(
            All() if isinstance(axis_map, Adaptive) and out[axis_map.dim] == 1 else axis_map for axis_map in axis_maps
        )
    return axis_maps
