"""Training steps of several models side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from costmodel.comparison.rows import require_baseline, require_rows
from costmodel.measures import STEP_MEASURES, STEP_TOTALS, Number, step_total
from costmodel.rendering import Report
from costmodel.training import TrainingStep
from costmodel.views.cells import inputs
from costmodel.views.grouped import by_value

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class StepComparison(Report):
    """Training steps of several models, by name."""

    view: ClassVar[str] = "step comparison"

    steps: Mapping[str, TrainingStep]
    baseline: str | None = None
    """The model that ratios are relative to."""

    def __post_init__(self) -> None:
        require_rows(self.steps, TrainingStep)
        require_baseline(self.baseline, self.steps)

    @property
    def table(self) -> pd.DataFrame:
        """One row per model, named by the index: totals, memory at the peak by category, ratios, what it was given."""
        import pandas as pd

        totals = [*STEP_TOTALS, *(name for name in STEP_MEASURES if name not in STEP_TOTALS)]
        columns: dict[str, list[Any]] = {name: self.totals(name) for name in totals}
        for category in next(iter(self.steps.values())).memory["category"]:
            columns[f"peak_{category.replace(' ', '_')}"] = [_held(step, category) for step in self.steps.values()]
        columns["is_exact"] = [step.is_exact for step in self.steps.values()]
        if self.baseline is not None:
            columns |= {f"{name}_ratio": self.ratios(name) for name in totals}
        columns["input"] = list(self.inputs.values())
        columns |= {
            name: [getattr(s, name) for s in self.steps.values()] for name in ("optimizer", "autocast", "steps")
        }
        return pd.DataFrame(columns, index=pd.Index(list(self.steps), name="model"))

    @property
    def inputs(self) -> dict[str, str]:
        """What each model was given: shape and dtype of each input."""
        return {name: inputs(step.forward) for name, step in self.steps.items()}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Where the steps were not made the same way, so that their costs differ for that reason, too."""
        optimizers = {name: step.optimizer or "no optimizer" for name, step in self.steps.items()}
        casts = {name: step.autocast or "no autocast" for name, step in self.steps.items()}
        compared = (
            ("the inputs differ", self.inputs), ("the optimizers differ", optimizers), ("autocast differs", casts)
        )  # fmt: skip
        return tuple(f"{what}: {by_value(given)}" for what, given in compared if len(set(given.values())) > 1)

    def totals(self, name: str) -> list[Number]:
        """Each model's total: one of ``costmodel.measures.STEP_TOTALS`` or ``STEP_MEASURES``."""
        return [step_total(step, name) for step in self.steps.values()]

    def ratios(self, name: str) -> list[float]:
        """Each model's total over the baseline's (or the first model's); not a number where that is 0."""
        base = step_total(self.steps[self.baseline or next(iter(self.steps))], name)
        return [total / base if base else float("nan") for total in self.totals(name)]


def _held(step: TrainingStep, category: str) -> int:
    """Bytes of a category of memory at the peak."""
    table = step.memory
    return int(table.loc[table["category"] == category, "bytes"].sum())
