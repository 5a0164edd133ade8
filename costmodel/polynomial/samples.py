"""What one trace says in numbers: totals, each layer's figures, and the live bytes at each op."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from costmodel.errors import CostModelError
from costmodel.measures import MEASURES

if TYPE_CHECKING:
    import pandas as pd

    from costmodel.pricing import PricedOp
    from costmodel.profiling import Profile
    from costmodel.trace import Execution
    from costmodel.training import TrainingStep

Point = tuple[int, ...]
"""A size for each name, in the order of the names."""


@dataclass(frozen=True)
class Numbers:
    """What is kept of a trace. Traces themselves, kept by the dozen, would double a search's time in the collector."""

    execution: Execution
    """How the model was read."""
    structure: tuple[str, ...]
    """The ops that ran, views apart; traces in which it is the same can be compared op by op."""
    totals: dict[str, int]
    """Each total but the peak, which is the greatest of ``moments``."""
    moments: list[int]
    """Live bytes while each op of ``structure`` runs."""
    lower_bounds: tuple[str, ...]
    """Why figures are lower bounds; empty where all are exact."""


class Sample(Protocol):
    """One trace."""

    @property
    def execution(self) -> Execution:
        """As of ``Numbers``."""

    @property
    def structure(self) -> tuple[str, ...]:
        """As of ``Numbers``."""

    @property
    def totals(self) -> dict[str, int]:
        """As of ``Numbers``."""

    @property
    def moments(self) -> list[int]:
        """As of ``Numbers``."""

    @property
    def lower_bounds(self) -> tuple[str, ...]:
        """As of ``Numbers``."""

    @property
    def layers(self) -> pd.DataFrame:
        """A row per layer."""

    def seconds(self, device: str) -> float:
        """The least time on a device."""

    @property
    def resting_bytes(self) -> int:
        """Bytes of parameters and buffers that the peak leaves out."""


def _allocating(ops: Sequence[PricedOp]) -> list[int]:
    """The ops that may allocate. The peak is at one of them: while a view runs, no more is live than before it.

    Views come and go with sizes, as a slice that is the whole tensor is none.
    """
    return [i for i, op in enumerate(ops) if op.rule is None or op.rule.free_because is None]


def _lower_bounds(p: Profile) -> tuple[str, ...]:
    unknown = (f"no rule for {op}" for op in p.pricing.unknown)
    return (*unknown, *dict.fromkeys(note.why for note in p.pricing.bounds))


class OfProfile:
    """The numbers of a profile."""

    def __init__(self, p: Profile) -> None:
        self._p = p
        self.execution: Execution = p.graph.execution
        self._ops = _allocating(p.pricing.ops)
        self.structure = tuple(p.graph.ops[i].op for i in self._ops)
        self.lower_bounds = _lower_bounds(p)

    @cached_property
    def totals(self) -> dict[str, int]:
        """Those of every measure that counts in integers; a user's own may have fractions."""
        found = {name: self._p.total(name) for name in MEASURES if name != "peak_memory"}
        return {name: n for name, n in found.items() if type(n) is int}

    @cached_property
    def moments(self) -> list[int]:
        """As the profile has them; the inputs alone, where nothing is allocated."""
        curve = self._p.peak.curve
        return [curve[i] for i in self._ops] or [self._p.peak_memory]

    @cached_property
    def layers(self) -> pd.DataFrame:
        """The profile's table without views and without receptive fields, which depend on no size."""
        import pandas as pd

        figures = {name: self._p.figures(name) for name in MEASURES if MEASURES[name].of_layer is not None}
        columns = {name: column for name, column in figures.items() if all(type(n) is int for n in column)}
        rows = self._p.pricing.layers
        named = {key: [getattr(layer, key) for layer in rows] for key in ("name", "type", "kind")}
        table = pd.DataFrame(named | columns, dtype=object)
        return table[[layer.module is not None or bool(_allocating(layer.ops)) for layer in rows]]

    def seconds(self, device: str) -> float:
        """That of the forward, every op a kernel of its own."""
        return self._p.roofline(device).time

    @property
    def resting_bytes(self) -> int:
        """All of them: the peak of a forward is of activations alone."""
        return self._p.peak.parameters + self._p.peak.buffers


class OfStep:
    """The numbers of a training step."""

    def __init__(self, step: TrainingStep) -> None:
        self._step = step
        self.execution: Execution = step.graph.execution
        self._ops = _allocating(step.whole.pricing.ops)
        self.structure = tuple(step.whole.graph.ops[i].op for i in self._ops)
        self.lower_bounds = _lower_bounds(step.whole)

    @cached_property
    def totals(self) -> dict[str, int]:
        """Those of the whole step; activations are the forward's."""
        # Read off the whole: the forward as a profile of its own would be priced anew, a fifth of a sample's time.
        whole, phases = self._step.whole, self._step.curve["phase"]
        ops = zip(phases, whole.pricing.ops, strict=True)
        return {
            "macs": whole.macs,
            "flops": whole.flops,
            "params": whole.params,
            "trainable_params": sum(p.size for p in whole.graph.parameters().values() if p.trainable),
            "memory_access": whole.memory_access,
            "memory_access_bytes": whole.memory_access_bytes,
            "saved_bytes": self._step.saved_bytes,
            "activations": sum(op.activations for phase, op in ops if phase == "forward"),
        }

    @cached_property
    def moments(self) -> list[int]:
        """As the step has them."""
        curve = self._step.curve["total"].tolist()
        return [curve[i] for i in self._ops] or [self._step.peak_memory]

    @cached_property
    def layers(self) -> pd.DataFrame:
        """The step's table."""
        return self._step.layers.astype(object)

    def seconds(self, device: str) -> float:
        """That of the whole step, every op a kernel of its own."""
        return self._step.roofline(device).time

    @property
    def resting_bytes(self) -> int:
        """None: the peak of a step has them."""
        return 0


class Tracer:
    """Traces a model at given sizes, each once, and all as the first was: on meta, or for real."""

    def __init__(self, trace: Callable[[Point, Execution], Sample], execution: Execution) -> None:
        self._trace, self._execution, self._asked = trace, execution, execution
        self._known: dict[Point, Numbers | CostModelError] = {}
        self._left_out: frozenset[str] = frozenset()

    def at(self, point: Point) -> Numbers:
        """What the model costs there; raises what the trace raises."""
        found = self._known.get(point)
        if found is None:
            try:
                sample = self.anew(point)
                totals = {name: n for name, n in sample.totals.items() if name not in self._left_out}
                found = Numbers(sample.execution, sample.structure, totals, sample.moments, sample.lower_bounds)
            except CostModelError as error:
                found = error
            else:
                # Where a model takes no such size, a real run would not show more than meta tensors did.
                self._execution = found.execution
            self._known[point] = found
        if isinstance(found, CostModelError):
            raise found
        return found

    def tried(self, point: Point) -> Numbers | None:
        """The same, and ``None`` where the model cannot be traced."""
        try:
            return self.at(point)
        except CostModelError:
            return None

    def leave_out(self, quantities: Collection[str]) -> None:
        """Leaves totals out of what is kept of traces, those before and those to come."""
        self._left_out |= frozenset(quantities)
        for known in self._known.values():
            if isinstance(known, Numbers):
                for name in quantities:
                    known.totals.pop(name, None)

    def anew(self, point: Point) -> Sample:
        """A trace that is not kept."""
        return self._trace(point, self._execution)

    def by_any_means(self, point: Point) -> Sample:
        """A trace that is not kept: for real, where the model cannot be traced on meta."""
        return self._trace(point, self._asked)
