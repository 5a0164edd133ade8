"""What must hold of a graph that was read from a file, beyond its schema, so that no table or view fails later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from numbers import Real
from typing import TYPE_CHECKING, Any

from costmodel.graph import Graph, TensorSpec, tensors_in

if TYPE_CHECKING:
    from costmodel.profiling import Profile
    from costmodel.step_record import StepRecord
    from costmodel.training import TrainingStep

LARGEST = 2**63 - 1
"""The most elements, and the most bytes, that torch can count."""

DEEPEST = 500
"""Levels of module calls inside each other that are read."""

ROLES = ("activation", "input", "parameter", "buffer", "constant")


def require_consistent(graph: Graph, tensors: list[TensorSpec]) -> None:
    """Raises ``ValueError`` where records contradict each other: what is wrong, and in which record."""
    for wrong in (*_tensors(graph, tensors), *_storages(graph), *_modules(graph), *_calls(graph), *_ops(graph)):
        raise ValueError(wrong)


def _tensors(graph: Graph, tensors: list[TensorSpec]) -> Iterator[str]:
    for i, t in enumerate(tensors):
        if t.strides is not None and len(t.strides) != len(t.shape):
            yield f"tensor {i} has {len(t.shape)} dimensions and {len(t.strides)} strides"
        if any(abs(s) > LARGEST for s in t.strides or ()) or t.nbytes > LARGEST or max(t.shape, default=0) > LARGEST:
            yield f"tensor {i} is larger than any tensor of torch"
        if not -1 <= t.storage < len(graph.storages):
            yield f"tensor {i} lies in storage {t.storage}, and there are {len(graph.storages)}"


def _storages(graph: Graph) -> Iterator[str]:
    last = len(graph.ops) - 1
    for i, storage in enumerate(graph.storages):
        if storage.nbytes > LARGEST:
            yield f"storage {i} is larger than any of torch"
        if storage.role not in ROLES:
            yield f"storage {i} has the role {storage.role!r}"
        if not -1 <= storage.allocated_at <= last:
            yield f"storage {i} is allocated at op {storage.allocated_at}, and the last is {last}"
        if storage.freed_after is not None and not storage.allocated_at <= storage.freed_after <= last:
            yield f"storage {i} is freed after op {storage.freed_after}, and allocated at {storage.allocated_at}"


def _modules(graph: Graph) -> Iterator[str]:
    if "" not in graph.modules:
        yield "the model itself is not among the modules"


def _calls(graph: Graph) -> Iterator[str]:
    depths: list[int] = []
    end = len(graph.ops)
    for i, call in enumerate(graph.calls):
        if call.index != i:
            yield f"call {i} has the index {call.index}"
        if not -1 <= call.parent < i:
            yield f"call {i} runs inside call {call.parent}, which is no earlier one"
            return
        depths.append(1 + (depths[call.parent] if call.parent >= 0 else 0))
        if depths[i] > DEEPEST:
            yield f"call {i} runs inside more than {DEEPEST} others"
        if not 0 <= call.first_op <= call.end_op <= end:
            yield f"call {i} runs ops {call.first_op} to {call.end_op}, and there are {end}"
        if call.owner is not None and call.owner not in graph.modules:
            yield f"call {i} is of module {call.owner!r}, which the model does not have"
        if type(call.args) is not tuple or type(call.kwargs) is not dict:
            yield f"the arguments of call {i} are no tuple and dict"


def _ops(graph: Graph) -> Iterator[str]:
    for i, op in enumerate(graph.ops):
        if op.op.count(".") < 2:
            yield f"op {i} is called {op.op!r}, not namespace.name.overload"
        if not -1 <= op.module < len(graph.calls):
            yield f"op {i} runs in call {op.module}, and there are {len(graph.calls)}"
    if type(graph.inputs) is not tuple or type(graph.kwargs) is not dict:
        yield "the model's inputs are no tuple and dict"


def compute_everything(p: Profile) -> None:
    """Computes what tables and views are made of, and keeps it; raises ``ValueError`` for what cannot be computed.

    Arguments of ops and hyper-parameters are read by the rules and closed forms alone, so only these can tell.
    """
    for i, op in enumerate(p.pricing.ops):
        with _named(f"op {i}, {op.call.op}"):
            work, traffic = op.work, op.traffic
            outside = work.macs - work.macs_on_padding
            _require_counts(work.macs, work.macs_on_padding, outside, work.flops, traffic.elements, traffic.bytes)
            _ = op.dtype, op.kind
    with _named("the closed form of a layer"):
        for found in p.crosscheck().comparisons:
            _require_counts(*(found.closed_form if isinstance(found.closed_form, tuple) else (found.closed_form,)))
    with _named("an analysis"):
        for layer in p.pricing.layers:
            _ = layer.is_exact, layer.activations, layer.inputs, layer.outputs
        _ = p.fusion, p.fusion.traffic, p.peak, p.layer_memory, p.guidelines(), p.local_receptive_field, p.coverage
        _ = list(tensors_in(p.graph.outputs)), p.shared_parameters


def require_consistent_step(record: StepRecord) -> None:
    """Raises ``ValueError`` where what makes a graph a training step contradicts the graph."""
    for wrong in _step(record):
        raise ValueError(wrong)


def _step(record: StepRecord) -> Iterator[str]:
    graph = record.graph
    ops, storages, calls = len(graph.ops), len(graph.storages), len(graph.calls)
    starts = [start for _, start in record.phases]
    if starts != sorted(starts) or (starts and not 0 == starts[0] <= starts[-1] <= ops):
        yield f"the phases begin at ops {starts}, and there are {ops}"
    for i, kept in enumerate(record.saved):
        if not (-1 <= kept.call < calls and kept.storage < storages and kept.nbytes <= LARGEST):
            yield f"saved tensor {i} is of call {kept.call} and storage {kept.storage}; there are {calls}, {storages}"
    for what, found, there in (
        ("gradients", record.gradients, storages), ("state", record.state, storages),
        ("accumulations", record.accumulations, ops), ("recomputed", record.recomputed, ops),
        ("original", {*record.original, *record.original.values()}, calls),
    ):  # fmt: skip
        if found and max(found) >= there:
            yield f"{what} names {max(found)}, and there are {there}"


def compute_every_part(step: TrainingStep) -> None:
    """Computes what tables and views of a training step are made of; raises ``ValueError`` for what cannot be."""
    for name in ("forward", "loss", "backward", "update"):
        with _named(f"the {name} phase"):
            compute_everything(getattr(step, name))
    with _named("the training step"):
        _ = step.layers, step.memory, step.curve, step.peak, step.live, step.coverage, step.crosscheck()
        _require_counts(step.macs, step.flops, step.memory_access, step.saved_bytes, step.peak_memory)


@contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever a rule or a closed form raises for arguments that no op was called with
        raise ValueError(f"{what} cannot be computed: {type(error).__name__}: {error}") from error


def _require_counts(*counts: Any) -> None:
    for count in counts:
        if not isinstance(count, Real) or count < 0 or not count < inf:
            raise ValueError(f"{count!r} is not a count")
