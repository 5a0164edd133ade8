"""``compare``: profiles several models, and puts them side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, overload

from costmodel.arguments import short
from costmodel.comparison.accuracies import accuracies
from costmodel.comparison.least_times import column, least_times, names_of
from costmodel.comparison.result import Comparison
from costmodel.comparison.rows import by_name, require_baseline
from costmodel.comparison.steps import StepComparison
from costmodel.errors import InputError
from costmodel.metrics import Metric, read
from costmodel.profiling import Profile, profile
from costmodel.training import TrainingStep

if TYPE_CHECKING:
    from costmodel.conventions import Tool

Progress = Callable[[Sequence[str]], Iterable[str]]
"""Iterates over names; may show progress."""


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
    devices: Iterable[str] = (),
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
    devices: Iterable[str] = (),
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
        devices: names of devices: a column for each, of the least milliseconds that its roofline allows, elementwise
            operations fused.
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
    require_baseline(baseline, named)

    steps = [isinstance(model, TrainingStep) for model in named.values()]
    if any(steps):
        if not all(steps) or inputs is not None or options:
            raise InputError("training steps are compared with each other, as they are: without inputs and options")
        if metrics is not None or columns is not None or counted_as or devices:
            raise InputError(
                "metrics, columns, counted_as and devices are of models' forwards: compare models, not training steps"
            )
        return StepComparison({name: replace(step, name=name) for name, step in named.items()}, baseline)

    given = read(metrics, list(named), lower_is_better)
    tools, on = _tools(counted_as, given), names_of(devices)
    if taken := next((name for name in map(column, on) if name in given), None):
        raise InputError(f"the metric {taken!r} has the name of a column of devices: call it something else")

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
    given |= least_times(profiles, on)
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
