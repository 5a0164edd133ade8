"""Phases of a training step as profiles of their own."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from costmodel.graph import Graph, ModuleCall, OpCall, Records, Storage
from costmodel.profiling import Profile
from costmodel.step_record import Phase, StepRecord


def profile_of(record: StepRecord, phases: Sequence[Phase], name: str, kind: type[Profile] = Profile) -> Profile:
    """The profile of the ops of some phases.

    Of a forward alone its layers are those that a profile of the model has. Of anything else a layer is a run of ops
    that belong to one leaf module: a backward pass comes to a module in parts, and a step comes to it twice.
    """
    graph = record.graph
    indices = [i for phase, span in record.spans() for i in span if phase in phases]
    ops = [replace(graph.ops[at], index=i) for i, at in enumerate(indices)]
    calls = _clipped(record, ops, indices) if tuple(phases) == ("forward",) else _runs(graph, ops)
    records = Records(graph.modules, ops, calls, _storages(graph, indices), graph.notes)
    made = Graph(
        graph.model, records, graph.inputs, graph.kwargs, graph.outputs, graph.execution, graph.mode, graph.reason
    )
    return kind(made, name)


def calls_of_forward(record: StepRecord) -> list[ModuleCall]:
    """The module calls of the forward: of those in ``record.graph``, not a recomputed one, nor one before the step."""
    indices = record.ops_of("forward")
    return [
        call
        for call in record.graph.calls
        if indices and indices[0] <= call.first_op <= indices[-1] and call.index not in record.original
    ]


def _clipped(record: StepRecord, ops: Sequence[OpCall], indices: Sequence[int]) -> list[ModuleCall]:
    """These, with the ops of the phase that are among theirs; ops are moved to them."""
    found: list[ModuleCall] = []
    places = {-1: -1}
    for call in calls_of_forward(record):
        places[call.index] = len(found)
        first, end = bisect_left(indices, call.first_op), bisect_left(indices, call.end_op)
        parent = places.get(call.parent, -1)
        found.append(replace(call, index=len(found), parent=parent, first_op=first, end_op=end))
    for op in ops:
        op.module = places.get(op.module, -1)
    return found


def _runs(graph: Graph, ops: Sequence[OpCall]) -> list[ModuleCall]:
    """A call for each run of ops that belong to one leaf module; ops are moved to these calls."""
    runs: list[ModuleCall] = []
    before = -1
    for op in ops:
        leaf = leaf_of(graph, op.module)
        module = op.module if leaf < 0 else leaf
        if module < 0:
            op.module = before = -1
            continue
        if module != before:
            call = graph.calls[module]
            runs.append(
                ModuleCall(
                    len(runs), call.name, call.type, -1, op.index, call.owner, call.training, end_op=op.index,
                    has_calls=leaf < 0,
                )
            )  # fmt: skip
        runs[-1].end_op = op.index + 1
        op.module, before = runs[-1].index, module
    return runs


def leaf_of(graph: Graph, call: int) -> int:
    """The index of the leaf layer that a module call is a part of; -1 where it is none's."""
    found = -1
    while call >= 0:
        if graph.calls[call].is_leaf:
            found = call
        call = graph.calls[call].parent
    return found


def _storages(graph: Graph, indices: Sequence[int]) -> list[Storage]:
    """The storages over these ops: what is gone before the first, or comes after the last, takes no bytes."""
    last = indices[-1] if indices else -1
    found = []
    for s in graph.storages:
        at = -1 if s.allocated_at < 0 else bisect_left(indices, s.allocated_at)
        if indices and 0 <= s.allocated_at < indices[0]:
            at = -1
        freed = None if s.freed_after is None or s.freed_after >= last else bisect_left(indices, s.freed_after + 1) - 1
        is_here = s.allocated_at <= last and (freed is None or freed >= max(at, 0))
        found.append(Storage(s.nbytes, s.role, at, freed) if is_here else Storage(0, s.role, -1, None))
    return found
