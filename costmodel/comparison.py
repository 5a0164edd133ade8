"""Several models side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, overload

from costmodel.arguments import short
from costmodel.errors import InputError
from costmodel.measures import MEASURES, STEP_MEASURES, STEP_TOTALS, Number, step_total
from costmodel.profiling import Profile, profile
from costmodel.rendering import Report
from costmodel.training import TrainingStep
from costmodel.views.cells import inputs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Progress = Callable[[Sequence[str]], Iterable[str]]
"""Iterates over names; may show progress."""


@dataclass(frozen=True, eq=False)
class Comparison(Report):
    """Profiles of several models, by name."""

    view: ClassVar[str] = "comparison"

    profiles: Mapping[str, Profile]
    baseline: str | None = None
    """The model that ratios are relative to."""

    def __post_init__(self) -> None:
        given = self.profiles
        if not (isinstance(given, Mapping) and given and all(isinstance(p, Profile) for p in given.values())):
            raise InputError(f"a comparison is of Profiles by name, at least one, not {short(given)}")
        if self.baseline is not None and self.baseline not in list(given):
            raise InputError(f"the baseline {short(self.baseline)} is not among the models: {', '.join(given)}")

    @property
    def table(self) -> pd.DataFrame:
        """One row per model, named by the index: its totals, ``is_exact``, and ``<total>_ratio`` to the baseline.

        Totals that came after the first version, registered measures among them, follow; the last columns are ``input``
        and ``mode``: what each model was given.
        """
        import pandas as pd

        leading = [name for name, measure in MEASURES.items() if measure.leading]
        others = [name for name in MEASURES if name not in leading]
        columns: dict[str, list[Any]] = {name: self.totals(name) for name in leading}
        columns["is_exact"] = [p.is_exact for p in self.profiles.values()]
        columns |= self._ratio_columns(leading)
        columns |= {name: self.totals(name) for name in others}
        columns |= self._ratio_columns(others)
        columns["input"] = list(self.inputs.values())
        columns["mode"] = [p.mode for p in self.profiles.values()]
        return pd.DataFrame(columns, index=pd.Index(list(self.profiles), name="model"))

    @property
    def inputs(self) -> dict[str, str]:
        """What each model was given: shape and dtype of each input."""
        return {name: inputs(p) for name, p in self.profiles.items()}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Where the models were not given the same, so that their costs differ for that reason, too."""
        modes = {name: f"{p.mode} mode" for name, p in self.profiles.items()}
        compared = (("the inputs differ", self.inputs), ("the modes differ", modes))
        return tuple(f"{what}: {_by_value(given)}" for what, given in compared if len(set(given.values())) > 1)

    def totals(self, name: str) -> list[Number | None]:
        """Each model's total of a measure, as ``Profile.total`` gives it."""
        return [p.total(name) for p in self.profiles.values()]

    def ratios(self, name: str) -> list[float]:
        """Each model's total of a measure over the baseline's (or the first model's); not a number where that is 0."""
        base = self.profiles[self.baseline or next(iter(self.profiles))].total(name)
        return [float("nan") if not base or total is None else total / base for total in self.totals(name)]

    def _ratio_columns(self, names: Iterable[str]) -> dict[str, list[float]]:
        return {} if self.baseline is None else {f"{name}_ratio": self.ratios(name) for name in names}

    def plot_scatter(self, ax: Axes | None = None) -> Figure:
        """Parameters against MACs with the Pareto front, drawn into ``ax`` if given."""
        from costmodel.views import figures

        return figures.scatter(self, ax)

    def plot_ratios(self, quantity: str = "macs", ax: Axes | None = None) -> Figure:
        """A quantity of each model relative to the baseline, or to the first model if there is none."""
        from costmodel.views import figures

        return figures.ratios(self, quantity, ax)


@dataclass(frozen=True, eq=False)
class StepComparison(Report):
    """Training steps of several models, by name."""

    view: ClassVar[str] = "step comparison"

    steps: Mapping[str, TrainingStep]
    baseline: str | None = None
    """The model that ratios are relative to."""

    def __post_init__(self) -> None:
        given = self.steps
        if not (isinstance(given, Mapping) and given and all(isinstance(s, TrainingStep) for s in given.values())):
            raise InputError(f"a comparison is of TrainingSteps by name, at least one, not {short(given)}")
        if self.baseline is not None and self.baseline not in list(given):
            raise InputError(f"the baseline {short(self.baseline)} is not among the models: {', '.join(given)}")

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
        return tuple(f"{what}: {_by_value(given)}" for what, given in compared if len(set(given.values())) > 1)

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


def _by_value(given: Mapping[str, str]) -> str:
    """Each value with the models that have it; of the most frequent one, last, the models are not listed."""
    having: dict[str, list[str]] = {}
    for name, value in given.items():
        having.setdefault(value, []).append(name)
    ordered = sorted(having.items(), key=lambda item: len(item[1]))
    parts = [f"{value} for {', '.join(names)}" for value, names in ordered]
    if len(ordered[-1][1]) > 1:
        parts[-1] = f"{ordered[-1][0]} for the other{'s' if len(ordered[-1][1]) > 1 else ''}"
    return "; ".join(parts)


@overload
def compare(  # type: ignore[overload-overlap]  # what is given as Any may be a TrainingStep
    models: Mapping[str, TrainingStep], *, baseline: str | None = None
) -> StepComparison: ...


@overload
def compare(
    models: Mapping[str, Any] | Iterable[str],
    inputs: Any = None,
    baseline: str | None = None,
    *,
    progress: Progress = lambda names: names,
    **options: Any,
) -> Comparison: ...


def compare(
    models: Mapping[str, Any] | Iterable[str],
    inputs: Any = None,
    baseline: str | None = None,
    *,
    progress: Progress = lambda names: names,
    **options: Any,
) -> Comparison | StepComparison:
    """Profiles several models for comparison.

    Args:
        models: a dict of name to model (a module, a spec string as ``costmodel.load`` takes it, or its ``Profile``), or
            a list of spec strings; or a dict of name to ``TrainingStep``, which makes a ``StepComparison``.
        inputs: as for ``profile``, for all of them; ``None`` asks each model what it takes. Where those differ,
            ``Comparison.warnings`` and every view say so.
        baseline: the name of the model that ratios are relative to.
        progress: iterates over the names, to show progress.
        options: further arguments of ``profile``.

    Raises ``InputError`` for a baseline that is not among the models.

    >>> from torch import nn
    >>> two = {"wide": nn.Linear(8, 8), "narrow": nn.Linear(8, 4)}
    >>> compare(two, (1, 8), baseline="wide").table["macs_ratio"].tolist()
    [1.0, 0.5]
    """
    if not isinstance(models, Mapping | list | tuple) or not all(isinstance(name, str) for name in models):
        raise InputError("models are a dict of name to model, or a list of spec strings such as ['vgg16', 'resnet50']")
    by_name = dict(models) if isinstance(models, Mapping) else {spec: spec for spec in models}
    if not by_name:
        raise InputError("nothing to compare: give a dict of name to model, or a list of spec strings")
    if baseline is not None and baseline not in list(by_name):
        raise InputError(f"the baseline {baseline!r} is not among the models: {', '.join(by_name)}")

    steps = [isinstance(model, TrainingStep) for model in by_name.values()]
    if any(steps):
        if not all(steps) or inputs is not None or options:
            raise InputError("training steps are compared with each other, as they are: without inputs and options")
        return StepComparison({name: replace(step, name=name) for name, step in by_name.items()}, baseline)

    def profiled(model: Any) -> Profile:
        return model if isinstance(model, Profile) else profile(model, inputs, **options)

    profiles = {name: replace(profiled(by_name[name]), name=name) for name in progress(list(by_name))}
    return Comparison(profiles, baseline)
