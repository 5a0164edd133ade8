"""The cross-check: closed form against trace, layer by layer and quantity by quantity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from functools import cached_property, partial
from heapq import merge
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from costmodel.declared import LAYER_OP
from costmodel.errors import require_torch
from costmodel.formulas import LayerCost
from costmodel.graph import ModuleCall, Note, TensorSpec, tensors_in
from costmodel.ops.rule import TO
from costmodel.pricing import Pricing, TracedLayer
from costmodel.records import dataclass
from costmodel.rendering import Rendered

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from costmodel.layers.registry import Known
    from costmodel.other_counter import CounterTotal
    from costmodel.third_opinion import ThirdOpinion
    from costmodel.trace import Execution, Mode

QUANTITIES = ("output shape", "params", "macs", "flops", "memory_access")
"""What is compared for every module call that has a closed form; ``params`` only for modules registered in the model,
as it has no parameters of others; neither ``flops`` nor ``memory_access`` where a parameter wraps other tensors, as
only its class knows how it is dequantised."""

_OF_ANY_WEIGHT = frozenset({"output shape", "params", "macs"})
"""What a layer has in common with one whose weights are quantised."""


Derive: TypeAlias = Callable[[Pricing, TracedLayer], LayerCost | None]
"""The cost of a layer by its formula; ``None`` where none covers it."""


@dataclass(frozen=True, slots=True)
class QuantityCheck:
    """One quantity of one layer, derived twice."""

    name: str
    type: str
    quantity: str
    closed_form: Any
    traced: Any
    agree: bool


@dataclass(frozen=True, repr=False)
class CrossCheck(Rendered):
    """The result for a whole model."""

    view: ClassVar[str] = "crosscheck"

    model: str
    comparisons: tuple[QuantityCheck, ...]
    checked: int
    """Module calls that were derived twice: leaves, and composites that have a closed form as a whole."""
    traced_only: tuple[str, ...]
    """Layers without a closed form, by name: functional ops that are no part of a composite, and modules that no
    formula covers: of other types, or with parameters that are computed (pruned, parametrised), shared within the layer
    or not those of its class."""
    unknown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Ops without a rule, and where they ran: their cost is missing from every figure."""
    bounds: tuple[Note, ...] = ()
    """Where a figure is a lower bound for another reason, and why."""
    declared: tuple[str, ...] = ()
    """Layers whose cost was given by ``register_layer(..., opaque=True)``, by name: nothing derives it."""
    unreached: tuple[str, ...] = ()
    """In a training step, layers at whose outputs no gradient arrives from the loss, by name: they have no backward
    pass."""
    against: str = ""
    third: Mapping[str, ThirdOpinion] = field(default_factory=dict)
    """The third tool's count by layer name, where there is one."""
    total: CounterTotal | None = None
    """The third tool's total."""

    @property
    def ok(self) -> bool:
        """Whether nothing disagrees, also where nothing was derived twice.

        With a third tool that was run, neither does its total with what ``counted_as`` derives from the trace.
        """
        return not self.mismatches and (self.total is None or self.total.agrees)

    @property
    def unchecked_because(self) -> str:
        """Why nothing was derived twice; empty where something was."""
        if self.checked:
            return ""
        if not self.traced_only:
            return "the cost of each layer that ran is declared" if self.declared else "no layer ran"
        layers = len(self.traced_only)
        return "no formula covers " + (f"any of the {layers} layers that ran" if layers > 1 else "the layer that ran")

    @cached_property
    def mismatches(self) -> list[QuantityCheck]:
        """The comparisons that disagree."""
        return [c for c in self.comparisons if not c.agree]

    @property
    def rows(self) -> pd.DataFrame:
        """A row per layer and quantity: ``name, type, quantity, closed_form, traced, agree``.

        With a third tool also its name and ``why``, on the rows of ``macs``.
        """
        import pandas as pd

        table = pd.DataFrame(
            [(c.name, c.type, c.quantity, c.closed_form, c.traced, c.agree) for c in self.comparisons],
            columns=["name", "type", "quantity", "closed_form", "traced", "agree"],
        ).astype({"closed_form": object, "traced": object, "agree": bool})
        if self.against:
            on_macs = [self.third.get(c.name) if c.quantity == "macs" else None for c in self.comparisons]
            table[self.against] = pd.array([t.count if t else None for t in on_macs], dtype="Int64")
            table["why"] = [t.why if t else "" for t in on_macs]
        return table


def check(pricing: Pricing, derive: Derive | None = None) -> CrossCheck:
    """Derives every leaf module call of a trace in closed form, and every composite as a whole, and compares.

    ``derive`` does so, by default ``closed_form``.
    """
    derive = partial(closed_form, known={}) if derive is None else derive
    comparisons: list[QuantityCheck] = []
    traced_only: list[str] = []
    declared: list[str] = []
    checked = 0
    end = 0  # ops before it are inside a leaf or a composite that is derived
    for layer in merge(pricing.composites, pricing.layers, key=_first_op):
        if any(op.call.op == LAYER_OP for op in layer.ops):
            declared.append(layer.name)
            continue
        cost = derive(pricing, layer)
        if layer.module is not None and cost is not None:
            checked += 1
            comparisons.extend(_compare(layer, cost))
            end = max(end, layer.module.end_op)
        elif layer.module.is_leaf if layer.module is not None else _first_op(layer) >= end:
            traced_only.append(layer.name)
    return CrossCheck(
        pricing.graph.model,
        tuple(comparisons),
        checked,
        tuple(traced_only),
        pricing.unknown,
        pricing.bounds,
        tuple(declared),
    )


_OF_HALF_A_FACTOR = ("aten._sparse_semi_structured_", "aten._cslt_")
"""How the names of products begin whose one factor is stored without its zeros."""


def _first_op(layer: TracedLayer) -> int:
    return layer.ops[0].call.index if layer.module is None else layer.module.first_op


def closed_form(pricing: Pricing, layer: TracedLayer, *, known: Known | None = None) -> LayerCost | None:
    """The cost of a layer by its formula; ``None`` where none covers it. ``known`` has that of layers like it."""
    from costmodel import layers as closed

    if layer.module is None or layer.module.layer is None or _has_sparse(layer):
        return None
    if sum(len(module.parameters) for module in pricing.subtree(layer.module.owner)) > len(layer.parameters):
        return None  # a parameter has two places in it, and is held once
    if not layer.module.layer.is_composite:
        return closed.cost_of(layer.module, known=known)
    if any(map(_is_wrapper, layer.parameters)):
        return None  # its parts are compared in some quantities alone
    inside = pricing.calls_inside(layer)
    if not _is_sum_of_parts(pricing, layer, inside):
        return None
    return closed.cost_of(layer.module, inside)


def _is_sum_of_parts(pricing: Pricing, whole: TracedLayer, inside: list[ModuleCall]) -> bool:
    """Whether a composite has the parameters of the layers called inside it, each once, and no others.

    Not so where two layers are one module, where one belongs to another part of the model, or where one is not called.
    """
    held = [p.storage for call in inside if call.is_leaf for p in pricing.held_by(call)]
    return sorted(held) == sorted(p.storage for p in whole.parameters)


def _has_sparse(layer: TracedLayer) -> bool:
    """Whether a layer has a sparse tensor, of which no formula knows."""
    if any(t.sparse is not None for t in (*layer.parameters, *layer.inputs)):
        return True
    return any(op.call.op.startswith(_OF_HALF_A_FACTOR) for op in layer.ops)


def _is_wrapper(p: TensorSpec) -> bool:
    """Whether a parameter says that it is floating, and is made of other tensors."""
    return p.stored_bytes is not None and "float" in p.dtype


def crosscheck(
    model: nn.Module | Callable[..., Any] | str,
    inputs: Any = None,
    *,
    mode: Mode = "eval",
    against: str = "",
    execution: Execution = "auto",
) -> CrossCheck:
    """Derives the cost of every layer twice, from the trace and in closed form; both must agree exactly.

    Args:
        model: any ``nn.Module``, or a spec string as ``costmodel.load`` takes it.
        inputs: as for ``costmodel.profile``.
        mode: the mode of the forward pass, ``"eval"`` or ``"train"``.
        against: the name of one of ``costmodel.TOOLS`` adds what that counts for each layer and in total, and why
            where that differs. fvcore and torch's FlopCounterMode are run, and a total that differs from what
            ``counted_as`` derives is not ``ok``; fvcore's layers are its own, too. Other tools are not run, installed
            or not, as many of them leave a model changed: their figures are those of ``counted_as``.
        execution: as for ``costmodel.profile``.

    Raises ``InputError`` for another ``against``, ``ToolFailsError`` where the tool fails on the model, and what
    ``costmodel.profile`` raises.

    >>> from torch import nn
    >>> found = crosscheck(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (1, 3, 32, 32))
    >>> found.ok, found.checked
    (True, 2)
    """
    from costmodel.conventions import tool_named

    tool = tool_named(against) if against else None
    require_torch("costmodel.crosscheck")
    from costmodel.layers.capture import capture
    from costmodel.loading import apply
    from costmodel.trace import trace

    def derived(module: nn.Module | Callable[..., Any]) -> CrossCheck:
        pricing = Pricing(trace(module, inputs, mode=mode, execution=execution, capture=capture))
        found = replace(check(pricing), model=model) if isinstance(model, str) else check(pricing)
        if tool is None:
            return found
        from costmodel.other_counter import figures

        third, total = figures(tool, module, inputs, pricing, mode, execution)
        return replace(found, against=against, third=third, total=total)

    if isinstance(model, str):
        from costmodel.other_counter import RUN

        # A tool that runs the model needs weights.
        return apply(derived, model, weights=against in RUN or execution == "real")
    return derived(model)


def _compare(layer: TracedLayer, cost: LayerCost) -> Iterator[QuantityCheck]:
    assert layer.module is not None
    first = next(tensors_in(layer.module.outputs), TensorSpec(()))
    # A cast inside a layer is autocast's, and no part of the closed form.
    work, moved = layer.work, sum(op.traffic.elements for op in layer.ops if op.call.op != TO)
    pairs = (
        (tuple(cost.output_shape), first.shape),
        (cost.params, sum(p.size for p in layer.parameters)),
        (cost.macs, work.macs),
        (cost.flops, work.flops),
        (cost.memory_access, moved),
    )
    compared = _OF_ANY_WEIGHT if any(map(_is_wrapper, layer.parameters)) else QUANTITIES
    for quantity, (derived, traced) in zip(QUANTITIES, pairs, strict=True):
        if quantity not in compared or (quantity == "params" and layer.module.owner is None):
            continue
        yield QuantityCheck(layer.name, layer.type, quantity, derived, traced, bool(derived == traced))
