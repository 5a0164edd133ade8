"""Costs of a trace: of each op by its rule, of each layer by its ops. No closed form is known here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import repeat

from costmodel.graph import REPRESENTATIVE, Graph, ModuleCall, ModuleInfo, Note, OpCall, TensorSpec, tensors_in
from costmodel.ops import Rule, find, rule_of
from costmodel.ops.layout import real_dtype
from costmodel.ops.pruned import macs_on_zeros
from costmodel.ops.unwritten import reads_of_unwritten
from costmodel.quantities import Traffic, Work, total_traffic
from costmodel.records import dataclass

_PRODUCTS = frozenset({
    "standard conv", "depthwise conv", "pointwise conv", "grouped conv", "transposed conv", "linear", "matmul",
    "attention", "recurrent",
})  # fmt: skip
"""Kinds of op whose outputs count as activations."""

_QUANTISED = frozenset({"qint8", "quint8"})


@dataclass(frozen=True, eq=False)
class PricedOp:
    """One op and its cost, which is zero for an op without a rule."""

    call: OpCall
    rule: Rule | None
    like: PricedOp | None = None
    """An op whose cost is the same: of 100,000 ops in a row, one is priced, which takes a third of the time."""

    def __reduce__(self) -> tuple[Callable[[OpCall], PricedOp], tuple[OpCall]]:
        return _with_its_rule, (self.call,)  # a rule has functions without names, by which they could be pickled

    @property
    def work(self) -> Work:
        """Its arithmetic."""
        return (self.like or self)._work

    @cached_property
    def _work(self) -> Work:
        return Work() if self.rule is None else self.rule.work(self.call)

    @property
    def traffic(self) -> Traffic:
        """Its memory traffic as a kernel of its own."""
        return (self.like or self)._traffic

    @cached_property
    def _traffic(self) -> Traffic:
        return Traffic() if self.rule is None else self.rule.traffic(self.call)

    @property
    def kind(self) -> str:
        """Its category, one of ``ops.KINDS``."""
        return (self.like or self)._kind

    @cached_property
    def _kind(self) -> str:
        return "other" if self.rule is None else self.rule.kind(self.call)

    @cached_property
    def nonzero_macs(self) -> int:
        """Its MACs without those that multiply an element of a weight that a mask has made zero."""
        return self.work.macs - macs_on_zeros(self.call, self.work.macs)

    @cached_property
    def dtype(self) -> str:
        """The dtype it computes in: that of the first floating tensor among its inputs, then its outputs.

        Arithmetic on complex numbers is counted, and done, on their parts. Products of quantised tensors are products
        of integers; what else is done to those is done in real numbers.
        """
        dtypes = [real_dtype(t.dtype) for t in (*(tensor for _, tensor in self.call.tensors()), *self.call.outputs)]
        if not _QUANTISED.isdisjoint(dtypes):
            return "int8" if self.work.macs else "float32"
        return next((dtype for dtype in dtypes if "float" in dtype), dtypes[0] if dtypes else "float32")

    @property
    def bound_because(self) -> str | None:
        """Why its cost is a lower bound, where its rule says so."""
        if self.rule is None or self.rule.bound_because is None:
            return None
        return self.rule.bound_because(self.call)

    @property
    def is_exact(self) -> bool:
        """Whether its cost is known, and no lower bound."""
        return self.rule is not None and self.bound_because is None

    @property
    def activations(self) -> int:
        """Output elements, if it is a convolution or a matrix product."""
        return self.call.outputs[0].size if self.kind in _PRODUCTS and self.call.outputs else 0


_MOST = 1 << 14
_works: dict[OpCall, tuple[Rule, Work]] = {}
"""Cached work of representative ops, each with the rule that it came from."""


def _work(call: OpCall) -> Work:
    rule = find(call.op)
    if rule is None:
        return Work()
    if call.index != REPRESENTATIVE:
        return rule.work(call)
    known = _works.get(call)
    if known is None or known[0] is not rule:
        if len(_works) >= _MOST:
            _works.clear()
        known = _works[call] = rule, rule.work(call)
    return known[1]


def _with_its_rule(call: OpCall) -> PricedOp:
    return PricedOp(call, rule_of(call))


def _priced(call: OpCall, what: object, first: dict[object, PricedOp]) -> PricedOp:
    """An op of those that are alike in ``what``, of which ``first`` has one each."""
    like = first.get(what) if what is not None else None
    if like is not None:
        return PricedOp(call, like.rule, like)
    op = PricedOp(call, find(call.op))
    if what is not None:
        first[what] = op
    return op


@dataclass(frozen=True, eq=False)
class TracedLayer:
    """One row of a profile: one call of a leaf module with all its ops, or one op that ran outside any leaf."""

    name: str
    type: str
    module: ModuleCall | None
    ops: tuple[PricedOp, ...]
    parameters: tuple[TensorSpec, ...]
    """The parameters that the layer holds (a module) or reads (an op)."""
    new_parameters: tuple[TensorSpec, ...]
    """Those that no earlier layer has: the layer's share of the model's total."""
    read: frozenset[int]
    """The storages that any op of the run reads, in this layer or another."""
    notes: tuple[Note, ...] = ()
    """Why figures of a module are lower bounds, where they are for another reason than the rule of one of its ops."""

    @cached_property
    def work(self) -> Work:
        """The arithmetic of all its ops."""
        return sum((op.work for op in self.ops), Work())

    @cached_property
    def traffic(self) -> Traffic:
        """The memory traffic of all its ops."""
        return sum((op.traffic for op in self.ops), Traffic())

    @property
    def activations(self) -> int:
        """Output elements of its convolutions and matrix products."""
        return sum(op.activations for op in self.ops)

    @property
    def nonzero_macs(self) -> int:
        """MACs that multiply no element of a weight that a mask has made zero."""
        return sum(op.nonzero_macs for op in self.ops)

    @property
    def is_exact(self) -> bool:
        """Whether the cost of each of its ops is known, and no figure is a lower bound."""
        return not self.notes and all(op.is_exact for op in self.ops)

    @cached_property
    def kind(self) -> str:
        """The kind of the op that does most of its arithmetic, or moves most."""
        from costmodel.layer_kinds import kind_of

        return kind_of(self)

    @property
    def may_join_positions(self) -> bool:
        """Whether it is attention, or the softmax of one that is written out."""
        return self.kind == "attention" or "softmax" in self.type.lower()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The tensors it was given: the module's arguments, or the op's activations."""
        if self.module is not None:
            return tuple(tensors_in((self.module.args, self.module.kwargs)))
        return tuple(t for _, t in self.ops[0].call.tensors() if t.role != "parameter")

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors it returned."""
        return tuple(tensors_in(self.module.outputs)) if self.module is not None else self.ops[0].call.outputs


@dataclass(frozen=True, eq=False)
class Pricing:
    """A graph with the cost of every op and layer."""

    graph: Graph

    @cached_property
    def ops(self) -> tuple[PricedOp, ...]:
        """Every op that ran, in order, with its rule."""
        if self.graph.recording.has_sparse():
            return tuple(map(_with_its_rule, self.graph.ops))
        first: dict[object, PricedOp] = {}
        return tuple(map(_priced, self.graph.ops, self.graph.recording.alike(), repeat(first)))

    @cached_property
    def work(self) -> Work:
        """The whole model's arithmetic."""
        if self.graph.recording.has_sparse():
            return sum((op.work for op in self.ops), Work())
        macs = adds = multiplies = divides = compares = transcendentals = on_padding = 0
        for call, n in self.graph.recording.tally():  # enough for totals, without a ``PricedOp`` for each op
            w = _work(call)
            macs += n * w.macs
            adds += n * w.adds
            multiplies += n * w.multiplies
            divides += n * w.divides
            compares += n * w.compares
            transcendentals += n * w.transcendentals
            on_padding += n * w.macs_on_padding
        return Work(
            macs=macs, adds=adds, multiplies=multiplies, divides=divides, compares=compares,
            transcendentals=transcendentals, macs_on_padding=on_padding,
        )  # fmt: skip

    @cached_property
    def traffic(self) -> Traffic:
        """The whole model's memory traffic, every op a kernel of its own."""
        return total_traffic(op.traffic for op in self.ops)

    @cached_property
    def unknown(self) -> dict[str, tuple[str, ...]]:
        """Ops without a rule, and the modules in which they ran."""
        where: dict[str, dict[str, None]] = {}
        for op in self.ops:
            if op.rule is None:
                where.setdefault(op.call.op, {})[self.module_name(op.call)] = None
        return {op: tuple(names) for op, names in where.items()}

    @cached_property
    def bounds(self) -> tuple[Note, ...]:
        """Why figures are lower bounds although every op has a rule, each reason once for each module."""
        of_rules = (Note(self.module_name(op.call), op.bound_because) for op in self.ops if op.bound_because)
        return tuple(dict.fromkeys((*self.graph.notes, *of_rules, *self._reads_of_unwritten())))

    def _reads_of_unwritten(self) -> Iterator[Note]:
        found, unwritten = reads_of_unwritten((op.call, op.rule) for op in self.ops)
        why = "which no op wrote: a kernel that the trace cannot see did, by a pointer, and its work is not counted"
        for call, tensor in found:
            yield Note(self.module_name(call), f"{call.op} reads memory {tensor.shape} {why}")
        for tensor in tensors_in(self.graph.outputs):
            if tensor.storage in unwritten:
                yield Note("", f"the model returns memory {tensor.shape} {why}")

    @property
    def is_exact(self) -> bool:
        """Whether no figure is a lower bound."""
        return not self.unknown and not self.bounds

    @cached_property
    def layers(self) -> tuple[TracedLayer, ...]:
        """Every leaf module call, and every op outside leaf modules, in the order in which they began."""
        return tuple(self._layers())

    @cached_property
    def composites(self) -> tuple[TracedLayer, ...]:
        """Every module call that is derived as a whole, beside the layers inside it, outermost first."""
        calls = self.graph.calls

        def is_seen(call: ModuleCall) -> bool:
            return call.parent < 0 or (not calls[call.parent].is_leaf and is_seen(calls[call.parent]))

        found = (call for call in calls if call.layer is not None and not call.is_leaf and is_seen(call))
        return tuple(self._module_layer(call, self.held_by(call), ()) for call in found)

    @cached_property
    def read(self) -> frozenset[int]:
        """The storages that some op reads. A view reads nothing; an op without a rule reads all its inputs."""
        return frozenset(
            t.storage for op in self.ops if op.rule is None or op.traffic.read for _, t in op.call.tensors()
        )

    def inside(self, layer: TracedLayer) -> Iterator[TracedLayer]:
        """Each module call inside a layer, as a layer of its own."""
        for call in self.calls_inside(layer):
            yield self._module_layer(call, self.held_by(call), ())

    def calls_inside(self, layer: TracedLayer) -> list[ModuleCall]:
        """Each module call inside a layer, in order."""
        if layer.module is None:
            return []
        return self.graph.calls[layer.module.index + 1 : _last_inside(self.graph, layer.module) + 1]

    def op_layer(self, op: PricedOp) -> TracedLayer:
        """An op as a layer of its own; parameters belong to modules, so it has none."""
        return TracedLayer(self.module_name(op.call), op.call.op, None, (op,), (), (), self.read)

    def held_by(self, call: ModuleCall) -> tuple[TensorSpec, ...]:
        """The distinct parameters of a call's module and of all modules below it."""
        return tuple({p.storage: p for module in self.subtree(call.owner) for p in module.parameters}.values())

    def _module_layer(
        self, call: ModuleCall, parameters: tuple[TensorSpec, ...], new: tuple[TensorSpec, ...]
    ) -> TracedLayer:
        ops = self.ops[call.first_op : call.end_op]
        notes = tuple(note for note in self.graph.notes if _is_within(note.where, call.name))
        return TracedLayer(call.name or call.type, call.type, call, ops, parameters, new, self.read, notes)

    def module_name(self, op: OpCall) -> str:
        """The qualified name of the innermost module in which an op ran."""
        return self.graph.calls[op.module].name if op.module >= 0 else ""

    def subtree(self, owner: str | None) -> list[ModuleInfo]:
        """A module and all modules below it."""
        if owner is None:
            return []
        names = self._order
        start = end = self._position[owner]
        # The tree is listed depth first, so a subtree is a run of it.
        prefix = owner and owner + "."
        while end < len(names) and (end == start or names[end].startswith(prefix)):
            end += 1
        return [self.graph.modules[name] for name in names[start:end]]

    @cached_property
    def _order(self) -> list[str]:
        return list(self.graph.modules)

    @cached_property
    def _position(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self._order)}

    def _layers(self) -> Iterator[TracedLayer]:
        graph = self.graph
        own_parameters = {p.storage: p for p in graph.parameters().values()}
        seen: set[int] = set()

        def new(parameters: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
            fresh = tuple(p for p in parameters if p.storage not in seen)
            seen.update(p.storage for p in fresh)
            return fresh

        op_names: dict[str, int] = {}
        covered = 0  # ops before this index belong to a layer already yielded
        leaves = (call for call in graph.calls if call.is_leaf)
        last_leaf_end = -1
        upcoming = next(leaves, None)
        while covered < len(self.ops) or upcoming is not None:
            if upcoming is not None and upcoming.index <= last_leaf_end:
                upcoming = next(leaves, None)  # a call inside a leaf, which is one layer
                continue
            if upcoming is not None and upcoming.first_op <= covered:
                held = self.held_by(upcoming)
                yield self._module_layer(upcoming, held, new(held))
                covered = upcoming.end_op
                last_leaf_end = _last_inside(graph, upcoming)
                upcoming = next(leaves, None)
                continue
            op = self.ops[covered]
            stem = f"{self.module_name(op.call)}/{op.call.op.split('.')[1]}".lstrip("/")
            op_names[stem] = nth = op_names.get(stem, 0) + 1
            read = {t.storage: own_parameters[t.storage] for _, t in op.call.tensors() if t.storage in own_parameters}
            yield TracedLayer(
                name=stem if nth == 1 else f"{stem}#{nth}",
                type=op.call.op,
                module=None,
                ops=(op,),
                parameters=tuple(read.values()),
                new_parameters=new(read.values()),
                read=self.read,
            )
            covered += 1


def _is_within(name: str, module: str) -> bool:
    """Whether a qualified name is that of a module or of one below it."""
    return not module or name == module or name.startswith(module + ".")


def _last_inside(graph: Graph, call: ModuleCall) -> int:
    """The index of the last call nested in ``call``."""
    last = call.index
    while last + 1 < len(graph.calls) and graph.calls[last + 1].parent >= call.index:
        last += 1
    return last
