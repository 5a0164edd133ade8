"""Candidates in closed form: variants of one of this library's networks, thousands in one walk through its layers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from costmodel import models
from costmodel.arguments import reason
from costmodel.candidates.grid import Columns, candidate
from costmodel.candidates.rows import Rows
from costmodel.errors import CostModelError, InputError
from costmodel.measures import MEASURES
from costmodel.models.closed import ClosedForm
from costmodel.version import __version__

BLOCK = 1 << 15
"""Candidates in one walk. Arrays of 2^15 stay in a core's cache: a million random MobileNetV2 take 3.6 s, with 2^18 in
one walk 7.9 s (CPU time of one core)."""

Places = np.ndarray[Any, Any]
"""Rows of a block, by number."""


class Closed:
    """A network of ``costmodel.models``, with arguments that all candidates share."""

    others: tuple[str, ...] = ()

    def __init__(self, name: str, shared: Mapping[str, Any], names: tuple[str, ...]) -> None:
        self.name = name
        self.shared = dict(shared)
        known = [*models.arguments(name), "batch", "mode"]
        for argument in (*names, *shared):
            if argument not in known:
                raise InputError(f"{name} has no argument {argument!r}; it takes {', '.join(known)}")
        if both := [argument for argument in names if argument in shared]:
            raise InputError(f"{both[0]} is in the grid and in {name}(...): leave one out")
        self._arrays = _arrays(name)

    @property
    def measures(self) -> tuple[str, ...]:
        """Those that a closed form has."""
        return tuple(name for name in MEASURES if name in ClosedForm.__dataclass_fields__)

    def block(self, is_sent: bool) -> int:  # noqa: ARG002 - a block takes as long anywhere
        """As many as suits arrays."""
        return BLOCK

    def describe(self) -> dict[str, Any]:
        """The network, the arguments that are shared, and the version of the library."""
        shared = {name: repr(value) for name, value in self.shared.items()}
        return {"network": self.name, "arguments": shared, "costmodel": __version__}

    def price(self, columns: Columns) -> Rows:
        """Walks through the layers once for all candidates that differ only in what may be an array."""
        found: list[tuple[Places, dict[str, Any]]] = []
        failures: dict[int, str] = {}
        for places, arrays in self._groups(columns):
            self._walk(columns, places, arrays, found, failures)
        places = np.concatenate([places for places, _ in found]) if found else np.array([], dtype=np.int64)
        figures = {
            name: np.concatenate([np.broadcast_to(totals[name], places.shape) for places, totals in found])
            for name in self.measures
            if found
        }
        return Rows(places, figures, failures)

    def _groups(self, columns: Columns) -> Iterator[tuple[Places, tuple[str, ...]]]:
        """Candidates that differ only in numbers that may be arrays, and the names of those."""
        (count,) = {len(column) for column in columns.values()}
        keys: dict[str, list[str]] = {}
        for name, column in columns.items():
            texts = self._keys(name, column)
            if any(texts):
                keys[name] = texts
        if not keys:
            yield np.arange(count), tuple(columns)
            return
        groups: dict[tuple[str, ...], list[int]] = {}
        for place, key in enumerate(zip(*keys.values(), strict=True)):
            groups.setdefault(key, []).append(place)
        for key, rows in groups.items():
            constant = {name for name, part in zip(keys, key, strict=True) if part}
            yield np.array(rows), tuple(name for name in columns if name not in constant)

    def _keys(self, name: str, column: np.ndarray[Any, Any]) -> list[str]:
        """For each value "", where it may be an element of an array, and else a text that is the same for equal values.

        Closed forms check a number, and not each element of an array: what cannot be right is computed alone.
        """
        wanted = self._arrays.get(name, ())
        if column.dtype != object and type(column[0].item()) in wanted and column.min() > 0:
            return []
        return ["" if type(v) in wanted and v > 0 else f"{type(v).__name__} {v!r}" for v in column.tolist()]

    def _walk(
        self,
        columns: Columns,
        places: Places,
        arrays: tuple[str, ...],
        found: list[tuple[Places, dict[str, Any]]],
        failures: dict[int, str],
    ) -> None:
        """Adds the totals of some candidates, in parts where one of them has none."""
        row = candidate({name: column[places[:1]] for name, column in columns.items()}, 0)
        values = {name: _numbers(columns[name][places]) for name in arrays}
        try:
            found.append((places, self._totals({**row, **(values if len(places) > 1 else {})})))
        except Exception as error:
            if len(places) == 1:
                failures[int(places[0])] = str(error) if isinstance(error, CostModelError) else reason(error)
                return
            for part in self._parts(row, values):
                self._walk(columns, places[part], arrays, found, failures)

    def _totals(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        form = models.closed_form(self.name, **{**self.shared, **arguments})
        return {name: getattr(form, name) for name in self.measures}

    def _parts(self, row: Mapping[str, Any], values: Mapping[str, Places]) -> list[Places]:
        """Some candidates, of which one cannot be computed, in two parts, or one by one.

        They are parted at an argument whose least value fails by itself, as a resolution that is too small does.
        """
        distinct = {name: sorted(set(column.tolist())) for name, column in values.items()}
        several = {name: numbers for name, numbers in distinct.items() if len(numbers) > 1}
        greatest = {**row, **{name: numbers[-1] for name, numbers in distinct.items()}}
        for name, numbers in several.items():
            if self._fails({**greatest, name: numbers[0]}):
                break
        else:
            if not several or self._fails(greatest):
                return [np.array([i]) for i in range(len(next(iter(values.values()))))]
            name = min(several, key=lambda name: len(several[name]))
        is_less = values[name] < several[name][len(several[name]) // 2]
        return [np.flatnonzero(is_less), np.flatnonzero(~is_less)]

    def _fails(self, arguments: Mapping[str, Any]) -> bool:
        try:
            self._totals(arguments)
        except Exception:
            return True
        return False


def _arrays(name: str) -> dict[str, tuple[type, ...]]:
    """The arguments of a network that may be arrays, by their annotations, each with the types of its elements."""
    family = next(family for family, names in models.FAMILIES.items() if name in names)
    network = import_module(f"costmodel.models.closed.{family}").NETWORKS[name]
    _, *parameters = inspect.signature(network).parameters.values()
    types = {"Count": (int,), "Count | None": (int,), "Multiplier": (int, float)}
    annotated = {parameter.name: types.get(str(parameter.annotation)) for parameter in parameters}
    return {"batch": (int,), **{name: found for name, found in annotated.items() if found}}


def _numbers(column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Ints and floats as an array of one type; ints of more than 64 bits stay Python's."""
    if column.dtype != object or any(isinstance(n, int) and n >= 1 << 63 for n in column.tolist()):
        return column
    return column.astype(np.int64 if all(isinstance(n, int) for n in column.tolist()) else np.float64)
