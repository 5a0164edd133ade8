"""What one trace says in numbers: totals, each layer's figures, and the live bytes at each op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Protocol

from costmodel.errors import CostModelError
from costmodel.measures import MEASURES

if TYPE_CHECKING:
    import pandas as pd

    from costmodel.pricing import PricedOp
    from costmodel.profiling import Profile
    from costmodel.training import TrainingStep

Point = tuple[int, ...]
"""A size for each name, in the order of the names."""


class Sample(Protocol):
    """The numbers of one trace."""

    @property
    def execution(self) -> str:
        """How the model was read."""

    @property
    def structure(self) -> tuple[str, ...]:
        """The ops that ran, views apart; traces in which it is the same can be compared op by op."""

    @property
    def totals(self) -> dict[str, int]:
        """Each total but the peak, which is the greatest of ``moments``."""

    @property
    def moments(self) -> list[int]:
        """Live bytes while each op of ``structure`` runs."""

    @property
    def layers(self) -> pd.DataFrame:
        """A row per layer."""

    def seconds(self, device: str) -> float:
        """The least time on a device."""


def _allocating(ops: Sequence[PricedOp]) -> list[int]:
    """The ops that may allocate. The peak is at one of them: while a view runs, no more is live than before it.

    Views come and go with sizes, as a slice that is the whole tensor is none.
    """
    return [i for i, op in enumerate(ops) if op.rule is None or op.rule.free_because is None]


class OfProfile:
    """The numbers of a profile."""

    TOTALS: ClassVar = tuple(name for name in MEASURES if name != "peak_memory")

    def __init__(self, p: Profile) -> None:
        self._p = p
        self.execution = p.execution
        self._ops = _allocating(p.pricing.ops)
        self.structure = tuple(p.graph.ops[i].op for i in self._ops)

    @cached_property
    def totals(self) -> dict[str, int]:
        """Those of every measure of the library, exact integers."""
        return {name: int(self._p.total(name) or 0) for name in self.TOTALS}

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


class OfStep:
    """The numbers of a training step."""

    TOTALS: ClassVar = (
        "macs", "flops", "params", "trainable_params", "memory_access", "memory_access_bytes", "saved_bytes",
    )  # fmt: skip

    def __init__(self, step: TrainingStep) -> None:
        self._step = step
        self.execution = step.execution
        self._ops = _allocating(step.whole.pricing.ops)
        self.structure = tuple(step.whole.graph.ops[i].op for i in self._ops)

    @cached_property
    def totals(self) -> dict[str, int]:
        """Those of the whole step; activations are the forward's."""
        of_step = {name: int(getattr(self._step, name)) for name in self.TOTALS}
        return {**of_step, "activations": self._step.forward.activations}

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


class Tracer:
    """Traces a model at given sizes, each once."""

    def __init__(self, trace: Callable[[Point], Sample]) -> None:
        self.trace = trace
        self._known: dict[Point, Sample | CostModelError] = {}

    def at(self, point: Point) -> Sample:
        """What the model costs there; raises what the trace raises."""
        found = self._known.get(point)
        if found is None:
            try:
                found = self.trace(point)
            except CostModelError as error:
                found = error
            self._known[point] = found
        if isinstance(found, CostModelError):
            raise found
        return found

    def tried(self, point: Point) -> Sample | None:
        """The same, and ``None`` where the model cannot be traced."""
        try:
            return self.at(point)
        except CostModelError:
            return None
