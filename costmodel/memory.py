"""Memory of a forward pass: each layer's traffic and arithmetic intensity, and the bytes live at once.

**Live bytes** are those of every storage from the op that allocates it to the op after which nothing refers to it any
more, as the trace saw Python release it. Views and in-place ops share their base's storage; what an op allocates for
itself lives as long as the op. The model's inputs, which their caller holds, count throughout. Parameters and buffers
are said apart. Left out: what a kernel asks for and frees itself (its workspace: cuDNN's, oneDNN's, a dropout's
noise), and the allocator's rounding and fragmentation. A training-mode forward is counted as it runs without autograd:
what autograd would save for the backward pass is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import TYPE_CHECKING, ClassVar

from costmodel.formulas.memory import pointwise_memory_access_bound
from costmodel.fusion import Fusion
from costmodel.measures import MEASURES
from costmodel.pricing import Pricing, TracedLayer
from costmodel.quantities import Traffic
from costmodel.records import dataclass
from costmodel.shown import Shown

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Allocation:
    """One storage that is live at the peak."""

    nbytes: int
    made_by: str
    """The op that allocated it, or the first to take it where torch made it without an op; ``""`` for an input."""
    module: str
    """The qualified name of the module in which it was allocated."""


@dataclass(frozen=True, slots=True)
class PeakMemory(Shown):
    """The peak of live activations: how many bytes, at which op, and which tensors."""

    view: ClassVar[str] = "peak memory"

    nbytes: int
    """Without parameters and buffers."""
    index: int
    """The index of the op that runs at the peak; -1 if no op ran."""
    op: str
    module: str
    """The qualified name of the innermost module in which that op runs."""
    live: tuple[Allocation, ...] = field(repr=False)
    """The storages live at the peak, largest first."""
    curve: tuple[int, ...] = field(repr=False)
    """Live bytes while each op runs, in order."""
    parameters: int
    """Bytes of distinct parameters."""
    buffers: int
    """Bytes of distinct buffers."""

    @property
    def total(self) -> int:
        """The peak with parameters and buffers: what a device needs, without workspaces and rounding."""
        return self.nbytes + self.parameters + self.buffers


@dataclass(frozen=True, slots=True, eq=False)
class LayerMemory:
    """One layer's traffic and arithmetic."""

    name: str
    type: str
    kind: str
    macs: int
    flops: int
    traffic: Traffic
    """Every op a kernel of its own."""
    fused: Traffic
    """The layer's share of the traffic of fused kernels (``costmodel.fusion``)."""
    least: float | None
    """For a 1x1 convolution that is not grouped: the least elements at as many multiply-accumulates (ShuffleNetV2's
    G1), its bias included."""

    @property
    def ratio(self) -> float | None:
        """Actual over least memory access; 1 where input and output have as many channels."""
        return self.traffic.elements / self.least if self.least else None

    @property
    def macs_per_element(self) -> float:
        """Multiply-accumulates per element read or written."""
        return self.macs / self.traffic.elements if self.traffic.elements else 0.0

    @property
    def macs_per_byte(self) -> float:
        """Multiply-accumulates per byte read or written."""
        return self.macs / self.traffic.bytes if self.traffic.bytes else 0.0

    @property
    def flops_per_element(self) -> float:
        """Arithmetic operations per element read or written."""
        return self.flops / self.traffic.elements if self.traffic.elements else 0.0

    @property
    def flops_per_byte(self) -> float:
        """Arithmetic operations per byte read or written: the x-axis of a roofline."""
        return self.flops / self.traffic.bytes if self.traffic.bytes else 0.0


def peak_memory(pricing: Pricing) -> PeakMemory:
    """The peak of live bytes over one execution, from its storages' lifetimes."""
    graph = pricing.graph
    n = len(graph.ops)
    change = [0] * (n + 2)
    at_rest = {"parameter": 0, "buffer": 0}
    counted = []
    for storage in graph.storages:
        if storage.role in at_rest:
            at_rest[storage.role] += storage.nbytes
            continue
        counted.append(storage)
        first, last = max(storage.allocated_at, 0), n - 1 if storage.freed_after is None else storage.freed_after
        change[first] += storage.nbytes
        change[max(last, first) + 1] -= storage.nbytes
    curve, live = [], 0
    for i in range(n):
        live += change[i]
        curve.append(live)
    index = max(range(n), key=curve.__getitem__, default=-1)
    here = [
        s for s in counted
        if max(s.allocated_at, 0) <= index and (s.freed_after is None or max(s.freed_after, s.allocated_at, 0) >= index)
    ]  # fmt: skip
    return PeakMemory(
        nbytes=curve[index] if n else sum(s.nbytes for s in counted),
        index=index,
        op=graph.ops[index].op if n else "",
        module=pricing.module_name(graph.ops[index]) if n else "",
        live=tuple(
            Allocation(
                s.nbytes,
                graph.ops[s.allocated_at].op if s.allocated_at >= 0 else "",
                pricing.module_name(graph.ops[s.allocated_at]) if s.allocated_at >= 0 else "",
            )
            for s in sorted(here, key=lambda s: -s.nbytes)
        ),
        curve=tuple(curve),
        parameters=at_rest["parameter"],
        buffers=at_rest["buffer"],
    )


def layer_memory(pricing: Pricing, fusion: Fusion) -> tuple[LayerMemory, ...]:
    """Every layer's traffic, alone and fused, and its intensity, in the order of ``Pricing.layers``."""
    return tuple(_layer_memory(layer, fusion) for layer in pricing.layers)


def _layer_memory(layer: TracedLayer, fusion: Fusion) -> LayerMemory:
    work = layer.work
    return LayerMemory(
        layer.name,
        layer.type,
        layer.kind,
        int(work.macs),
        int(work.flops),
        layer.traffic,
        sum((fusion.op_traffic[op.call.index] for op in layer.ops), Traffic()),
        next(_least_of_pointwise(layer), None),
    )


def _least_of_pointwise(layer: TracedLayer) -> Iterator[float]:
    for op in layer.ops:
        if op.kind != "pointwise conv" or len(layer.ops) > 1:
            continue
        _, filters, *bias = (tensor for _, tensor in op.call.tensors())
        y = op.call.outputs[0]
        if 0 in (y.size, filters.size):
            continue  # the bound applies to positions that are there
        positions = y.size // filters.shape[0]  # of the whole batch
        # With a stride, or with padding, the input has other positions than the output, and the bound does not apply.
        if op.traffic.elements == positions * sum(filters.shape[:2]) + filters.size + sum(b.size for b in bias):
            least = pointwise_memory_access_bound(macs=op.work.macs, size=(positions,))
            yield float(least) + sum(b.size for b in bias)


def memory_table(layers: tuple[LayerMemory, ...]) -> pd.DataFrame:
    """The layers as a table, one column for each of ``MEMORY_COLUMNS``."""
    import pandas as pd

    rows = [
        (
            m.name, m.type, m.kind, m.traffic.elements, m.traffic.bytes, m.fused.elements, m.fused.bytes,
            m.least, m.ratio, m.macs_per_element, m.macs_per_byte, m.flops_per_element, m.flops_per_byte,
        )
        for m in layers
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(MEMORY_COLUMNS))


MEMORY_COLUMNS = {
    "name": "qualified name of the module; module/op for an op that ran outside any leaf",
    "type": "class of the module, or the op's full name",
    "kind": "category, one of ops.KINDS",
    **{name: MEASURES[name].means for name in ("memory_access", "memory_access_bytes")},
    "fused_memory_access": "elements that the layer adds to the traffic of fused kernels",
    "fused_memory_access_bytes": "the same in bytes",
    "least_memory_access": "of a 1x1 convolution: the least elements at as many multiply-accumulates",
    "memory_access_ratio": "memory access over the least",
    "macs_per_element": "multiply-accumulates per element moved",
    "macs_per_byte": "multiply-accumulates per byte moved",
    "flops_per_element": "arithmetic operations per element moved",
    "flops_per_byte": "arithmetic operations per byte moved",
}
"""The columns of ``Profile.memory``."""
