"""Memory that is read and that no op has written: a kernel wrote it that reaches memory by its pointer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from costmodel.graph import OpCall, TensorSpec
from costmodel.ops.rule import Rule

ALLOCATIONS = frozenset({
    "aten.empty.memory_format", "aten.empty_strided.default", "aten.empty_permuted.default",
    "aten.new_empty_strided.default", "aten.empty_like.default", "aten.new_empty.default",
})  # fmt: skip
"""Ops that return memory in which nothing is written."""

_TENSOR_OF_LIST = {"aten._ctc_loss.default": "target_lengths"}
"""Ops after which torch itself makes a tensor of one of their lists: it allocates it, and writes it by its pointer."""
_WRITTEN_BESIDE = {"aten.rrelu_with_noise.default": "noise", "aten.rrelu_with_noise_.default": "noise"}
"""Arguments that an op writes beside its outputs, and does not read."""


def reads_of_unwritten(
    ops: Iterable[tuple[OpCall, Rule | None]],
) -> tuple[list[tuple[OpCall, TensorSpec]], set[int]]:
    """Each op that is the first to read memory that no op has written, with the tensor; and storages never written.

    An op without a rule is taken to write all that it is given, and one whose traffic reads nothing (``zeros_like``) to
    read nothing.
    """
    unwritten: set[int] = set()
    found = []
    of_list: tuple[int, tuple[int, ...]] | None = None
    for call, rule in ops:
        if call.op in _TENSOR_OF_LIST:
            of_list = call.module, (len(call.args[_TENSOR_OF_LIST[call.op]]),)
        if call.op in ALLOCATIONS:
            if of_list == (call.module, call.outputs[0].shape):
                of_list = None
                continue
            unwritten.update(tensor.storage for tensor in call.outputs if tensor.size)
            continue
        if not unwritten or (rule is not None and rule.free_because is not None):
            continue
        unwritten.difference_update(tensor.storage for tensor in _written(call, rule))
        read = [tensor for _, tensor in call.tensors() if tensor.storage in unwritten]
        if read and rule is not None and rule.traffic(call).read:
            found += [(call, tensor) for tensor in read]
            unwritten.difference_update(tensor.storage for tensor in read)  # said once
    return found, unwritten


def _written(call: OpCall, rule: Rule | None) -> Iterator[TensorSpec]:
    yield from call.outputs  # of which an op that is not a view writes all, also those that it was given
    if call.op in _WRITTEN_BESIDE:
        yield call.args[_WRITTEN_BESIDE[call.op]]
    if rule is None:
        yield from (tensor for _, tensor in call.tensors())
    elif call.op.split(".")[1].endswith("_"):  # several tensors in place return nothing
        yield from (tensor for name, tensor in call.tensors() if name.startswith("self["))
