"""Columns of a comparison beside the measures: figures of each row that are given, such as accuracies.

A metric is given as a mapping of row to number, in a table of pandas, or in a CSV file. A row that it does not name has
no figure, which is never taken for 0.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from costmodel.arguments import short
from costmodel.errors import InputError
from costmodel.files import as_path
from costmodel.measures import Number, find
from costmodel.records import dataclass
from costmodel.scalars import scalar

SCHEMES = ("torchvision:", "timm:", "hf:")
"""Prefixes of specs: a row may be named without its own, where that is the name of no other row."""

_TAKEN = frozenset({"model", "input", "mode", "is_exact"})
"""Columns of a comparison's table that are neither measures nor metrics."""


@dataclass(frozen=True)
class Metric:
    """A column of figures that do not come from a profile: one for each row of a comparison, or none."""

    name: str
    """Its name, as tables and figures print it."""
    figures: Mapping[str, Number | None]
    """The figure of each row, by the row's name; ``None`` where there is none."""
    better: Literal["higher", "lower"] = "higher"
    """Which figures are better: the Pareto front depends on it."""
    unit: str = ""
    """The symbol of a unit that takes an SI prefix, such as ``MACs``; without one, figures are printed as they are."""
    means: str = ""
    """What it is, in one line."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where a row's figure comes from, or why it has none, for those of which it is known."""
    head: str = ""
    """What stands above it where there is room, if not its name."""
    priority: int = 9
    """In a terminal too narrow for all columns, those with the highest priority stay."""
    is_asked: bool = True
    """Whether it was asked for by name: then no terminal is too narrow for it."""

    def __post_init__(self) -> None:
        for row, figure in self.figures.items():
            _number(figure, f"{self.name!r} of {row!r}")
        for name in ("unit", "means", "head"):
            if not isinstance(text := getattr(self, name), str):
                raise InputError(f"the metric {self.name!r} has {name}={short(text)}: must be a text")
        sources = self.sources
        if not isinstance(sources, Mapping) or not all(isinstance(text, str) for text in (*sources, *sources.values())):
            raise InputError(f"the metric {self.name!r} has sources={short(sources)}: must be a text for each row")


def read(given: Any, rows: Sequence[str], lower_is_better: Iterable[str] = ()) -> dict[str, Metric]:
    """The metrics that ``compare(metrics=given)`` names, by name, with a figure or none for each row.

    Raises ``InputError`` for a row that is not there, a name that is taken, and what is no number.

    >>> read({"top-1": {"resnet18": 69.758}}, ["torchvision:resnet18", "vgg11"])["top-1"].figures
    {'torchvision:resnet18': 69.758, 'vgg11': None}
    """
    if isinstance(given, Mapping) and any(map(_is_written, given.values())):
        return _read_written(given, rows)
    where, named = _columns(given)
    lower = [lower_is_better] if isinstance(lower_is_better, str) else lower_is_better
    if not isinstance(lower, Iterable):
        raise InputError(f"lower_is_better={short(lower)}: give names of metrics, such as ['latency']")
    lower = list(lower)
    for name in lower:
        if name not in list(named):
            raise InputError(f"lower is better for {short(name)}, which is no metric: there are {_listed(named)}")
    made = {}
    for name, figures in named.items():
        _require_free(name, where)
        better: Literal["higher", "lower"] = "lower" if name in lower else "higher"
        made[name] = Metric(name, _by_row(figures, rows, f"{where}{name!r}"), better)
    return made


def _is_written(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("figures"), Mapping)


def _read_written(given: Mapping[str, Any], rows: Sequence[str]) -> dict[str, Metric]:
    """The metrics of a comparison's JSON: each with its direction, unit and sources."""
    made = {}
    for name, one in given.items():
        if not _is_written(one) or one.get("better") not in ("higher", "lower"):
            raise InputError(f"the metric {name!r} is not as a comparison's JSON has them, but {short(one)}")
        _require_free(name)
        told = {key: one[key] for key in ("unit", "means", "sources", "head") if key in one}
        made[name] = Metric(name, _by_row(one["figures"], rows, repr(name)), one["better"], **told)
    return made


def _columns(given: Any) -> tuple[str, dict[str, dict[Any, Any]]]:
    """Figures by metric and by the row as it was named; and, for errors, where they were read."""
    if given is None:
        return "", {}
    if isinstance(given, str | Path):
        return f"{given}: ", _of_file(as_path(given))
    if hasattr(given, "columns") and hasattr(given, "index"):  # a DataFrame
        _require_distinct(list(given.columns), "the DataFrame of metrics")
        _require_names(given)
        return "", {name: dict(_items(given[name])) for name in given.columns}
    if hasattr(given, "index") and hasattr(given, "items") and not isinstance(given, Mapping):  # a Series
        if given.name is None:
            raise InputError("the Series of metrics has no name: give it one, as in series.rename('top-1')")
        return "", {given.name: dict(_items(given))}
    if isinstance(given, Mapping):
        return "", {name: _of_mapping(name, figures) for name, figures in given.items()}
    raise InputError(f"metrics={short(given)}: {_HOW}")


_HOW = "give {'top-1': {'resnet50': 80.9}}, a DataFrame with a row per model, a named Series, or a CSV file's path"


def _of_mapping(name: Any, figures: Any) -> dict[Any, Any]:
    if isinstance(figures, Mapping):
        return dict(figures)
    if hasattr(figures, "index") and hasattr(figures, "items"):
        return dict(_items(figures))
    raise InputError(f"the metric {name!r} is {short(figures)}, not a figure for each model: {_HOW}")


def _items(series: Any) -> Iterator[tuple[Any, Any]]:
    """The figures of a Series by its index, whose entries must differ."""
    twice = series.index[series.index.duplicated()]
    if len(twice):
        raise InputError(f"the metric {series.name!r} has {short(twice[0])} more than once: keep one row of it")
    yield from series.items()


def _of_file(path: Path) -> dict[str, dict[str, Any]]:
    """The columns of a CSV file whose first column names the rows; an empty cell is no figure."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [(reader.line_num, line) for reader in (csv.reader(file),) for line in reader if any(line)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from error
    if not lines or len(lines[0][1]) < 2:
        raise InputError(
            f"{path} has no column of figures: its first line is a head such as model,top-1, and each other one a row"
        )
    head = [name.strip() for name in lines[0][1]]
    _require_distinct(head, f"{path}")
    columns: dict[str, dict[str, Any]] = {name: {} for name in head[1:]}
    for at, cells in lines[1:]:
        if len(cells) != len(head):
            raise InputError(f"{path}, line {at}, has {len(cells)} cells, and the head {len(head)}")
        row = cells[0].strip()
        for name, cell in zip(head[1:], cells[1:], strict=True):
            if row in columns[name]:
                raise InputError(f"{path}, line {at}: {row!r} stands there a second time; keep one line of it")
            columns[name][row] = _number_in(cell.strip(), f"{path}, line {at}: the {name!r} of {row!r}")
    return columns


def _number_in(cell: str, where: str) -> Number | None:
    if not cell or cell.lower() in ("nan", "na", "none"):
        return None
    for number in (int, float):
        try:
            figure = number(cell)
        except ValueError:
            continue
        return _number(figure, where)
    raise InputError(f"{where} is {cell!r}, not a number such as 80.9; leave the cell empty where there is none")


def _require_names(table: Any) -> None:
    """Refuses a DataFrame whose rows are numbered and whose models are a column, as ``pandas.read_csv`` makes it."""
    first = next(iter(table.columns), None)
    if first is not None and table.index.dtype.kind in "iu" and all(isinstance(cell, str) for cell in table[first]):
        raise InputError(
            f"the rows of the DataFrame of metrics are numbers: name them, as in table.set_index({first!r})"
        )


def _require_distinct(names: Sequence[Any], where: str) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(
            f"{where} has {names.count(twice[0])} columns called {twice[0]!r}: rename or remove all but one"
        )


def _require_free(name: Any, where: str = "") -> None:
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where}a metric is called by a text such as 'top-1', not {short(name)}")
    if find(name) is not None or name in _TAKEN or name.endswith("_ratio"):
        raise InputError(f"{where}a metric cannot be called {name!r}: the table has a column of that name")


def _by_row(figures: Mapping[Any, Any], rows: Sequence[str], where: str) -> dict[str, Number | None]:
    found: dict[str, Number | None] = dict.fromkeys(rows)
    named: dict[str, Any] = {}
    unknown = []
    for given, figure in figures.items():
        row = _row(given, rows)
        if row is None:
            unknown.append(given)
        elif row in named:
            raise InputError(f"{where} has two figures of {row}: as {named[row]!r} and as {given!r}")
        else:
            named[row] = given
            found[row] = _number(figure, f"{where} of {given!r}")
    if unknown:
        raise InputError(f"{where} has {_unknown(unknown, rows)}")
    return found


def _row(given: Any, rows: Sequence[str]) -> str | None:
    """The row of that name; or the only one of that name behind a library's prefix."""
    if given in rows:
        return str(given)
    alike = [row for row in rows if without_prefix(row) == given]
    if len(alike) > 1:
        raise InputError(f"{given!r} may be {' or '.join(alike)}: name it with its prefix")
    return alike[0] if alike else None


def without_prefix(row: str) -> str:
    """A model's name without the prefix of a library.

    >>> without_prefix("torchvision:resnet50"), without_prefix("net.py:make")
    ('resnet50', 'net.py:make')
    """
    return row.partition(":")[2] if row.startswith(SCHEMES) else row


def _unknown(names: Sequence[Any], rows: Sequence[str]) -> str:
    shown = ", ".join(short(name) for name in names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
    known = {without_prefix(row): row for row in rows} | {row: row for row in rows}
    close = list(dict.fromkeys(known[name] for name in get_close_matches(str(names[0]), known)))
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"figures of {shown}, which {'are' if len(names) > 1 else 'is'} not among the models: {_listed(rows)}{meant}"


def _listed(names: Iterable[Any]) -> str:
    found = [str(name) for name in names]
    return (", ".join(found[:20]) + (f" and {len(found) - 20} more" if len(found) > 20 else "")) or "none"


def _number(figure: Any, where: str) -> Number | None:
    """The figure as an int or a float; none where it is missing."""
    try:
        return scalar(figure)
    except ValueError as wanted:
        raise InputError(f"{where} is {short(figure)}, not {wanted}") from wanted
