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

from collections.abc import Sequence
from functools import cached_property

from costmodel.access import All, Reshaped
from costmodel.graph import TensorSpec
from costmodel.ops.rule import unique
from costmodel.pricing import PricedOp, Pricing
from costmodel.quantities import Traffic, Work, total_traffic
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
        return total_traffic(kernel.traffic for kernel in self.kernels)

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
    size: _Size
    is_read_inside: bool = False
    """Whether its kernel reads it."""
    is_read_outside: bool = False
    """Whether another kernel does."""
    outlives: bool = False
    """Whether it is still there after the forward pass."""


@dataclass(slots=True, eq=False)
class _Size:
    """Of a tensor: its elements, those that lie in memory, the bytes of these, and all bytes."""

    elements: int
    distinct: int
    distinct_bytes: int
    nbytes: int


@dataclass(slots=True, eq=False)
class _Outline:
    """What the fusion of an op depends on that is the same for all ops that are alike.

    Reading it off each would take as long as all else: of 100,000 ops in a row 0.4 s, where the trace took 0.7.
    """

    moves: bool
    """Whether it is in a kernel: no view, no allocation, no op without a rule."""
    is_elementwise: bool
    overwrites: int
    """How many of its first tensors are outputs of which it reads nothing."""
    reads: tuple[_Size, ...]
    """Of the tensors that it reads."""
    outputs: tuple[_Size, ...]


def _outline(op: PricedOp) -> _Outline:
    moves = bool(op.traffic.elements or op.work.flops)
    tensors, outputs = unique(t for _, t in op.call.tensors()), op.call.outputs
    overwrites = 0
    if moves and op.call.inplace and op.rule is not None:
        others = tensors[len(outputs) :]
        overwrites = len(outputs) if op.traffic.read == sum(t.distinct for t in others) else 0
    return _Outline(
        moves, moves and is_elementwise(op), overwrites,
        tuple(map(_size, tensors[overwrites:])), tuple(map(_size, outputs)),
    )  # fmt: skip


def _size(tensor: TensorSpec) -> _Size:
    return _Size(tensor.size, tensor.distinct, tensor.distinct * tensor.itemsize, tensor.nbytes)


def _fuse(pricing: Pricing) -> tuple[tuple[Kernel, ...], tuple[Traffic, ...], tuple[tuple[int, ...], ...]]:
    ops, storages = pricing.ops, pricing.graph.storages
    writers_of: dict[int, list[_Write]] = {}  # by storage: the writes that its present content comes from
    writes: list[_Write] = []
    members: list[list[PricedOp]] = []  # of each kernel
    sources: list[tuple[int, ...]] = [()] * len(ops)
    external_reads: list[set[tuple[int, ...]]] = []  # of each kernel: what it has read from outside, and in which state
    outlines: dict[PricedOp, _Outline] = {}
    unread: dict[int, list[_Size]] = {}  # by op: what its kernel need not read for it
    unwritten: dict[int, list[_Size]] = {}

    for index, op in enumerate(ops):
        outline = outlines.get(op.like or op)
        if outline is None:
            outline = outlines[op] = _outline(op)
        if not outline.moves:
            continue
        reads = [t for _, t in op.call.tensors()]
        if op.like is None:  # else each is given once
            reads = unique(reads)
        reads = reads[outline.overwrites :]
        kernel = _kernel_to_join(outline, reads, writers_of) if outline.is_elementwise else None
        joins = kernel is not None
        if kernel is None:
            kernel = len(members)
            members.append([])
            external_reads.append(set())
        members[kernel].append(op)
        made_by: list[int] = []
        for tensor, size in zip(reads, outline.reads, strict=True):
            writers = writers_of.get(tensor.storage, ())
            is_internal = bool(writers)
            for write in writers:
                made_by.append(write.op)
                if write.kernel == kernel:
                    write.is_read_inside = True
                else:
                    write.is_read_outside, is_internal = True, False
            is_known = is_internal
            if not is_internal:
                key = (id(tensor), *map(id, writers))
                is_known = key in external_reads[kernel]
                external_reads[kernel].add(key)
            if joins and is_known:
                unread.setdefault(index, []).append(size)
            if not writers and storages[tensor.storage].role == "input":
                made_by.append(-1)
        sources[index] = tuple(sorted({*made_by})) if len(made_by) > 1 else tuple(made_by)
        for spec, size in zip(op.call.outputs, outline.outputs, strict=True):
            if spec.storage < 0:
                continue  # empty: batch norm at inference saves no statistics
            write = _Write(index, kernel, size)
            writes.append(write)
            if size.nbytes >= storages[spec.storage].nbytes:
                writers_of[spec.storage] = [write]
            else:  # only a part is overwritten
                writers_of.setdefault(spec.storage, []).append(write)

    for storage, writers in writers_of.items():
        outlives = storages[storage].freed_after is None or storages[storage].role in ("parameter", "buffer", "input")
        for write in writers:
            write.outlives |= outlives
    for write in writes:
        if write.is_read_inside and not write.is_read_outside and not write.outlives:
            unwritten.setdefault(write.op, []).append(write.size)

    op_traffic = [op.traffic for op in ops]
    trimmed: dict[tuple[int, ...], Traffic] = {}  # by identity, as sizes and traffic are those of all ops alike
    for i in unread.keys() | unwritten.keys():
        less = unread.get(i, ()), unwritten.get(i, ())
        key = (id(op_traffic[i]), *map(id, less[0]), 0, *map(id, less[1]))
        known = trimmed.get(key)
        if known is None:
            known = trimmed[key] = _without(op_traffic[i], *less)
        op_traffic[i] = known
    kernels = tuple(
        Kernel(i, tuple(of_kernel), total_traffic([op_traffic[op.call.index] for op in of_kernel]))
        for i, of_kernel in enumerate(members)
    )
    return kernels, tuple(op_traffic), tuple(sources)


def _kernel_to_join(outline: _Outline, reads: list[TensorSpec], writers_of: dict[int, list[_Write]]) -> int | None:
    """The kernel that an elementwise op joins, or ``None`` where it begins one."""
    latest, elements = -1, 0
    for tensor, size in zip(reads, outline.reads, strict=True):
        for write in writers_of.get(tensor.storage, ()):
            if write.kernel >= latest:
                elements = max(size.elements, elements) if write.kernel == latest else size.elements
                latest = write.kernel
    return latest if latest >= 0 and elements == outline.outputs[0].elements else None


def is_elementwise(op: PricedOp) -> bool:
    """Whether an op could join the kernel that makes its input: each output depends on single positions.

    A batch norm is elementwise at inference, and not in training, where its statistics are the batch's own.
    """
    if op.rule is None or not op.rule.fusible or not op.call.outputs:
        return False
    access = op.rule.access(op.call, 0)
    return not (isinstance(access, Reshaped) or any(isinstance(m, All) for maps in access.values() for m in maps))


def _without(traffic: Traffic, unread: Sequence[_Size], unwritten: Sequence[_Size]) -> Traffic:
    """The traffic without reading some tensors, and without writing others."""
    written, written_bytes = traffic.written, traffic.written_bytes
    for size in unwritten:
        if written:
            written -= size.distinct
            written_bytes -= size.distinct_bytes
    return Traffic(
        read=traffic.read - sum(size.distinct for size in unread),
        written=written,
        read_bytes=traffic.read_bytes - sum(size.distinct_bytes for size in unread),
        written_bytes=written_bytes,
    )
