"""The candidates of a sweep: all combinations of some lists, or a list of dicts. Each has a number, from 0."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any, TypeAlias

import numpy as np

from costmodel.arguments import short
from costmodel.errors import InputError

Columns: TypeAlias = dict[str, "np.ndarray[Any, Any]"]
"""Candidates by name of argument: 64-bit ints or floats where all of them are, objects elsewhere."""


class _Absent:
    """In the place of an argument that a candidate does not have."""

    def __repr__(self) -> str:
        return "absent"

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


class Grid(ABC):
    """What both kinds have: names, columns of values, and the kind of each column."""

    names: tuple[str, ...]
    kinds: Mapping[str, str]
    """Of each column: ``int64``, ``double``, ``bool``, ``string``, or ``json`` for values of any other or of several
    types, which files hold as text."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def columns(self, numbers: np.ndarray[Any, Any]) -> Columns:
        """The candidates of these numbers."""

    @abstractmethod
    def find(self, columns: Mapping[str, Sequence[Any]]) -> list[int]:
        """The number of each candidate, of which files hold the columns; -1 for one that is not in this grid."""

    def blocks(self, size: int) -> Iterator[range]:
        """All numbers in order, in ranges of at most so many."""
        for start in range(0, len(self), size):
            yield range(start, min(start + size, len(self)))

    def candidate(self, number: int) -> dict[str, Any]:
        """One candidate."""
        return candidate(self.columns(np.array([number])), 0)

    def written(self, name: str, values: Iterable[Any]) -> list[Any]:
        """Values of a column as files hold them."""
        return [as_written(self.kinds[name], value) for value in values]


class Product(Grid):
    """All combinations; the last name varies fastest.

    >>> grid = Product({"width": [0.5, 1.0], "resolution": [192, 224]})
    >>> len(grid), grid.candidate(1)
    (4, {'width': 0.5, 'resolution': 224})
    """

    def __init__(self, axes: Mapping[str, Iterable[Any]]) -> None:
        self._axes = {name: _distinct(_values(name, values)) for name, values in axes.items()}
        self.names = tuple(axes)
        self.kinds = {name: _kind(values) for name, values in self._axes.items()}
        self._arrays = {name: _array(values, self.kinds[name]) for name, values in self._axes.items()}

    def __len__(self) -> int:
        return prod(len(values) for values in self._axes.values())

    def columns(self, numbers: np.ndarray[Any, Any]) -> Columns:
        """Each number in digits, one for each name."""
        found, rest = {}, np.asarray(numbers)
        for name, array in reversed(self._arrays.items()):
            rest, places = np.divmod(rest, len(array))
            found[name] = array[places]
        return {name: found[name] for name in self.names}

    def find(self, columns: Mapping[str, Sequence[Any]]) -> list[int]:
        """By the place of each value among those of its name."""
        places = []
        for name, values in self._axes.items():
            place = {value: i for i, value in enumerate(self.written(name, values))}
            places.append([place.get(value, -1) for value in columns[name]])
        sizes = [len(values) for values in self._axes.values()]
        codes = np.array(places, dtype=np.int64)
        inside = (codes >= 0).all(axis=0)
        numbers = np.zeros(codes.shape[1], dtype=np.int64)
        for size, code in zip(sizes, codes, strict=True):
            numbers = numbers * size + code
        return [int(n) for n in np.where(inside, numbers, -1)]

    def blocks(self, size: int) -> Iterator[range]:
        """Ranges that are products themselves: closed forms work out each value of an axis once."""
        inner, lengths = 1, [len(values) for values in self._axes.values()]
        while lengths and inner * lengths[-1] <= size:
            inner *= lengths.pop()
        length = lengths.pop() if lengths else 1
        parts = -(-length // max(1, size // inner))
        edges = [inner * (length * i // parts) for i in range(parts + 1)]
        for outer in range(prod(lengths)):
            start = outer * length * inner
            for first, last in pairwise(edges):
                yield range(start + first, start + last)


class Listed(Grid):
    """Candidates one by one; those of equal values are one.

    >>> Listed([{"depth": 18}, {"depth": 34, "act": "gelu"}, {"depth": 18}]).names
    ('depth', 'act')
    """

    def __init__(self, candidates: Iterable[Mapping[str, Any]]) -> None:
        rows = []
        for row in candidates:
            if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
                raise InputError(f"a grid is a dict of lists, or candidates as dicts of arguments, not {short(row)}")
            rows.append({name: _plain(value) for name, value in row.items()})
        self.names = tuple(dict.fromkeys(name for row in rows for name in row))
        given = {name: [row.get(name, ABSENT) for row in rows] for name in self.names}
        self.kinds = {name: _kind(values) for name, values in given.items()}
        keys = zip(*(self.written(name, values) for name, values in given.items()), strict=True)
        self._numbers: dict[tuple[Any, ...], int] = {}
        kept: list[int] = []
        for i, key in enumerate(keys):
            if key not in self._numbers:
                self._numbers[key] = len(kept)
                kept.append(i)
        self._arrays = {name: _array([values[i] for i in kept], self.kinds[name]) for name, values in given.items()}

    def __len__(self) -> int:
        return len(self._numbers)

    def columns(self, numbers: np.ndarray[Any, Any]) -> Columns:
        """As they were listed."""
        return {name: array[numbers] for name, array in self._arrays.items()}

    def find(self, columns: Mapping[str, Sequence[Any]]) -> list[int]:
        """By all values together."""
        keys = zip(*(columns[name] for name in self.names), strict=True)
        return [self._numbers.get(key, -1) for key in keys]


def read(grid: Any) -> Grid:
    """The grid that is meant: a dict of lists, or an iterable of dicts. Raises ``InputError`` for any other."""
    if isinstance(grid, str | bytes) or not isinstance(grid, Iterable):
        raise InputError(f"a grid is a dict of lists, or candidates as dicts of arguments, not {short(grid)}")
    made: Grid = Product(grid) if isinstance(grid, Mapping) else Listed(grid)
    if not made.names or not len(made):
        raise InputError("the grid has no candidate: give each argument some values, as in {'width': [0.5, 1.0]}")
    for name in made.names:
        if not name.isidentifier():
            raise InputError(f"{name!r} in the grid cannot be the name of an argument")
    return made


def candidate(columns: Columns, row: int) -> dict[str, Any]:
    """One row of some columns as Python's values, without what it does not have."""
    values = {name: column[row] for name, column in columns.items()}
    return {name: _plain(value) for name, value in values.items() if value is not ABSENT}


def said(candidate: Mapping[str, Any]) -> str:
    """A candidate as messages name it.

    >>> said({"arch": "resnet18", "width": 0.5})
    'arch=resnet18, width=0.5'
    """
    return ", ".join(f"{name}={value if isinstance(value, str) else short(value)}" for name, value in candidate.items())


def as_written(kind: str, value: Any) -> Any:
    """A value as a file holds it; the same for equal values."""
    if value is ABSENT:
        return None
    if kind == "json":
        return json.dumps(value, ensure_ascii=False, default=_named)
    return float(value) if kind == "double" else value


def _named(value: Any) -> str:
    name = getattr(value, "__qualname__", None)
    return repr(value) if name is None else f"{value.__module__}.{name}"


def _values(name: Any, values: Any) -> list[Any]:
    if not isinstance(name, str):
        raise InputError(f"{short(name)} in the grid cannot be the name of an argument")
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InputError(f"the grid's {name} is a list of values, not {short(values)}: write [{short(values)}]")
    return [_plain(value) for value in values]


def _distinct(values: list[Any]) -> list[Any]:
    kind, found = _kind(values), dict[Any, Any]()
    for value in values:
        found.setdefault(as_written(kind, value), value)
    return list(found.values())


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's."""
    return value.item() if isinstance(value, np.generic) else value


_MOST = 1 << 63


def _kind(values: Iterable[Any]) -> str:
    given = [value for value in values if value is not ABSENT]
    types = {type(value) for value in given}
    if any(isinstance(value, float) and value != value for value in given):
        raise InputError("a value of the grid is not a number (nan)")
    if types == {int} and all(-_MOST <= value < _MOST for value in given):
        return "int64"
    if types and types <= {int, float} and all(isinstance(v, float) or abs(v) <= 1 << 53 for v in given):
        return "double"
    return {frozenset({bool}): "bool", frozenset({str}): "string"}.get(frozenset(types), "json")


def _array(values: Sequence[Any], kind: str) -> np.ndarray[Any, Any]:
    """Values of one type as an array of it, and all others as they are."""
    if kind == "int64" and not any(value is ABSENT for value in values):
        return np.array(values, dtype=np.int64)
    if kind == "double" and all(isinstance(value, float) for value in values):
        return np.array(values, dtype=np.float64)
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):  # a slice would take tuples of one length for rows
        array[i] = value
    return array
