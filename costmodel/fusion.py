"""Which ops could run as one kernel, and what such kernels read and write: the *fused* memory access.

Nothing here knows an op: its rule says whether it is ``fusible``, what it moves and what it sees.

**Kernels.** Ops are taken in the order in which they ran. An op joins the kernel that made its input if

- its rule calls it fusible, and each of its outputs depends on single positions of its inputs (so a batch norm joins
  at inference, and not in training, where it first needs the mean over the whole channel), and
- of all kernels that made one of its inputs, the latest made one of as many elements as its own output.

Every other op that moves or computes anything begins a kernel of its own. The latest kernel is the only choice that is
always possible: everything else that the op reads was made before it, so kernels never wait for each other in a circle.
A squeeze-excitation's multiplication so stays alone: its latest input is the small gate, and the map it scales
had to be written for the gate to be computed from it.

**Traffic.** What a kernel moves is what its ops move, without

- reading what the same kernel made, or has read already, and
- writing what only the same kernel reads. What nobody reads, what another kernel reads, what the model returns or
  keeps, and what lies in a parameter, buffer or input, is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from costmodel.access import All, Reshaped
from costmodel.graph import TensorSpec
from costmodel.ops.rule import unique
from costmodel.pricing import PricedOp, Pricing
from costmodel.quantities import Traffic, Work


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Ops that could run as one kernel: the first one, and those that joined it."""

    index: int
    ops: tuple[PricedOp, ...]
    traffic: Traffic
    """What it reads from other kernels, and writes for others."""

    @property
    def work(self) -> Work:
        """The arithmetic of its ops."""
        return sum((op.work for op in self.ops), Work())

    @property
    def unfused(self) -> Traffic:
        """What its ops move as kernels of their own."""
        return sum((op.traffic for op in self.ops), Traffic())


@dataclass(frozen=True, eq=False)
class Fusion:
    """A priced graph as kernels."""

    pricing: Pricing

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel, in the order in which they began."""
        return self._fused[0]

    @cached_property
    def op_traffic(self) -> tuple[Traffic, ...]:
        """What each op adds to its kernel's traffic: its own, without what it reads or writes inside the kernel.

        In the order of ``Pricing.ops``; the kernels' traffic is the sum of their ops'.
        """
        return self._fused[1]

    @cached_property
    def traffic(self) -> Traffic:
        """The whole model's: a lower bound of what any schedule with these kernels moves."""
        return sum((kernel.traffic for kernel in self.kernels), Traffic())

    @property
    def op_sources(self) -> tuple[tuple[int, ...], ...]:
        """For each op the ops whose results it reads, by index; -1 stands for the model's inputs.

        In the order of ``Pricing.ops``; an op in no kernel, such as a view, reads nothing and is passed through.
        """
        return self._fused[2]

    @cached_property
    def _fused(self) -> tuple[tuple[Kernel, ...], tuple[Traffic, ...], tuple[tuple[int, ...], ...]]:
        return _fuse(self.pricing)


@dataclass(slots=True, eq=False)
class _Value:
    """What one op wrote to a storage."""

    op: int
    kernel: int
    spec: TensorSpec
    readers: set[int] = field(default_factory=set)
    """Kernels."""
    outlives: bool = False
    """Whether it is there after the forward, for whoever holds it."""


def _fuse(pricing: Pricing) -> tuple[tuple[Kernel, ...], tuple[Traffic, ...], tuple[tuple[int, ...], ...]]:
    storages = pricing.graph.storages
    held: dict[int, list[_Value]] = {}  # what lies in a storage now, by its index
    values: list[_Value] = []
    members: list[list[PricedOp]] = []
    sources: list[set[int]] = [set() for _ in pricing.ops]
    seen: list[set[tuple[int, ...]]] = []  # what each kernel has read from outside
    own = [op.traffic for op in pricing.ops]

    for op, traffic in zip(pricing.ops, own, strict=True):
        if not traffic.elements and not op.work.flops:
            continue  # a view, an allocation, or an op without a rule: in no kernel
        reads = list(_reads(op))
        joined = _joins(op, reads, held)
        if joined is None:
            kernel = len(members)
            members.append([])
            seen.append(set())
        else:
            kernel = joined
        members[kernel].append(op)
        index = op.call.index
        for tensor in reads:
            found = held.get(tensor.storage, [])
            for value in found:
                value.readers.add(kernel)
            inside = bool(found) and all(value.kernel == kernel for value in found)
            key = (id(tensor), *map(id, found))
            if joined is not None and (inside or key in seen[kernel]):
                own[index] = _less(own[index], read=tensor)
            if not inside:
                seen[kernel].add(key)
            sources[index].update(value.op for value in found)
            if not found and storages[tensor.storage].role == "input":
                sources[index].add(-1)
        for written in op.call.outputs:
            if written.storage < 0:
                continue  # empty: batch norm at inference saves no statistics
            value = _Value(index, kernel, written)
            values.append(value)
            if written.nbytes >= storages[written.storage].nbytes:
                held[written.storage] = [value]
            else:  # a part is written: the rest is still what it was
                held.setdefault(written.storage, []).append(value)

    for storage, found in held.items():
        outlives = storages[storage].freed is None or storages[storage].role in ("parameter", "buffer", "input")
        for value in found:
            value.outlives |= outlives
    for value in values:
        if value.readers == {value.kernel} and not value.outlives and own[value.op].written:
            own[value.op] = _less(own[value.op], written=value.spec)

    kernels = tuple(
        Kernel(i, tuple(ops), sum((own[op.call.index] for op in ops), Traffic())) for i, ops in enumerate(members)
    )
    return kernels, tuple(own), tuple(tuple(sorted(s)) for s in sources)


def _reads(op: PricedOp) -> Iterator[TensorSpec]:
    """The tensors whose values an op takes: all but a destination that it overwrites."""
    tensors = unique(t for _, t in op.call.tensors())
    if op.call.inplace and op.rule is not None and op.traffic.read == sum(t.distinct for t in tensors[1:]):
        tensors = tensors[1:]
    yield from tensors


def _joins(op: PricedOp, reads: list[TensorSpec], held: dict[int, list[_Value]]) -> int | None:
    """The kernel that an op joins, if it joins one."""
    if not is_elementwise(op):
        return None
    latest, elements = -1, 0
    for tensor in reads:
        for value in held.get(tensor.storage, ()):
            if value.kernel >= latest:
                elements = max(tensor.size, elements) if value.kernel == latest else tensor.size
                latest = value.kernel
    return latest if latest >= 0 and elements == op.call.outputs[0].size else None


def is_elementwise(op: PricedOp) -> bool:
    """Whether an op could join the kernel that makes its input: each output depends on single positions.

    A batch norm is elementwise at inference, and not in training, where its statistics are the batch's own.
    """
    if op.rule is None or not op.rule.fusible or not op.call.outputs:
        return False
    access = op.rule.access(op.call, 0)
    return not (isinstance(access, Reshaped) or any(isinstance(tap, All) for taps in access.values() for tap in taps))


def _less(traffic: Traffic, read: TensorSpec | None = None, written: TensorSpec | None = None) -> Traffic:
    r, w = (0 if t is None else t.distinct for t in (read, written))
    return Traffic(
        read=traffic.read - r,
        written=traffic.written - w,
        read_bytes=traffic.read_bytes - (r * read.itemsize if read else 0),
        written_bytes=traffic.written_bytes - (w * written.itemsize if written else 0),
    )
