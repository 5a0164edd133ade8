"""The exact receptive field of any layer of a traced network, per input axis.

Definition: for one output element and one input axis, the interval of input positions that can influence it. The
*nominal* interval is the literature's: windows reach into the padding, and may be larger than the input.

This package knows no op: it composes the access maps that the rules state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import cached_property

from costmodel.errors import CostModelError, InputError
from costmodel.graph import TensorSpec, tensors_in
from costmodel.pricing import Pricing, TracedLayer
from costmodel.receptive_field.flow import Flow
from costmodel.receptive_field.paths import MAX_ENTRIES, Field
from costmodel.receptive_field.result import ReceptiveField, Summary, seen, summarise
from costmodel.records import dataclass

__all__ = ["Fields", "ReceptiveField", "UnknownLayerError"]


class UnknownLayerError(CostModelError):
    """No layer, module or op of the trace has that name, or its output has no receptive field."""


@dataclass(frozen=True, eq=False)
class Fields:
    """The receptive fields of all layers of one trace, computed when first asked for."""

    pricing: Pricing

    @cached_property
    def source(self) -> TensorSpec | None:
        """The input that fields refer to: the first that has spatial axes, else the first that has any axis.

        An empty tensor has no positions that anything could depend on.
        """
        inputs = [t for t in tensors_in((self.pricing.graph.inputs, self.pricing.graph.kwargs)) if 0 not in t.shape]
        spatial = [t for t in inputs if len(t.shape) > 2]
        return next(iter(spatial or [t for t in inputs if len(t.shape) > 1]), None)

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """The spatial dimensions of ``source``: all after (batch, channels); of (batch, tokens) the tokens."""
        rank = 0 if self.source is None else len(self.source.shape)
        return tuple(range(2, rank)) if rank > 2 else tuple(range(1, rank))

    def of(self, layer: TracedLayer) -> ReceptiveField | None:
        """The field at a layer's (first) output; ``None`` where it does not depend on the input's positions."""
        summary = self._summary(self._key(layer))
        return None if summary is None else summary.result(layer.name)

    def at(self, layer: str | None = None, position: Sequence[int] | None = None) -> ReceptiveField:
        """The field at the output of a layer by its name, for all output positions or for one.

        Args:
            layer: the name of a module, or of a row of ``Profile.layers``; ``None`` for the deepest feature map whose
                field is still local: before global pooling, flatten or attention.
            position: one index for each dimension of the output that holds the input's axes, in their order.

        Raises:
            UnknownLayerError: there is no such layer, or it does not depend on the input's positions.
            InputError: the position lies outside the layer's output.
        """
        if layer is not None and not isinstance(layer, str):
            raise InputError(f"layer={layer!r} is no name of a layer, as in Profile.layers")
        name, key, spec = self._deepest_local() if layer is None else self._find(layer)
        summary = self._summary(key)
        if summary is None and self._too_long:
            raise UnknownLayerError(self._too_long)
        if summary is None:
            raise UnknownLayerError(f"the output of {name!r} does not depend on the positions of any input")
        if position is None:
            found = summary.result(name)
        else:
            if not isinstance(position, Sequence) or not all(isinstance(p, int) for p in position):
                raise InputError(f"position={position!r} is no tuple of ints, an index for each axis")
            index = _index(self._dims(summary, spec), tuple(position), spec)
            there = summarise(self._nominal[key], self._lengths, index)
            found = there.result(name, tuple(position), seen(self._real[key], index))
        return replace(found, attention=self._attention_at(key, found, deepest=layer is None))

    def dims(self, layer: str) -> tuple[int, ...]:
        """The dimensions of a layer's output that a ``position`` indexes: those that hold the input's axes."""
        _, key, spec = self._find(layer)
        return self._dims(self._summary(key), spec)

    @cached_property
    def attention(self) -> TracedLayer | None:
        """The first layer that joins all positions and leaves as many: attention, or the softmax of one written out."""
        for layer in self.pricing.layers:
            if layer.may_join_positions:
                field = self.of(layer)
                # A classifier's softmax comes where no positions are left to step between.
                if field is not None and field.sees_all and any(step is not None for step in field.stride):
                    return layer
        return None

    def _attention_at(self, key: tuple[int, int], found: ReceptiveField, *, deepest: bool) -> str | None:
        first = self.attention
        if first is None or not (deepest or (found.sees_all and key[0] >= first.ops[-1].call.index)):
            return None
        return first.name

    # -- which layer ------------------------------------------------------------------------------------------

    def _deepest_local(self) -> tuple[str, tuple[int, int], TensorSpec]:
        for layer in reversed(self.pricing.layers):
            key = self._key(layer)
            summary = self._summary(key)
            if key is not None and summary is not None and summary.is_feature_map:
                return layer.name, key, layer.outputs[0]
        if self.source is None:
            raise UnknownLayerError(
                "no input has positions along an axis: each is empty, or has fewer than two dimensions. "
                "Profile the model on a larger input"
            )
        why = "" if self.attention is None else f", as attention joins all positions ({self.attention.name})"
        raise UnknownLayerError(
            self._too_long or f"no layer has a local receptive field{why}; name the layer that you mean"
        )

    def _find(self, name: str) -> tuple[str, tuple[int, int], TensorSpec]:
        for layer, end, spec in reversed(list(self._readable())):
            if layer == name:
                return name, (end, id(spec)), spec
        names = list(dict.fromkeys(layer for layer, _, _ in self._readable()))
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        listed = ", ".join(map(repr, near or names[:8]))
        hint = f"did you mean {listed}?" if near else f"there are {listed}" + " ..." * (len(names) > 8)
        raise UnknownLayerError(f"no layer {name!r} ran in {self.pricing.graph.model}: {hint}")

    def _readable(self) -> Iterator[tuple[str, int, TensorSpec]]:
        """Every name that can be asked for, the index of the op before which its output is read, and that output."""
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

    def _summary(self, key: tuple[int, int] | None) -> Summary | None:
        """What the field of an output amounts to; ``None`` where it does not depend on the input's positions."""
        return None if key is None else self._summaries.get(key)

    @cached_property
    def _summaries(self) -> dict[tuple[int, int], Summary]:
        found: dict[tuple[int, int], Summary] = {}
        last: tuple[Field, Summary] | None = None
        for key, field in self._flow(real=False):
            if any(field):
                # Elementwise ops hand their input's field on: in ResNet-50 two layers in three have the one before.
                if last is None or last[0] is not field:
                    last = field, summarise(field, self._lengths)
                found[key] = last[1]
        return found

    # For single positions all tables are kept, as many are asked for.

    @cached_property
    def _nominal(self) -> dict[tuple[int, int], Field]:
        return dict(self._flow(real=False))

    @cached_property
    def _real(self) -> dict[tuple[int, int], Field]:
        return dict(self._flow(real=True))

    def _flow(self, *, real: bool) -> Iterator[tuple[tuple[int, int], Field]]:
        if self.source is None or self._too_long:
            return iter(())
        wanted: dict[int, dict[int, TensorSpec]] = {}
        for _, end, spec in self._readable():
            wanted.setdefault(end, {})[id(spec)] = spec
        return Flow(self.pricing, self.source, self.axes, real).run(wanted)

    @property
    def _too_long(self) -> str:
        """Why the input is too large for tables of its positions; empty where it is not."""
        longest = max(self._lengths, default=0)
        if longest <= MAX_ENTRIES:
            return ""
        return (
            f"the input has {longest:,} positions along an axis, and receptive fields are computed for {MAX_ENTRIES:,}"
        )

    @cached_property
    def _lengths(self) -> list[int]:
        return [] if self.source is None else [self.source.shape[d] for d in self.axes]

    def _dims(self, summary: Summary | None, spec: TensorSpec) -> tuple[int, ...]:
        dims = frozenset() if summary is None else summary.dims
        # An image whose rows or columns were summed up still has both dimensions.
        is_image = self.source is not None and len(spec.shape) == len(self.source.shape) and dims <= set(self.axes)
        return self.axes if is_image else tuple(sorted(dims))


def _index(dims: Sequence[int], position: tuple[int, ...], spec: TensorSpec) -> dict[int, int]:
    lengths = tuple(spec.shape[d] for d in dims)
    if len(position) != len(dims) or any(not 0 <= p < n for p, n in zip(position, lengths, strict=True)):
        raise InputError(
            f"position={position} is not in the output {spec.shape}: its dimensions {tuple(dims)} hold the input's "
            f"axes, so give {len(dims)} indices below {lengths}"
        )
    return dict(zip(dims, position, strict=True))
