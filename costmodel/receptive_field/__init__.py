"""The receptive field of any layer of a traced network, per axis, exact: an analysis of the trace that knows no op.

Definition: for one output element and one input axis, the interval of input positions that can influence it. The
*nominal* interval is the literature's: windows reach into the padding, and may be larger than the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

from costmodel.errors import CostModelError
from costmodel.graph import TensorSpec, tensors_in
from costmodel.pricing import Pricing, TracedLayer
from costmodel.receptive_field.arms import Arm, Arms, Value, along_carriers, hull
from costmodel.receptive_field.flow import Flow

Exact: TypeAlias = int | Fraction


class UnknownLayerError(CostModelError):
    """No layer, module or op of the trace has that name, or its output has no receptive field."""


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """What one output position sees of the input. Each tuple has one entry per spatial axis of the input.

    An entry is ``None`` where the output does not depend on the axis at all, or where the word has no meaning.
    """

    layer: str
    size: tuple[int | None, ...]
    """Input positions from the first to the last that is seen, padding included; the largest of all output positions,
    where they differ. The whole axis, where the layer is global by more than a gate."""
    stride: tuple[Exact | None, ...]
    """Input positions from one output position to the next: below 1 after upsampling. The largest of the branches'."""
    start: tuple[int | None, ...]
    """The first input position that the output position (0, unless another was asked for) sees: negative in the
    padding before the input."""
    padding: tuple[int | None, ...]
    """Positions that it sees before the input begins: minus ``start``."""
    centre: tuple[Exact | None, ...]
    """The middle of what it sees."""
    is_global: bool
    """Whether the whole of an axis can influence every output position, be it through a gate alone (``gates``)."""
    gates: tuple[bool, ...]
    """Per axis, whether a value summed up over all of it is broadcast onto a local path (squeeze-excitation, the mean
    of a group norm); ``size`` is then the local path's."""
    position: tuple[int, ...] | None = None
    """The output position that was asked for."""
    seen: tuple[tuple[int, int] | None, ...] | None = None
    """For that position, the first and the last real input position on its path (gates apart): what lies in the
    padding, here and in every layer between, is left out. ``None`` for an axis of which nothing is seen."""
    notes: tuple[str, ...] = ()
    """Where branches disagree, and where the figures are no more than an upper bound."""


@dataclass(frozen=True, eq=False)
class Fields:
    """The receptive fields of all layers of one trace, computed once, when first asked for."""

    pricing: Pricing

    @cached_property
    def source(self) -> TensorSpec | None:
        """The input whose positions are meant: the first that has spatial axes, else the first."""
        inputs = list(tensors_in((self.pricing.graph.inputs, self.pricing.graph.kwargs)))
        spatial = [t for t in inputs if len(t.shape) > 2]
        return next(iter(spatial or [t for t in inputs if len(t.shape) > 1]), None)

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """Its spatial dimensions: all after (batch, channels); of (batch, tokens) the tokens."""
        rank = 0 if self.source is None else len(self.source.shape)
        return tuple(range(2, rank)) if rank > 2 else tuple(range(1, rank))

    def of(self, layer: TracedLayer) -> ReceptiveField | None:
        """The field at a layer's (first) output; ``None`` where it does not depend on the input's positions."""
        key = self._key(layer)
        value = () if key is None else self._values(real=False).get(key, ())
        return self._told(layer.name, value) if any(value) else None

    def at(self, layer: str | None = None, position: Sequence[int] | None = None) -> ReceptiveField:
        """The field at the output of a layer by its name, of all output positions or of one.

        Args:
            layer: the name of a module, or of a row of ``Profile.layers``; ``None`` for the deepest feature map whose
                field is still local: before global pooling, flatten or attention.
            position: one index for each dimension of the output that holds the input's axes, in their order.

        Raises:
            UnknownLayerError: there is no such layer, or it does not depend on the input's positions.
            ValueError: the position lies outside the layer's output.
        """
        name, key, spec = self._deepest() if layer is None else self._named(layer)
        value = self._values(real=False).get(key, ())
        if not any(value):
            raise UnknownLayerError(f"the output of {name!r} does not depend on the positions of any input")
        if position is None:
            return self._told(name, value)
        return self._told(name, value, tuple(position), spec, self._values(real=True)[key])

    def dims(self, layer: str) -> tuple[int, ...]:
        """The dimensions of a layer's output that a position gives indices of: those that hold the input's axes."""
        _, key, spec = self._named(layer)
        return self._dims(self._values(real=False).get(key, ()), spec)

    # -- which layer ------------------------------------------------------------------------------------------

    def _deepest(self) -> tuple[str, tuple[int, int], TensorSpec]:
        values = self._values(real=False)
        for layer in reversed(self.pricing.layers):
            key = self._key(layer)
            if key is not None and _is_feature_map(values.get(key, ())):
                return layer.name, key, layer.outputs[0]
        raise UnknownLayerError("no layer has a local receptive field; name the layer that you mean")

    def _named(self, name: str) -> tuple[str, tuple[int, int], TensorSpec]:
        for layer, end, spec in reversed(list(self._places())):
            if layer == name:
                return name, (end, id(spec)), spec
        names = list(dict.fromkeys(layer for layer, _, _ in self._places()))
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        told = ", ".join(map(repr, near or names[:8]))
        hint = f"did you mean {told}?" if near else f"there are {told}" + " ..." * (len(names) > 8)
        raise UnknownLayerError(f"no layer {name!r} ran in {self.pricing.graph.model}: {hint}")

    def _places(self) -> Iterator[tuple[str, int, TensorSpec]]:
        """Every name that can be asked for, the op before which its output is to be read, and that output."""
        for call in self.pricing.graph.calls:
            for spec in list(tensors_in(call.outputs))[:1]:
                yield call.name, call.end_op, spec
        for layer in self.pricing.layers:
            if layer.module is None and layer.outputs:
                yield layer.name, layer.ops[0].call.index + 1, layer.outputs[0]

    def _key(self, layer: TracedLayer) -> tuple[int, int] | None:
        if not layer.outputs:
            return None
        end = layer.module.end_op if layer.module is not None else layer.ops[0].call.index + 1
        return end, id(layer.outputs[0])

    def _values(self, *, real: bool) -> dict[tuple[int, int], Value]:
        return self._real if real else self._nominal

    @cached_property
    def _nominal(self) -> dict[tuple[int, int], Value]:
        return self._flow(real=False)

    @cached_property
    def _real(self) -> dict[tuple[int, int], Value]:
        return self._flow(real=True)

    def _flow(self, *, real: bool) -> dict[tuple[int, int], Value]:
        if self.source is None:
            return {}
        wanted: dict[int, list[TensorSpec]] = {}
        for _, end, spec in self._places():
            wanted.setdefault(end, []).append(spec)
        return Flow(self.pricing, self.source, self.axes, real).run(wanted)

    def _dims(self, value: Value, spec: TensorSpec) -> tuple[int, ...]:
        held = {d for arms in value for arm in arms for d in arm.carriers}
        # An image stays one where its rows or columns were summed up.
        is_image = self.source is not None and len(spec.shape) == len(self.source.shape) and held <= set(self.axes)
        return self.axes if is_image else tuple(sorted(held))

    # -- what is told of it -----------------------------------------------------------------------------------

    def _told(
        self,
        name: str,
        value: Value,
        position: tuple[int, ...] | None = None,
        spec: TensorSpec | None = None,
        real: Value = (),
    ) -> ReceptiveField:
        index: dict[int, int] = {}
        if position is not None and spec is not None:
            index = _index(self._dims(value, spec), position, spec)
        assert self.source is not None
        lengths = [self.source.shape[d] for d in self.axes]
        axes = [_axis(arms, length, index) for arms, length in zip(value, lengths, strict=True)]
        seen = None
        if position is not None:
            seen = tuple(_extent(_path(arms), index) for arms in real)
        return ReceptiveField(
            layer=name,
            size=tuple(a.size for a in axes),
            stride=tuple(a.stride for a in axes),
            start=tuple(a.start for a in axes),
            padding=tuple(None if a.start is None else -a.start for a in axes),
            centre=tuple(a.centre for a in axes),
            is_global=any(a.is_global for a in axes),
            gates=tuple(a.gated for a in axes),
            position=position,
            seen=seen,
            notes=tuple(dict.fromkeys(note for a in axes for note in a.notes)),
        )


@dataclass(frozen=True, slots=True)
class _Axis:
    size: int | None = None
    stride: Exact | None = None
    start: int | None = None
    centre: Exact | None = None
    is_global: bool = False
    gated: bool = False
    notes: tuple[str, ...] = ()


def _axis(arms: Arms, length: int, index: dict[int, int]) -> _Axis:
    if not arms:
        return _Axis()
    local = [arm for arm in arms if arm.kind == "local"]
    mixed = any(arm.kind == "mixed" for arm in arms)
    gated = bool(local) and not mixed and any(arm.kind == "reduced" for arm in arms)
    notes = tuple(sorted({note for arm in arms for note in arm.notes}))
    strides = sorted({per for arm in local if (per := _stride(arm)) is not None}, key=abs)
    if len(strides) > 1:
        told = " and ".join(map(str, strides))
        notes = (*notes, f"branches of strides {told} join: the field is their union, the stride the largest")
    stride = _plain(strides[-1]) if strides else None
    if mixed or not local:
        return _Axis(length, stride, 0, _plain(Fraction(length - 1, 2)), is_global=True, notes=notes)
    low, high = hull(along_carriers(arm) for arm in local)
    size = int((high - low).max()) + 1
    at = _extent(local, index)
    if at is None:
        return _Axis(max(size, 0), stride, None, None, gated, gated, notes)
    first, last = at
    if index:
        size = last - first + 1
    return _Axis(size, stride, first, _plain(Fraction(first + last, 2)), gated, gated, notes)


def _stride(arm: Arm) -> Fraction | None:
    """From one position to the next: along rows of what was cut into rows, as along pixels of which each is a row."""
    return max((law.stride for law in arm.carriers.values()), key=abs, default=None)


def _path(arms: Arms) -> list[Arm]:
    """The arms that ``size`` speaks of: the local ones, unless the layer is global by more than a gate."""
    if any(arm.kind == "mixed" for arm in arms):
        return list(arms)
    return [arm for arm in arms if arm.kind == "local"] or list(arms)


def _extent(arms: Sequence[Arm], index: dict[int, int]) -> tuple[int, int] | None:
    """What the output position at ``index`` (0 where it is not given) sees through all of the arms together."""
    intervals = []
    for arm in arms:
        at = tuple(
            0 if n == 1 else index.get(d, 0 if d in arm.carriers else slice(None)) for d, n in enumerate(arm.low.shape)
        )
        low, high = arm.low[at].min(), arm.high[at].max()
        if low <= high:
            intervals.append((int(low), int(high)))
    return (min(low for low, _ in intervals), max(high for _, high in intervals)) if intervals else None


def _index(dims: Sequence[int], position: tuple[int, ...], spec: TensorSpec) -> dict[int, int]:
    lengths = tuple(spec.shape[d] for d in dims)
    if len(position) != len(dims) or any(not 0 <= p < n for p, n in zip(position, lengths, strict=True)):
        raise ValueError(
            f"position={position} is not in the output {spec.shape}: its dimensions {tuple(dims)} hold the input's "
            f"axes, so give {len(dims)} indices below {lengths}"
        )
    return dict(zip(dims, position, strict=True))


def _is_feature_map(value: Value) -> bool:
    """Whether every axis goes along one dimension of its own, and every path to the input is local, gates apart.

    It goes along no dimension by a law once it was flattened with another axis or with channels, and along two in the
    windows that it was cut into.
    """
    held: set[int] = set()
    for arms in value:
        local = [{d for d, law in arm.carriers.items() if law.period} for arm in arms if arm.kind == "local"]
        if any(arm.kind == "mixed" or arm.fitted for arm in arms) or any(len(lawful) > 1 for lawful in local):
            return False
        carriers = set().union(*local)
        if not carriers or carriers & held:
            return False
        held |= carriers
    return bool(held)


def _plain(value: Fraction) -> Exact:
    return value.numerator if value.denominator == 1 else value
