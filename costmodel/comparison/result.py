"""``Comparison``: profiles of several models in rows, beside figures that are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from costmodel.arguments import short
from costmodel.comparison.rows import require_baseline, require_rows
from costmodel.errors import InputError
from costmodel.measures import MEASURES, TRADE_OFF, Number
from costmodel.metrics import Metric, without_prefix
from costmodel.profiling import Profile
from costmodel.rendering import Report
from costmodel.views.cells import inputs
from costmodel.views.grouped import by_value

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
        require_rows(self.profiles, Profile)
        require_baseline(self.baseline, self.profiles)
        if not (isinstance(self.metrics, Mapping) and all(isinstance(m, Metric) for m in self.metrics.values())):
            raise InputError(f"the metrics of a comparison are Metrics by name, not {short(self.metrics)}")
        chosen = self.columns
        if chosen is not None and (isinstance(chosen, str) or not isinstance(chosen, Sequence) or not chosen):
            raise InputError(f"columns={short(chosen)}: give a list of names, such as ['params', 'macs']")
        offered = [*MEASURES, *self.metrics, "input"]
        for name in chosen or ():
            if name not in offered:
                near = get_close_matches(str(name), offered, n=1)
                hint = f"did you mean {near[0]}? There" if near else "there"
                raise InputError(f"no column is called {short(name)}; {hint} are {', '.join(offered)}")
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
