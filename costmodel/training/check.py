"""Forward and backward of each layer of a training step, derived twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from costmodel.cross_check import CrossCheck, QuantityCheck, check, closed_form
from costmodel.formulas import LayerCost
from costmodel.formulas.gradient import BackwardCost, Extra, Needs, around_a_view
from costmodel.graph import OpCall, WantedGradients
from costmodel.pricing import Pricing, TracedLayer
from costmodel.profiling.coverage import Coverage
from costmodel.quantities import Work
from costmodel.step_record import StepRecord
from costmodel.training.kept import has_one_dtype, kept_bytes
from costmodel.training.layers import StepLayer


def step_check(record: StepRecord, forward: Pricing, layers: tuple[StepLayer, ...], coverage: Coverage) -> CrossCheck:
    """The cross-check of the forward, of the backward pass of every layer whose closed form has one, and of the update.

    A layer's closed form is that of its forward alone; what a training step adds is added here.
    """
    found = check(forward, when_trained)
    makers = _makers(forward)
    backward = (comparison for layer in layers for comparison in _backward(forward, layer, makers))
    comparisons = (*found.comparisons, *backward, *_update(record))
    unreached = tuple(layer.name for layer in layers if layer.is_unreached)
    return replace(
        found, comparisons=comparisons, unreached=unreached, unknown=coverage.unknown, bounds=coverage.bounds
    )


def when_trained(forward: Pricing, layer: TracedLayer) -> LayerCost | None:
    """The closed form of a layer as it runs in a training step; of a composite, of which each part may be frozen."""
    from costmodel import layers as closed

    cost = closed_form(forward, layer)
    if cost is None or layer.module is None:
        return cost
    extra = Extra()
    for call in (layer.module, *forward.calls_inside(layer)):
        part = closed.cost_of(call) if call.is_leaf else None
        if part is not None and part.when_trained is not None and call.layer is not None:
            requires_grad = any(p.trainable for p in forward.held_by(call))
            extra += part.when_trained(replace(_needs(call.layer.gradients), requires_grad=requires_grad))
    return replace(cost, read=cost.read + extra.read, written=cost.written + extra.written, work=cost.work + extra.work)


def _needs(wanted: WantedGradients | None) -> Needs:
    if wanted is None:
        return Needs()
    inputs, weight, bias, outputs = wanted
    return Needs(inputs=inputs if len(inputs) > 1 else any(inputs), weight=weight, bias=bias, outputs=outputs)


def _update(record: StepRecord) -> Iterator[QuantityCheck]:
    if record.update is None:
        return
    start = max(start for phase, start in record.phases if phase == "update")
    ops = Pricing(record.graph).ops[start:]
    traced = {
        "flops": sum((op.work for op in ops), Work()).flops,
        "memory_access": sum(op.traffic.elements for op in ops),
        "state_bytes": sum(record.graph.storages[i].nbytes for i in record.state),
    }
    for quantity, by_formula in record.update.items():
        agree = by_formula == traced[quantity]
        yield QuantityCheck("update", record.optimizer, quantity, by_formula, traced[quantity], agree)


def _makers(forward: Pricing) -> dict[int, OpCall]:
    """The first op that made each tensor, by the ``id()`` of its record."""
    return {id(y): op for op in reversed(forward.graph.ops) for y in op.outputs}


def _backward(forward: Pricing, x: StepLayer, makers: Mapping[int, OpCall]) -> Iterator[QuantityCheck]:
    layer = x.forward
    wanted = x.wanted
    if layer is None or wanted is None:
        return
    cost = closed_form(forward, layer)
    if cost is None or cost.gradient is None:
        return
    inputs, _, _, outputs = wanted
    if any(outputs):
        derived = cost.gradient(replace(_needs(wanted), lies_as_output=x.lies_as_output))
        if any(inputs) and _writes_over_a_view(layer, makers):
            given = layer.inputs[0]
            whole = forward.graph.storages[given.storage].nbytes // given.itemsize
            derived += around_a_view(view=given.size, whole=whole, inputs=inputs[0])
    else:
        needs = replace(_needs(wanted), outputs=(True,))
        derived = BackwardCost(saved=cost.gradient(needs).saved)  # a forward keeps what no backward pass may need
    # The model's own buffer, given to a layer, is not kept for it.
    own = {f"input {i}" if len(layer.inputs) > 1 else "input" for i, t in enumerate(layer.inputs) if t.role == "buffer"}
    derived = replace(derived, saved=tuple(kept for kept in derived.saved if kept.tensor not in own))
    for quantity, by_formula, traced in (
        ("backward macs", derived.macs, x.backward_work.macs),
        ("backward flops", derived.flops, x.backward_work.flops),
        ("backward memory access", derived.memory_access, x.compared_traffic),
        ("saved bytes", kept_bytes(forward, layer, derived), x.differentiated_bytes),
    ):
        if quantity == "saved bytes" and not has_one_dtype(layer):
            continue
        yield QuantityCheck(layer.name, layer.type, quantity, by_formula, traced, bool(by_formula == traced))


_UNSAFE = "unsafe"
"""In the names of ops whose results share memory with what they are given and are no views to autograd."""


def _writes_over_a_view(layer: TracedLayer, makers: Mapping[int, OpCall]) -> bool:
    """Whether a layer writes its output over its input, and that is to autograd a view of a tensor of another op."""
    given = layer.inputs[0]
    if not any(op.call.inplace and any(y.storage == given.storage for y in op.call.outputs) for op in layer.ops):
        return False
    maker = makers.get(id(given))
    if maker is None or maker.inplace or _UNSAFE in maker.op:
        return False
    return any(t.storage == given.storage for _, t in maker.tensors())
