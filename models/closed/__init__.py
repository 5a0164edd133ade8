"""Whole networks in closed form: what each costs by arithmetic on its paper's table alone, without torch.

One family a file, the paper's table as data at its top; the `nn.Module` of the same table is in the file of the same
name one folder up. The two share the table and the rounding of channels, and nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, TypeAlias

from costmodel.quantities import Count

from ._feature_map import Ledger, Note, Row
from ._result import TOTALS, ClosedForm

__all__ = ["ClosedForm", "Row", "closed_form"]

Walk: TypeAlias = Callable[..., object]
"""A network's closed form: takes a ledger, and the network's arguments by keyword."""


def closed_form(
    family: str, name: str, *, batch: Count = 1, mode: Literal["eval", "train"] = "eval", **arguments: Any
) -> ClosedForm:
    """The closed form of the network `name` of the file `family`; see `costmodel.models.closed_form`."""
    if mode not in ("eval", "train"):
        raise ValueError(f"mode={mode!r} is unknown: choose eval or train")
    walk: Walk = import_module(f".{family}", __name__).NETWORKS[name]
    chosen = _bound(name, walk, {key: _plain(value) for key, value in arguments.items()})
    batch = _plain(batch)

    def run(note: Note) -> None:
        walk(Ledger(batch, mode == "train", note), **chosen)

    totals: dict[str, Count] = dict.fromkeys(TOTALS, 0)

    def add(row: Row) -> None:
        for quantity in TOTALS:
            totals[quantity] = totals[quantity] + getattr(row, quantity)

    run(add)
    return ClosedForm(name=name, arguments={**chosen, "batch": batch, "mode": mode}, walk=run, **totals)


def _bound(name: str, walk: Walk, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the defaults of those that are not given."""
    _, *parameters = inspect.signature(walk).parameters.values()
    known = {parameter.name: parameter.default for parameter in parameters}
    for argument in arguments:
        if argument not in known:
            raise TypeError(f"{name} has no argument {argument!r}; it takes {', '.join(known)}, batch and mode")
    return known | arguments


def _plain(value: Any) -> Any:
    """NumPy's integers as 64-bit ones, which do not wrap where 32 bits would, and its scalars as Python's."""
    if isinstance(value, tuple | list):
        return tuple(_plain(part) for part in value)
    if hasattr(value, "dtype"):
        if not value.shape:
            return value.item()
        return value.astype("int64" if value.dtype.kind in "iu" else "float64")
    return value
