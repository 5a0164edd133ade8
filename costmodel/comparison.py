"""Several models side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar, overload

from costmodel.accuracies import accuracies
from costmodel.arguments import short
from costmodel.errors import InputError
from costmodel.measures import MEASURES, TRADE_OFF, Number
from costmodel.metrics import Metric, read, without_prefix
from costmodel.profiling import Profile, profile
from costmodel.rendering import Report
from costmodel.row_names import by_name
from costmodel.step_comparison import StepComparison
from costmodel.training import TrainingStep
from costmodel.views.cells import inputs
from costmodel.views.grouped import by_value

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.conventions import Tool

Progress = Callable[[Sequence[str]], Iterable[str]]
"""Iterates over names; may show progress."""


@dataclass(frozen=True, eq=False)
class Comparison(Report):
    """Profiles of several models, by name."""

    view: ClassVar[str] = "comparison"

    profiles: Mapping[str, Profile]
    baseline: str | None = None
    """The model that ratios are relative to."""
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """Columns beside the measures, by name: figures that are given, such as accuracies."""
    columns: Sequence[str] | None = None
    """The columns that tables show, where not the usual ones: measures, metrics and ``input``, in this order."""

    def __post_init__(self) -> None:
        given = self.profiles
        if not (isinstance(given, Mapping) and given and all(isinstance(p, Profile) for p in given.values())):
            raise InputError(f"a comparison is of Profiles by name, at least one, not {short(given)}")
        if self.baseline is not None and self.baseline not in list(given):
            raise InputError(f"the baseline {short(self.baseline)} is not among the models: {', '.join(given)}")
        if not (isinstance(self.metrics, Mapping) and all(isinstance(m, Metric) for m in self.metrics.values())):
            raise InputError(f"the metrics of a comparison are Metrics by name, not {short(self.metrics)}")
        chosen = self.columns
        if chosen is not None and (isinstance(chosen, str) or not isinstance(chosen, Sequence) or not chosen):
            raise InputError(f"columns={short(chosen)}: give a list of names, such as ['params', 'macs']")
        offered = [*MEASURES, *self.metrics, "input"]
        for name in chosen or ():
            if name not in offered:
                raise InputError(f"no column is called {short(name)}; there are {', '.join(offered)}")
        if twice := [name for name in chosen or () if list(chosen or ()).count(name) > 1]:
            raise InputError(f"columns names {twice[0]!r} twice: give each column once")

    @property
    def table(self) -> pd.DataFrame:
        """One row per model, named by the index: its totals, ``is_exact``, and ``<total>_ratio`` to the baseline.

        Totals that came after the first version, registered measures among them, follow, and metrics after them; the
        last columns are ``input`` and ``mode``: what each model was given. Where ``columns`` are chosen it has those,
        and their ratios.
        """
        import pandas as pd

        if self.columns is not None:
            shown: dict[str, Any] = {}
            for name in self.columns:
                shown[name] = list(self.inputs.values()) if name == "input" else self._column(name)
                shown |= self._ratio_columns([name] if name in MEASURES else [])
            return pd.DataFrame(shown, index=pd.Index(list(self.profiles), name="model"))
        leading = [name for name, measure in MEASURES.items() if measure.leading]
        others = [name for name in MEASURES if name not in leading]
        columns: dict[str, list[Any]] = {name: self.totals(name) for name in leading}
        columns["is_exact"] = [p.is_exact for p in self.profiles.values()]
        columns |= self._ratio_columns(leading)
        columns |= {name: self.totals(name) for name in others}
        columns |= self._ratio_columns(others)
        columns |= {name: self._column(name) for name in self.metrics}
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
        return tuple(f"{what}: {by_value(given)}" for what, given in compared if len(set(given.values())) > 1)

    def totals(self, name: str) -> list[Number | None]:
        """Each model's total of a measure, as ``Profile.total`` gives it, or its figure of a metric."""
        if isinstance(name, str) and name in self.metrics:
            return [self.metrics[name].figures.get(row) for row in self.profiles]
        return [p.total(name) for p in self.profiles.values()]

    def _column(self, name: str) -> Any:
        """A measure's totals, or a metric's figures, as a column of pandas: what is missing is no 0."""
        import pandas as pd

        figures = self.totals(name)
        whole = [figure for figure in figures if isinstance(figure, int)]
        if name in self.metrics and None in figures and len(whole) + figures.count(None) == len(figures):
            # As floats, large ones would not be exact.
            fits = all(abs(figure) < 2**63 for figure in whole)
            return pd.array(figures, dtype="Int64") if fits else pd.Series(figures, dtype=object).tolist()
        return figures

    def ratios(self, name: str) -> list[float]:
        """Each model's total of a measure over the baseline's (or the first model's); not a number where that is 0."""
        totals = dict(zip(self.profiles, self.totals(name), strict=True))
        base = totals[self.baseline or next(iter(totals))]
        return [float("nan") if not base or total is None else total / base for total in totals.values()]

    def _ratio_columns(self, names: Iterable[str]) -> dict[str, list[float]]:
        return {} if self.baseline is None else {f"{name}_ratio": self.ratios(name) for name in names}

    def lower_is_better(self, name: str) -> bool:
        """Whether the lowest figure of a measure or metric is the best: of a measure it is."""
        metric = self.metrics.get(name) if isinstance(name, str) else None
        return metric is None or metric.better == "lower"

    def front(self, x: str = TRADE_OFF[0], y: str = TRADE_OFF[1]) -> list[str]:
        """The models on the Pareto front of two measures or metrics: no other is as good in both, and better in one.

        A model that lacks one of the figures is not on it.
        """
        from costmodel.front import front

        columns = self.totals(x), self.totals(y)
        complete = {model: row for model, *row in zip(self.profiles, *columns, strict=True) if None not in row}
        signs = [1 if self.lower_is_better(name) else -1 for name in (x, y)]
        signed = [[sign * (row[i] or 0) for row in complete.values()] for i, sign in enumerate(signs)]
        return [model for model, is_on in zip(complete, front(signed), strict=True) if is_on]

    def pareto(self, x: str = TRADE_OFF[0], y: str = TRADE_OFF[1]) -> pd.DataFrame:
        """The rows of ``table`` on the front of two measures or metrics, the best by the first of them first."""
        best = dict(zip(self.profiles, self.totals(x), strict=True))
        sign = 1 if self.lower_is_better(x) else -1
        return self.table.loc[sorted(self.front(x, y), key=lambda model: sign * (best[model] or 0))]

    @cached_property
    def labels(self) -> dict[str, str]:
        """The models' names as charts write them: without a library's prefix, where that leaves them distinct."""
        bare = {name: without_prefix(name) for name in self.profiles}
        return bare if len(set(bare.values())) == len(bare) else {name: name for name in bare}

    def plot_scatter(self, ax: Axes | None = None) -> Figure:
        """Parameters against MACs with the Pareto front, drawn into ``ax`` if given."""
        from costmodel.views import scatter

        return scatter.trade_off(self, ax)

    def plot_pareto(self, x: str = TRADE_OFF[0], y: str = TRADE_OFF[1], ax: Axes | None = None) -> Figure:
        """One measure or metric against another, with the Pareto front, drawn into ``ax`` if given.

        ``compare(..., metrics=..., lower_is_better=...)`` says which figures of a metric are better. A model that lacks
        a figure is not drawn.
        """
        from costmodel.views import scatter

        return scatter.pareto(self, x, y, ax=ax)

    def plot_ratios(self, quantity: str = "macs", ax: Axes | None = None) -> Figure:
        """A quantity of each model relative to the baseline, or to the first model if there is none."""
        from costmodel.views import figures

        return figures.ratios(self, quantity, ax)


@overload
def compare(
    models: Mapping[str, TrainingStep] | Sequence[TrainingStep], *, baseline: str | None = None
) -> StepComparison: ...


@overload
def compare(
    models: Mapping[str, Any] | Sequence[Any],
    inputs: Any = None,
    baseline: str | None = None,
    *,
    metrics: Any = None,
    lower_is_better: Iterable[str] = (),
    counted_as: Iterable[str] = (),
    columns: Sequence[str] | None = None,
    progress: Progress = lambda names: names,
    **options: Any,
) -> Comparison: ...


def compare(
    models: Mapping[str, Any] | Sequence[Any],
    inputs: Any = None,
    baseline: str | None = None,
    *,
    metrics: Any = None,
    lower_is_better: Iterable[str] = (),
    counted_as: Iterable[str] = (),
    columns: Sequence[str] | None = None,
    progress: Progress = lambda names: names,
    **options: Any,
) -> Comparison | StepComparison:
    """Profiles several models for comparison.

    Args:
        models: a dict of name to model (a module, a spec string as ``costmodel.load`` takes it, or its ``Profile``), or
            a list of them: a spec is then named by itself, a module by its class, a profile by its name, and what comes
            again under one name is numbered: each model is a row. A dict of name to ``TrainingStep``, or a list of
            them, makes a ``StepComparison``.
        inputs: as for ``profile``, for all of them; ``None`` asks each model what it takes. Where those differ,
            ``Comparison.warnings`` and every view say so.
        baseline: the name of the model that ratios are relative to.
        metrics: columns of your own, such as accuracies: ``{"top-1": {"resnet50": 80.9}}``, a DataFrame with a row per
            model, a named Series, or the path of a CSV file whose first column names the models.
            What torchvision states of its weights, such as ``ImageNet-1K acc@1``, comes by itself for specs as
            ``"torchvision:resnet50"``.
        lower_is_better: those of the metrics of which the lowest figure is the best, such as a latency.
        counted_as: names of ``costmodel.TOOLS``: a column for each, of what it prints, beside the metrics.
        columns: what tables show, in this order, where not the usual columns: measures, metrics and ``input``.
        progress: iterates over the names, to show progress.
        options: further arguments of ``profile``.

    Raises ``InputError`` for a baseline that is not among the models, and for a metric of a model that is not.

    >>> from torch import nn
    >>> two = {"wide": nn.Linear(8, 8), "narrow": nn.Linear(8, 4)}
    >>> compare(two, (1, 8), baseline="wide").table["macs_ratio"].tolist()
    [1.0, 0.5]
    """
    named = by_name(models)
    if baseline is not None and baseline not in list(named):
        raise InputError(f"the baseline {baseline!r} is not among the models: {', '.join(named)}")

    steps = [isinstance(model, TrainingStep) for model in named.values()]
    if any(steps):
        if not all(steps) or inputs is not None or options:
            raise InputError("training steps are compared with each other, as they are: without inputs and options")
        if metrics is not None or columns is not None or counted_as:
            raise InputError(
                "metrics and columns are of models' forwards, as is counted_as: compare the models, not training steps"
            )
        return StepComparison({name: replace(step, name=name) for name, step in named.items()}, baseline)

    given = read(metrics, list(named), lower_is_better)
    tools = _tools(counted_as, given)

    if tools:
        from costmodel.conventions.reconciliation import counted, metric

    def profiled(model: Any) -> Profile:
        return model if isinstance(model, Profile) else profile(model, inputs, **options)

    profiles, lines = {}, {}
    for name in _shown(progress, list(named)):
        profiles[name] = p = replace(profiled(named[name]), name=name)
        lines[name] = counted(p, tools) if tools else []
    for i, tool in enumerate(tools):
        given[tool.name] = metric(tool, {name: found[i] for name, found in lines.items()})
    for name, stated in accuracies(named, profiles, own_inputs=inputs is None).items():
        given.setdefault(name, stated)
    return Comparison(profiles, baseline, given, columns)


def _shown(progress: Any, names: list[str]) -> Iterator[str]:
    """The names through ``progress``, which has to pass on all of them: a model that it drops would lack silently."""
    if not callable(progress) or not isinstance(given := progress(list(names)), Iterable):
        raise InputError(f"progress={short(progress)}: give a function that iterates over the names, such as tqdm.tqdm")
    for name, passed in zip_longest(names, given, fillvalue=object()):
        if name != passed:
            raise InputError(f"progress={short(progress)} does not iterate over the names that it is given, each once")
        yield str(name)


def _tools(names: Any, given: Mapping[str, Metric]) -> list[Tool]:
    """The tools of these names, each once; none of them may have the name of a metric that is given."""
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, Iterable):
        raise InputError(f"counted_as={short(names)}: give names of costmodel.TOOLS, such as ('fvcore', 'thop')")
    if not (names := list(names)):
        return []
    from costmodel.conventions import tool_named

    tools = {tool.name: tool for tool in map(tool_named, names)}
    for name in tools.keys() & given.keys():
        raise InputError(f"the metric {name!r} has the name of a column of counted_as: call it something else")
    return list(tools.values())
