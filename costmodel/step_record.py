"""The records of one training step: what ran in which phase, and what autograd kept. No torch, no costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from costmodel.graph import Graph, TensorSpec

Phase: TypeAlias = Literal["first pass", "forward", "loss", "backward", "first update", "update"]
"""``first update`` makes the optimizer's state; the step that is looked at is one after it, with ``update``. Where
gradients are kept from step to step, ``first pass`` makes them, and an ``update`` begins the step: it fills them with
zeros."""

PHASES: tuple[Phase, ...] = ("forward", "loss", "backward", "update")
"""Those of a step, in order."""


@dataclass(frozen=True, slots=True)
class SavedTensor:
    """A tensor that autograd kept, in the order in which it did."""

    call: int
    """Index into ``Graph.calls`` of the innermost module call, -1 outside any."""
    storage: int
    """Index into ``Graph.storages``."""
    nbytes: int
    """Of the tensor: its storage may be larger."""
    phase: Phase
    """In a backward pass, a forward that is computed again keeps tensors too; what a checkpoint's hooks take is noted
    then alone."""
    of_gradient: bool = False
    """Whether a backward pass before the step's own keeps it, to be differentiated itself (``create_graph``)."""


@dataclass(slots=True, eq=False)
class StepRecord:
    """One training step of one model."""

    graph: Graph
    """Every op of all phases, in order. An op of a backward pass belongs to the module call whose forward it is of."""
    phases: list[tuple[Phase, int]]
    """Each phase with the index of its first op, in order. Where gradients are accumulated, the first three repeat."""
    saved: list[SavedTensor]
    """Parameters, buffers and inputs among them."""
    gradients: frozenset[int] = frozenset()
    """Storages of the parameters' gradients."""
    state: frozenset[int] = frozenset()
    """Storages of the optimizer's state."""
    accumulations: frozenset[int] = frozenset()
    """Ops that add up gradients of a tensor with several uses, or into ``.grad``: they belong to no layer."""
    recomputed: frozenset[int] = frozenset()
    """Ops of a backward pass that compute a part of the forward again."""
    original: dict[int, int] = field(default_factory=dict)
    """The forward's module call by index of the call that computes it again."""
    optimizer: str = ""
    loss: str = ""
    autocast: str = ""
    """The dtype of autocast, where it is on."""
    steps: int = 1
    """Forward and backward passes whose gradients are added up before the update."""
    set_to_none: bool = True
    """Whether gradients are freed before the step, and not filled with zeros."""
    updated: list[TensorSpec] = field(default_factory=list)
    """The parameters that have a gradient; none, where some gradient is sparse."""
    device: str = "cpu"
    """The type of device that the step is on."""
    update: dict[str, int] | None = None
    """The update in closed form: ``flops``, ``memory_access``, ``state_bytes``; ``None`` where no formula covers it."""

    def spans(self) -> Iterator[tuple[Phase, range]]:
        """The ops of each phase, in order."""
        ends = [start for _, start in self.phases[1:]] + [len(self.graph.ops)]
        for (phase, start), end in zip(self.phases, ends, strict=True):
            yield phase, range(start, end)

    def kept_by_forward(self) -> Iterator[SavedTensor]:
        """What autograd keeps at the end of the (first) forward: not of the loss, nor of a forward computed again."""
        span = next((span for phase, span in self.spans() if phase == "forward"), range(0))
        for kept in self.saved:
            storage = self.graph.storages[kept.storage]
            is_alive = storage.freed_after is None or storage.freed_after >= span.stop
            if kept.phase == "forward" and storage.allocated_at < span.stop and is_alive:
                yield kept

    def ops_of(self, phase: Phase) -> list[int]:
        """The indices of a phase's ops, of all passes."""
        return [index for name, span in self.spans() for index in span if name == phase]
