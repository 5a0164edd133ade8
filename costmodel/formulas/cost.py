"""What a formula returns: the cost of a layer, and of a block, which is named layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from costmodel.quantities import Count, Work

NO_WORK = Work()
"""No arithmetic."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerCost:
    """The cost of one layer. Every count is a Python int, a NumPy array or a sympy expression, as its inputs were.

    ``a + b`` is the cost of both, with the output of ``b``: the sum reads as "a, then b".

    >>> step = LayerCost(kind="add", output_shape=(1, 8), read=16, written=8, work=Work(adds=8))
    >>> (step + step).memory_access, (step + step).flops
    (48, 16)
    """

    kind: str
    """The field's word: standard conv, depthwise conv, linear, norm, ..."""
    output_shape: tuple[Count, ...]
    output_size: tuple[Count, ...] = ()
    """The spatial part of the output's shape; () where there is none."""
    read: Count
    """Elements read, when each op is a kernel of its own."""
    written: Count
    """Elements written, likewise."""
    work: Work = field(default_factory=Work)
    """Arithmetic by kind."""
    params: Count = 0
    """Learnt elements."""
    buffers: Count = 0
    """Elements kept and not learnt, such as running statistics."""
    activations: Count = 0
    """Output elements of convolutions and matrix products; 0 for every other layer."""

    @property
    def macs(self) -> Count:
        """Multiply-accumulates, taps on padding included."""
        return self.work.macs

    @property
    def flops(self) -> Count:
        """Arithmetic operations, a multiply-accumulate being two."""
        return self.work.flops

    @property
    def memory_access(self) -> Count:
        """Elements read plus elements written."""
        return self.read + self.written

    def __add__(self, other: LayerCost) -> LayerCost:
        return LayerCost(
            kind=self.kind if self.kind == other.kind else "other",
            output_shape=other.output_shape,
            output_size=other.output_size,
            read=self.read + other.read,
            written=self.written + other.written,
            work=self.work + other.work,
            params=self.params + other.params,
            buffers=self.buffers + other.buffers,
            activations=self.activations + other.activations,
        )


def total(layers: Iterable[LayerCost]) -> LayerCost:
    """The cost of layers run one after the other; the output is the last one's.

    >>> step = LayerCost(kind="activation", output_shape=(1, 8), read=8, written=8, work=Work(compares=8))
    >>> total([step] * 3).flops
    24
    """
    steps = list(layers)
    if not steps:
        raise ValueError("layers is empty: a total needs at least one layer")
    result = steps[0]
    for step in steps[1:]:
        result = result + step
    return result


def as_one(kind: str, *steps: LayerCost, params: Count = 0, buffers: Count = 0) -> LayerCost:
    """Several kernels that make up one layer, under the layer's own kind."""
    whole = total(steps)
    return replace(whole, kind=kind, params=whole.params + params, buffers=whole.buffers + buffers)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockCost:
    """The layers of a block, each under its name, in the order they run; totals are sums over them."""

    layers: tuple[tuple[str, LayerCost], ...]

    @property
    def total(self) -> LayerCost:
        """The sum of the layers."""
        return total(layer for _, layer in self.layers)

    @property
    def params(self) -> Count:
        """Learnt elements."""
        return self.total.params

    @property
    def buffers(self) -> Count:
        """Elements kept and not learnt."""
        return self.total.buffers

    @property
    def work(self) -> Work:
        """Arithmetic by kind."""
        return self.total.work

    @property
    def macs(self) -> Count:
        """Multiply-accumulates."""
        return self.total.macs

    @property
    def flops(self) -> Count:
        """Arithmetic operations."""
        return self.total.flops

    @property
    def memory_access(self) -> Count:
        """Elements read plus elements written."""
        return self.total.memory_access

    @property
    def activations(self) -> Count:
        """Output elements of convolutions and matrix products."""
        return self.total.activations

    @property
    def output_shape(self) -> tuple[Count, ...]:
        """The shape that the block returns."""
        return self.layers[-1][1].output_shape

    @property
    def output_size(self) -> tuple[Count, ...]:
        """The spatial part of that shape."""
        return self.layers[-1][1].output_size

    def __getitem__(self, name: str) -> LayerCost:
        for own, layer in self.layers:
            if own == name:
                return layer
        raise KeyError(f"no layer {name!r} in this block: it has {', '.join(own for own, _ in self.layers)}")

    def __add__(self, other: BlockCost) -> BlockCost:
        return BlockCost(layers=self.layers + other.layers)
