"""Each layer of a training step: its forward, its backward, and what autograd keeps for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from costmodel.cross_check import closed_form
from costmodel.graph import ModuleCall, TensorSpec, WantedGradients, same_where_it_matters
from costmodel.ops.rule import TO
from costmodel.pricing import PricedOp, Pricing, TracedLayer
from costmodel.quantities import Traffic, Work
from costmodel.step_record import StepRecord
from costmodel.training.phases import calls_of_forward, leaf_of

if TYPE_CHECKING:
    import pandas as pd

LAYER_COLUMNS = {
    "name": "qualified name of the module; module/op for an op that ran outside any leaf",
    "type": "class of the module, or the op's full name",
    "kind": "category, one of ops.KINDS",
    "params": "elements of distinct parameters, each counted in the first layer that has it",
    "trainable_params": "those of them that require a gradient",
    "forward_macs": "multiply-accumulates of the forward pass",
    "backward_macs": "multiply-accumulates of the backward pass, without what is computed again",
    "forward_flops": "arithmetic operations of the forward pass",
    "backward_flops": "arithmetic operations of the backward pass, without what is computed again",
    "forward_memory_access": "elements read and written in the forward pass",
    "backward_memory_access": "elements read and written in the backward pass, without what is computed again",
    "saved_bytes": "bytes that autograd keeps for it, parameters and buffers apart; what another layer keeps as well "
    "counts in both",
}
"""The columns of ``TrainingStep.layers``."""

_OWN = ("parameter", "buffer")


@dataclass(eq=False)
class StepLayer:
    """One layer of the forward, or an op of the backward pass that belongs to no leaf module."""

    name: str
    type: str
    kind: str
    forward: TracedLayer | None
    backward: list[PricedOp] = field(default_factory=list)
    saved: dict[int, int] = field(default_factory=dict)
    """Bytes that autograd keeps for it of each storage."""
    saved_by_gradient: dict[int, int] = field(default_factory=dict)
    """The same of what a backward pass inside the forward keeps, which is itself differentiated."""
    again: list[ModuleCall] = field(default_factory=list)
    """The calls that compute its forward again in the backward pass: several, where checkpoints are in others."""
    saved_again: dict[int, dict[int, int]] = field(default_factory=dict)
    """Bytes that autograd then keeps for it of each storage, by index of the call."""

    @cached_property
    def backward_work(self) -> Work:
        """The arithmetic of its backward pass."""
        return sum((op.work for op in self.backward), Work())

    @cached_property
    def backward_traffic(self) -> Traffic:
        """The memory traffic of its backward pass."""
        return sum((op.traffic for op in self.backward), Traffic())

    compared_traffic: int = 0
    """Elements that its backward pass moves, as a closed form has them.

    A cast is autocast's. A gradient that comes from outside of every layer, such as that of a sum, may be expanded: it
    is then taken to be as large as any other.
    """

    @property
    def wanted(self) -> WantedGradients | None:
        """Which gradients are asked for; ``None`` where that is not known.

        Of a checkpoint, autograd differentiates the call that computes it again, or the first, where it recorded that.
        """
        calls = (self.forward and self.forward.module, *self.again)
        found = [call.layer.gradients for call in calls if call and call.layer and call.layer.gradients]
        return next((wanted for wanted in found if any(wanted[-1])), found[0] if found else None)

    @property
    def lies_as_output(self) -> bool:
        """Whether the gradient that arrives lies in memory as the output does, and that in no row-major order.

        One number that is expanded, as of a sum, lies in any order.
        """
        output = self.forward.outputs[0] if self.forward is not None and self.forward.outputs else None
        if output is None or output.is_contiguous or not self.backward:
            return False
        given = (t for _, t in self.backward[0].call.tensors() if t.shape == output.shape)
        arriving = next(given, None)
        if arriving is None:
            return False
        strides = arriving.full_strides
        return not any(strides) or same_where_it_matters(strides, output.full_strides, output.shape)

    @property
    def is_unreached(self) -> bool:
        """Whether a gradient is asked for, and none arrives at what the layer returns: the loss does not use it."""
        if self.wanted is None:
            return False
        inputs, weight, bias, outputs = self.wanted
        return (any(inputs) or weight or bias) and not any(outputs)

    @cached_property
    def makes(self) -> frozenset[int]:
        """The storages that its forward makes: no input lies in one."""
        if self.forward is None:
            return frozenset()
        made = {t.storage for op in self.forward.ops for t in op.call.outputs}
        return frozenset(made - {t.storage for t in self.forward.inputs})

    @property
    def saved_bytes(self) -> int:
        """Bytes that autograd keeps for it at the end of the forward."""
        return sum((self.saved_by_gradient | self.saved).values())

    @property
    def differentiated_bytes(self) -> int:
        """Bytes that autograd keeps for it of the forward that is differentiated.

        Of a checkpoint, of that which runs again: of several the fullest, as others stop when they have what is needed.
        """
        kept = self.saved_again.values() if self.again else (self.saved,)
        return max((sum(of_call.values()) for of_call in kept), default=0)


def _kind(forward: Pricing, layer: TracedLayer) -> str:
    """The kind that a layer has by its formula: autograd takes some layers apart, as a linear one into a product."""
    cost = closed_form(forward, layer)
    return layer.kind if cost is None else cost.kind


class _Outside:
    """Tensors that come from outside of every layer, and their views, as if each lay in memory whole."""

    def __init__(self) -> None:
        self._whole: dict[tuple[Any, ...], TensorSpec] = {}
        self._storages: set[int] = set()
        self._come: set[tuple[Any, ...]] = set()

    def come(self, tensors: Iterable[TensorSpec]) -> None:
        """More of them."""
        for t in tensors:
            self._whole[_place(t)] = replace(t, strides=None)
            self._storages.add(t.storage)
            self._come.add(_place(t))

    def has(self, t: TensorSpec) -> bool:
        """Whether a tensor comes from outside as it is, and is no view that a layer has made."""
        return _place(t) in self._come

    def traffic(self, op: PricedOp) -> int:
        """Elements that an op of a layer moves, or would."""
        own = {n: t for n, t in op.call.args.items() if isinstance(t, TensorSpec) and _place(t) in self._whole}
        whole = {name: self._whole[_place(t)] for name, t in own.items()}
        for y in op.call.outputs:
            if whole and y.storage in self._storages:
                # What a layer expands is stored once; any other view of a whole tensor is whole.
                first = next(iter(whole.values()))
                self._whole[_place(y)] = (
                    _expanded(first, y) if op.call.op == "aten.expand.default" else replace(y, strides=None)
                )
        if op.rule is None or all(t.strides is None or 0 not in t.strides for t in own.values()):
            return int(op.traffic.elements)
        return int(op.rule.traffic(replace(op.call, args={**op.call.args, **whole})).elements)


def _place(t: TensorSpec) -> tuple[Any, ...]:
    """Where a tensor lies, which its records have in common."""
    return t.storage, t.shape, t.strides


def _expanded(x: TensorSpec, y: TensorSpec) -> TensorSpec:
    """What a tensor in memory becomes by being expanded."""
    sizes = (1,) * (len(y.shape) - len(x.shape)) + x.shape
    return replace(y, strides=tuple(1 if n == m else 0 for n, m in zip(sizes, y.shape, strict=True)))


def _lays_out_anew(op: PricedOp, layer: StepLayer, outside: _Outside) -> bool:
    """Whether an op copies a gradient that has come from another layer in another layout than a formula has it in.

    One from outside of every layer may be expanded.
    """
    if op.call.op != "aten.clone.default":
        return False
    given: TensorSpec = op.call.args["self"]
    is_own = any(y.storage == given.storage for own in layer.backward for y in own.call.outputs if own is not op)
    return not is_own and not given.is_contiguous and (given.distinct == given.size or outside.has(given))


def step_layers(record: StepRecord, forward: Pricing) -> tuple[StepLayer, ...]:
    """Every layer of the forward, in order, then the ops of the backward pass that belong to none.

    What the engine adds up is no layer's, and what is computed again is the forward's.
    """
    graph = record.graph
    pricing = Pricing(graph)
    found = [StepLayer(x.name, x.type, _kind(forward, x), x) for x in forward.layers]
    calls = calls_of_forward(record)
    by_call = {calls[x.forward.module.index].index: x for x in found if x.forward is not None and x.forward.module}
    others: dict[str, StepLayer] = {}
    of_none = (graph.ops[i] for i in record.ops_of("backward") if leaf_of(graph, graph.ops[i].module) < 0)
    outside = _Outside()
    for call in of_none:
        outside.come(call.outputs)
    for i in record.ops_of("backward"):
        if i in record.accumulations or i in record.recomputed:
            continue
        op = pricing.ops[i]
        leaf = leaf_of(graph, op.call.module)
        layer = by_call.get(record.original.get(leaf, leaf))
        if layer is None:
            name = f"{pricing.module_name(op.call)}/{op.call.op.split('.')[1]}".lstrip("/")
            layer = others.setdefault(name, StepLayer(name, op.call.op, op.kind, None))
        layer.backward.append(op)
        if op.call.op != TO and layer.forward is not None and not _lays_out_anew(op, layer, outside):
            layer.compared_traffic += outside.traffic(op)
    for index, original in record.original.items():
        if original in by_call:
            by_call[original].again.append(graph.calls[index])
    for kept in record.saved:
        storage, leaf = graph.storages[kept.storage], leaf_of(graph, kept.call)
        layer = by_call.get(record.original.get(leaf, leaf))
        if layer is None or storage.role in _OWN:
            continue
        if leaf in record.original:
            saved, again = layer.saved_again.setdefault(leaf, {}), graph.calls[leaf]
            is_made = again.first_op <= storage.allocated_at < again.end_op
        else:
            saved = layer.saved_by_gradient if kept.of_gradient else layer.saved
            is_made = kept.storage in layer.makes
        # A part keeps the whole storage that the layer made. One that another made, it keeps as far as it reads.
        saved[kept.storage] = (
            storage.nbytes if is_made else min(saved.get(kept.storage, 0) + kept.nbytes, storage.nbytes)
        )
    return (*found, *others.values())


def saved_bytes(record: StepRecord, role: str | None = None) -> int:
    """Bytes of the distinct storages that autograd keeps at the end of the forward.

    Of those with one role, or of all but parameters and buffers.
    """
    storages = record.graph.storages
    kept = [storages[i] for i in {x.storage for x in record.kept_by_forward()}]
    return sum(s.nbytes for s in kept if (s.role == role if role is not None else s.role not in _OWN))


def recomputed_macs(record: StepRecord) -> int:
    """Multiply-accumulates that a backward pass does to compute a part of the forward again."""
    ops = Pricing(record.graph).ops if record.recomputed else ()
    return sum(int(ops[i].work.macs) for i in record.recomputed)


def table(layers: tuple[StepLayer, ...]) -> pd.DataFrame:
    """A row per layer, with a column for each of ``LAYER_COLUMNS``."""
    import pandas as pd

    rows = []
    for x in layers:
        before, after, moved = x.forward, x.backward_work, x.backward_traffic
        params = () if before is None else before.new_parameters
        work, traffic = (Work(), Traffic()) if before is None else (before.work, before.traffic)
        rows.append((
            x.name, x.type, x.kind, sum(p.size for p in params), sum(p.size for p in params if p.trainable),
            int(work.macs), int(after.macs), int(work.flops), int(after.flops), int(traffic.elements),
            int(moved.elements), x.saved_bytes,
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(LAYER_COLUMNS))
