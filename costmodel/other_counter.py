"""Another counter's figures beside a cross-check: what it counts for each layer and in total, and why it differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costmodel.conventions import Readings, Recount, Tool
from costmodel.conventions.tool import ToolFailsError
from costmodel.origin import Origin

if TYPE_CHECKING:
    from torch import nn

    from costmodel.pricing import Pricing
    from costmodel.third_opinion import ThirdOpinion
    from costmodel.trace import Execution, Mode

RUN = frozenset({"fvcore", "FlopCounterMode"})
"""The tools that are run for their total: they come with this library. Of others the convention alone is asked."""


@dataclass(frozen=True, slots=True)
class CounterTotal:
    """A tool's total for a model: by its convention, and where it was run, as it says itself."""

    tool: str
    version: str
    unit: str
    counted: int | None
    """What ``counted_as`` derives from the trace; ``None`` where that says that the tool fails."""
    live: int | None
    """What the tool says itself; ``None`` where it was not run."""

    @property
    def agrees(self) -> bool:
        """Whether they are the same, where there are both."""
        return self.live is None or self.live == self.counted


def figures(
    tool: Tool, model: nn.Module | Callable[..., Any], inputs: Any, pricing: Pricing, mode: Mode, execution: Execution
) -> tuple[dict[str, ThirdOpinion], CounterTotal]:
    """What a tool counts for every layer that is a module, by the layer's name, and in total.

    Raises ``ToolFailsError`` where the tool fails on the model, ``ForwardError`` where it does when it is run.
    """
    from costmodel import third_opinion

    origin = Origin(model, inputs, execution=execution, dtype=None)
    origin.inputs = inputs  # as they are, as they are held here
    readings = Readings(pricing.graph.model, origin, mode, sum(op.work.macs for op in pricing.ops))
    try:
        recount = readings.counted_as(tool.name)
    except ToolFailsError:
        if tool.name not in RUN:
            raise
        recount = None
    opinions: dict[str, ThirdOpinion] = {}
    live = None
    if tool.name == "fvcore":
        opinions, live = third_opinion.fvcore(model, inputs, pricing)
    elif recount is not None:
        opinions = _opinions(recount, pricing)
    if tool.name == "FlopCounterMode":
        live = third_opinion.flop_counter(model, inputs, pricing.graph)
    counted = None if recount is None else recount.total
    return opinions, CounterTotal(tool.name, tool.version, tool.unit, counted, live)


def _opinions(recount: Recount, pricing: Pricing) -> dict[str, ThirdOpinion]:
    """What is counted in each layer that is a module, and the reasons of the differences there."""
    from costmodel.third_opinion import ThirdOpinion

    calls = Counter(layer.module.name for layer in pricing.layers if layer.module is not None)
    counted: Counter[str] = Counter()
    whys: dict[str, dict[str, None]] = {}
    for count in recount.counted:
        counted[_layer(count.name, calls)] += count.count
    for step in recount.steps:
        if step.op:
            whys.setdefault(_layer(step.name, calls), {})[f"{step.op}: {step.why}"] = None
    found = {}
    for layer in pricing.layers:
        if layer.module is not None:
            name = layer.module.name
            reasons = list(whys.get(name, ()))
            if calls[name] > 1 and counted[name]:
                reasons.append(f"the {calls[name]} calls of this module are one sum")
            why = "; ".join(reasons)
            found[layer.name] = ThirdOpinion(counted[name], why, why)
    return found


def _layer(name: str, layers: Counter[str]) -> str:
    """The layer that a module is, or is in; where it is in none, the module itself."""
    found = name
    while found and found not in layers:
        found = found.rpartition(".")[0]
    return found if found in layers else name
