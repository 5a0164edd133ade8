"""Which ops could run as one kernel, and what such kernels read and write: the *fused* memory access.

Nothing here knows an op: its rule states whether it is ``fusible``, its traffic and its access maps.

**Kernels.** Ops are taken in the order in which they ran. An op joins the kernel that made its input if

- its rule says that it is fusible, and each of its outputs depends on single positions of its inputs (so a batch norm
  joins at inference, and not in training, where it first needs the mean over the whole channel), and
- of all kernels that made one of its inputs, the latest made one of as many elements as its own output.

Every other op that moves or computes anything begins a kernel of its own. Joining the latest producer keeps the kernel
graph acyclic. A squeeze-excitation's multiplication therefore stays alone: its latest input is the small gate, and the
map it scales had to be written for the gate to be computed from it.

**Traffic.** A kernel's traffic is that of its ops, without

- reads of what the same kernel made, or has read already, and
- writes of what only the same kernel reads. What nobody reads, what another kernel reads, what the model returns or
  keeps, and what lies in a parameter, buffer or input, is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from functools import cached_property

from costmodel.access import All, Reshaped
from costmodel.graph import TensorSpec
from costmodel.ops.rule import unique
from costmodel.pricing import PricedOp, Pricing
from costmodel.quantities import Traffic, Work
from costmodel.records import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Ops that could run as one kernel: the first, and those that joined it."""

    index: int
    ops: tuple[PricedOp, ...]
    traffic: Traffic
    """What the kernel reads from other kernels, and writes for them."""

    @property
    def work(self) -> Work:
        """The arithmetic of its ops."""
        return sum((op.work for op in self.ops), Work())

    @property
    def unfused(self) -> Traffic:
        """The traffic of its ops, each as a kernel of its own."""
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
        """What each op adds to its kernel's traffic: its own, without reads and writes inside the kernel.

        In the order of ``Pricing.ops``; the kernels' traffic is the sum of their ops'.
        """
        return self._fused[1]

    @cached_property
    def traffic(self) -> Traffic:
        """The whole model's traffic: a lower bound for any schedule with these kernels."""
        return sum((kernel.traffic for kernel in self.kernels), Traffic())

    @property
    def op_sources(self) -> tuple[tuple[int, ...], ...]:
        """For each op the indices of the ops whose results it reads; -1 for the model's inputs.

        In the order of ``Pricing.ops``. An op in no kernel, such as a view, has none: its readers read its sources.
        """
        return self._fused[2]

    @cached_property
    def _fused(self) -> tuple[tuple[Kernel, ...], tuple[Traffic, ...], tuple[tuple[int, ...], ...]]:
        return _fuse(self.pricing)


@dataclass(slots=True, eq=False)
class _Write:
    """One op's write to a storage."""

    op: int
    kernel: int
    spec: TensorSpec
    readers: set[int] = field(default_factory=set)
    """The kernels that read it."""
    outlives: bool = False
    """Whether it is still there after the forward pass."""


def _fuse(pricing: Pricing) -> tuple[tuple[Kernel, ...], tuple[Traffic, ...], tuple[tuple[int, ...], ...]]:
    storages = pricing.graph.storages
    writers_of: dict[int, list[_Write]] = {}  # by storage: the writes that its present content comes from
    writes: list[_Write] = []
    members: list[list[PricedOp]] = []  # of each kernel
    sources: list[set[int]] = [set() for _ in pricing.ops]
    external_reads: list[set[tuple[int, ...]]] = []  # of each kernel: what it has read from outside, and in which state
    op_traffic = [op.traffic for op in pricing.ops]

    for op, traffic in zip(pricing.ops, op_traffic, strict=True):
        if not traffic.elements and not op.work.flops:
            continue  # a view, an allocation, or an op without a rule: in no kernel
        reads = list(_reads(op))
        kernel = _kernel_to_join(op, reads, writers_of)
        joins = kernel is not None
        if kernel is None:
            kernel = len(members)
            members.append([])
            external_reads.append(set())
        members[kernel].append(op)
        index = op.call.index
        for tensor in reads:
            writers = writers_of.get(tensor.storage, [])
            for write in writers:
                write.readers.add(kernel)
            is_internal = bool(writers) and all(write.kernel == kernel for write in writers)
            key = (id(tensor), *map(id, writers))
            if joins and (is_internal or key in external_reads[kernel]):
                op_traffic[index] = _minus_tensor(op_traffic[index], read=tensor)
            if not is_internal:
                external_reads[kernel].add(key)
            sources[index].update(write.op for write in writers)
            if not writers and storages[tensor.storage].role == "input":
                sources[index].add(-1)
        for spec in op.call.outputs:
            if spec.storage < 0:
                continue  # empty: batch norm at inference saves no statistics
            write = _Write(index, kernel, spec)
            writes.append(write)
            if spec.nbytes >= storages[spec.storage].nbytes:
                writers_of[spec.storage] = [write]
            else:  # only a part is overwritten
                writers_of.setdefault(spec.storage, []).append(write)

    for storage, writers in writers_of.items():
        outlives = storages[storage].freed_after is None or storages[storage].role in ("parameter", "buffer", "input")
        for write in writers:
            write.outlives |= outlives
    for write in writes:
        if write.readers == {write.kernel} and not write.outlives and op_traffic[write.op].written:
            op_traffic[write.op] = _minus_tensor(op_traffic[write.op], written=write.spec)

    kernels = tuple(
        Kernel(i, tuple(ops), sum((op_traffic[op.call.index] for op in ops), Traffic()))
        for i, ops in enumerate(members)
    )
    return kernels, tuple(op_traffic), tuple(tuple(sorted(s)) for s in sources)


def _reads(op: PricedOp) -> Iterator[TensorSpec]:
    """The tensors whose values an op reads: all but destinations that it overwrites."""
    tensors = unique(t for _, t in op.call.tensors())
    if op.call.inplace and op.rule is not None:
        others = tensors[len(op.call.outputs) :]
        tensors = others if op.traffic.read == sum(t.distinct for t in others) else tensors
    yield from tensors


def _kernel_to_join(op: PricedOp, reads: list[TensorSpec], writers_of: dict[int, list[_Write]]) -> int | None:
    """The kernel that an op joins, or ``None`` where it begins one."""
    if not is_elementwise(op):
        return None
    latest, elements = -1, 0
    for tensor in reads:
        for write in writers_of.get(tensor.storage, ()):
            if write.kernel >= latest:
                elements = max(tensor.size, elements) if write.kernel == latest else tensor.size
                latest = write.kernel
    return latest if latest >= 0 and elements == op.call.outputs[0].size else None


def is_elementwise(op: PricedOp) -> bool:
    """Whether an op could join the kernel that makes its input: each output depends on single positions.

    A batch norm is elementwise at inference, and not in training, where its statistics are the batch's own.
    """
    if op.rule is None or not op.rule.fusible or not op.call.outputs:
        return False
    access = op.rule.access(op.call, 0)
    return not (isinstance(access, Reshaped) or any(isinstance(m, All) for maps in access.values() for m in maps))


def _minus_tensor(traffic: Traffic, read: TensorSpec | None = None, written: TensorSpec | None = None) -> Traffic:
    """The traffic without reading, or without writing, one tensor."""
    r, w = (0 if t is None else t.distinct for t in (read, written))
    return Traffic(
        read=traffic.read - r,
        written=traffic.written - w,
        read_bytes=traffic.read_bytes - (r * read.itemsize if read else 0),
        written_bytes=traffic.written_bytes - (w * written.itemsize if written else 0),
    )
