"""The rows of a comparison: as many, and under as distinct names, as models are given."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from inspect import isroutine
from itertools import count
from typing import Any

from costmodel.arguments import short
from costmodel.errors import InputError
from costmodel.profiling import Profile
from costmodel.training import TrainingStep

_MODELS = "models are a dict of name to model, or a list of spec strings such as ['vgg16', 'resnet50'], or of modules"


def by_name(models: Any) -> dict[str, Any]:
    """The models by name; those of a list are named by what they are, and numbered where that is not distinct.

    Raises ``InputError`` for what is neither a dict of name to model nor a list of models, and for an empty one.
    """
    if isinstance(models, Mapping):
        if not all(isinstance(name, str) for name in models):
            raise InputError(_MODELS)
        named = dict(models)
    elif isinstance(models, list | tuple):
        named = dict(zip(distinct([_name(model) for model in models]), models, strict=True))
    else:
        raise InputError(_MODELS)
    if not named:
        raise InputError("nothing to compare: give a dict of name to model, or a list of spec strings or modules")
    return named


def distinct(names: Sequence[str]) -> list[str]:
    """The names, those that come again with a number: the first from 2 on that makes it no other row's name.

    >>> distinct(["net", "net", "net (2)", "net"])
    ['net', 'net (3)', 'net (2)', 'net (4)']
    """
    taken, seen, found = set(names), set[str](), []
    for name in names:
        row = name
        if name in seen:
            row = next(row for n in count(2) if (row := f"{name} ({n})") not in taken)
        taken.add(row)
        seen.add(name)
        found.append(row)
    return found


def _name(model: Any) -> str:
    """A spec is its own name, a result has one, a function or method is called so, a module is named by its class."""
    if isinstance(model, str):
        return model
    if isinstance(model, Profile | TrainingStep):
        return model.name
    return str(model.__name__) if isroutine(model) else type(model).__name__


def require_rows(given: Any, kind: type) -> None:
    """Raises ``InputError`` for what has no results of a kind, by name."""
    if not (isinstance(given, Mapping) and given and all(isinstance(row, kind) for row in given.values())):
        raise InputError(f"a comparison is of {kind.__name__}s by name, at least one, not {short(given)}")


def require_baseline(baseline: str | None, names: Collection[str]) -> None:
    """Raises ``InputError`` for a baseline that is no row."""
    if baseline is not None and baseline not in list(names):
        raise InputError(f"the baseline {short(baseline)} is not among the models: {', '.join(names)}")
