"""Whole networks in closed form: what each costs by arithmetic on its paper's table alone, without torch.

One file per family, with the paper's table as data at its top. The `nn.Module` of the same table is in the file of the
same name one folder up. The two share the table and the rounding of channels, and nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias

from costmodel.errors import SignatureError
from costmodel.formulas._wiring import BackwardPass
from costmodel.formulas.feature_map import Style, Walk
from costmodel.formulas.row import Row
from costmodel.quantities import Count

from ._check import ClosedFormCheck, check
from ._result import IN_TRAINING, ClosedForm, Totals
from ._sweep import EXACT_IN_64_BITS, Sweep

__all__ = ["IN_TRAINING", "ClosedForm", "ClosedFormCheck", "Row", "check", "closed_form"]

Network: TypeAlias = Callable[..., object]
"""A network in closed form: takes its layers through a walk; the network's arguments are keywords."""

STYLE = Style(shuffle_kind="other")
"""A channel shuffle is a module of the networks' own, so the trace lists the copy that it runs as "other"."""


def closed_form(
    family: str, name: str, *, batch: Count = 1, mode: str = "eval", training: bool = False, **arguments: Any
) -> ClosedForm:
    """The closed form of the network `name` of the file `family`; see `costmodel.models.closed_form`."""
    if mode not in ("eval", "train"):
        raise ValueError(f"mode={mode!r} is unknown: choose eval or train")
    if training:
        mode = "train"
    chosen = _with_defaults(name, _network(family, name), arguments) | {"batch": batch}
    sweep = Sweep(chosen)

    def walk(values: dict[str, Any]) -> Callable[..., None]:
        return partial(_walk, family, name, values, mode=mode, training=training)

    def totals(values: dict[str, Any]) -> dict[str, Count]:
        total = Totals()
        walk(values)(total.add, tracks_fields=False)
        return total.counts(training=training)

    if not _fits(sweep, totals):
        sweep = sweep.unbounded()
    return ClosedForm(
        name=name,
        arguments=sweep.arguments | {"mode": mode},
        walk=walk(sweep.arguments),
        **{quantity: sweep.spread(count) for quantity, count in totals(sweep.compact).items()},
    )


def _network(family: str, name: str) -> Network:
    network: Network = import_module(f".{family}", __name__).NETWORKS[name]
    return network


def _walk(
    family: str,
    name: str,
    values: dict[str, Any],
    record: Callable[[Row], None],
    *,
    mode: str,
    training: bool,
    tracks_fields: bool = True,
) -> None:
    given = dict(values)
    walk = Walk(
        record=_differentiated(record) if training else record,
        batch=given.pop("batch"),
        training=mode == "train",
        style=STYLE,
        tracks_fields=tracks_fields,
        is_differentiated=training,
        mixes_layers=True,
    )
    _network(family, name)(walk, **given)


def _fits(sweep: Sweep, totals: Callable[[dict[str, Any]], dict[str, Count]]) -> bool:
    """Whether 64 bits hold every number of a sweep: those of the greatest values are the greatest of all."""
    greatest = sweep.greatest()
    if greatest is None:
        return True
    try:
        return all(isinstance(n, int) and n <= EXACT_IN_64_BITS for n in totals(greatest).values())
    except ValueError:  # values that do not go together, and need not be together in any configuration
        return False


def _differentiated(record: Callable[[Row], None]) -> Callable[[Row], None]:
    """Records each row with its backward pass; the image needs no gradient."""
    run = BackwardPass(inputs=False)
    return lambda row: record(row if row.wired is None else replace(row, backward=run.add(row.wired)))


def _with_defaults(name: str, network: Network, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, and the defaults of those that are not given."""
    _, *parameters = inspect.signature(network).parameters.values()
    known = {parameter.name: parameter.default for parameter in parameters}
    for argument in arguments:
        if argument not in known:
            raise SignatureError(f"{name} has no argument {argument!r}; it takes {', '.join(known)}, batch and mode")
    return known | arguments
