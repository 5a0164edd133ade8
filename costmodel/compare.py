"""Several models side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from costmodel.errors import InputError
from costmodel.profile import Profile, profile
from costmodel.rendering import Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOTALS = {
    "params": "elements of distinct parameters",
    "macs": "multiply-accumulates",
    "flops": "arithmetic operations, a multiply-accumulate being two",
    "memory_access": "elements read and written, every op a kernel of its own",
    "memory_access_bytes": "the same in bytes",
    "activations": "output elements of convolutions and matrix products",
    "peak_memory": "the most bytes of activations that are live at once, parameters apart",
}
"""The totals that a comparison shows, and what they mean."""

Progress = Callable[[Sequence[str]], Iterable[str]]
"""Goes through names and may show how far it is."""


@dataclass(frozen=True, eq=False)
class Comparison(Report):
    """Profiles of several models, by name."""

    view: ClassVar[str] = "comparison"

    profiles: Mapping[str, Profile]
    baseline: str | None = None
    """The model to which ratios are taken."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per model, named by the index: its totals, ``is_exact``, and ``<total>_ratio`` to the baseline."""
        import pandas as pd

        rows = [[getattr(p, total) for total in TOTALS] + [p.is_exact] for p in self.profiles.values()]
        table = pd.DataFrame(rows, columns=[*TOTALS, "is_exact"], index=pd.Index(list(self.profiles), name="model"))
        if self.baseline is not None:
            for total in TOTALS:
                base = getattr(self.profiles[self.baseline], total)
                table[f"{total}_ratio"] = [
                    getattr(p, total) / base if base else float("nan") for p in self.profiles.values()
                ]
        return table

    def plot_scatter(self, ax: Axes | None = None) -> Figure:
        """Parameters against MACs, with the Pareto front; into ``ax`` where one is given."""
        from costmodel.views import figures

        return figures.scatter(self, ax)

    def plot_ratios(self, quantity: str = "macs", ax: Axes | None = None) -> Figure:
        """A quantity of each model as a ratio to the baseline, or to the first model where there is none."""
        from costmodel.views import figures

        return figures.ratios(self, quantity, ax)


def compare(
    models: Mapping[str, Any] | Iterable[str],
    inputs: Any = None,
    baseline: str | None = None,
    *,
    progress: Progress = lambda names: names,
    **options: Any,
) -> Comparison:
    """Profiles several models and sets them side by side.

    Args:
        models: a dict of name to model (a module, a spec string as ``costmodel.load`` takes it, or its ``Profile``), or
            a list of spec strings.
        inputs: as for ``profile``, for all of them; ``None`` asks each model what it takes.
        baseline: the name of the model that ratios are taken to.
        progress: goes through the names, to show how far it is.
        options: further arguments of ``profile``.

    Raises ``InputError`` for a baseline that is not among the models.

    >>> from torch import nn
    >>> two = {"wide": nn.Linear(8, 8), "narrow": nn.Linear(8, 4)}
    >>> compare(two, (1, 8), baseline="wide").table["macs_ratio"].tolist()
    [1.0, 0.5]
    """
    by_name = dict(models) if isinstance(models, Mapping) else {spec: spec for spec in models}
    if isinstance(models, str) or not all(isinstance(name, str) for name in by_name):
        raise InputError("models are a dict of name to model, or a list of spec strings such as ['vgg16', 'resnet50']")
    if not by_name:
        raise InputError("nothing to compare: give a dict of name to model, or a list of spec strings")
    if baseline is not None and baseline not in by_name:
        raise InputError(f"the baseline {baseline!r} is not among the models: {', '.join(by_name)}")

    def profiled(model: Any) -> Profile:
        return model if isinstance(model, Profile) else profile(model, inputs, **options)

    profiles = {name: replace(profiled(by_name[name]), name=name) for name in progress(list(by_name))}
    return Comparison(profiles, baseline)
