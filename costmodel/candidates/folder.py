"""A sweep's rows as a folder of Parquet files, which a sweep adds to, and from which it goes on where it was ended.

Each file is written whole beside its place and renamed into it, so that a folder never holds a part of a row. A
candidate is known again by its arguments: those that have a row are not computed again.

The schema: a column for each name of the grid (``int64``, ``double``, ``bool``, ``string``; JSON as ``string`` for
values of other or of several types), one for each measure (``int64``; ``double`` for one that a user registered), for
traced candidates ``is_exact`` and ``input``, and ``error``, which is null where there are figures. The metadata of a
field say its ``role`` (``argument``, ``measure`` or ``result``), and of a measure ``title``, ``unit`` and ``means``.
The schema's metadata ``costmodel`` say what was swept, with which versions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import numpy as np

from costmodel.arguments import short
from costmodel.candidates.engines import missing
from costmodel.candidates.grid import Grid
from costmodel.candidates.memory import Numbers, framed
from costmodel.candidates.rows import Pricer, Rows
from costmodel.errors import ConvertError
from costmodel.files import as_path, write_bytes
from costmodel.measures import MEASURES, registered_measures

if TYPE_CHECKING:
    import pandas as pd

ROWS = 1 << 17
"""Rows that are written at once, at most."""

SECONDS = 5.0
"""After how long rows are written in any case: so much work is lost if a sweep is killed."""

_OTHERS = {"is_exact": "bool", "input": "string", "error": "string"}
_LARGEST = (1 << 63) - 1


class Folder:
    """Rows in a folder of Parquet files."""

    def __init__(self, path: Any, grid: Grid, pricer: Pricer) -> None:
        try:
            import pyarrow
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise missing("pyarrow", f"save={str(path)!r}") from error
        self.path = as_path(path)
        self._grid = grid
        self._measures = pricer.measures
        self._names = (*pricer.measures, *pricer.others)
        self._format = _schema(grid, pricer)
        self._held: list[Any] = []
        self._flushed = time.monotonic()
        self._require_the_same()
        self.done = np.unique([n for n in self._numbers(self._read(grid.names)) if n >= 0]).astype(np.int64)

    # -- writing ------------------------------------------------------------------------------------------------------

    def add(self, numbers: Numbers, rows: Rows) -> None:
        """Holds them, until there are many or some time has passed."""
        import pyarrow as pa

        rows = _within_64_bits(rows, self._measures)
        places = np.concatenate([np.asarray(part, dtype=np.int64) for part in (rows.places, list(rows.failures))])
        arguments = self._grid.columns(numbers[places])
        columns: dict[str, Any] = {
            **{name: self._written(name, column) for name, column in arguments.items()},
            **{name: _followed(rows.figures.get(name, []), len(rows.failures)) for name in self._names},
            "error": [*[None] * len(rows.places), *rows.failures.values()],
        }
        self._held.append(pa.table(columns, schema=self._format))
        if sum(len(t) for t in self._held) >= ROWS or time.monotonic() - self._flushed >= SECONDS:
            self.flush()

    def _written(self, name: str, column: np.ndarray[Any, Any]) -> Any:
        return column if column.dtype != object else self._grid.written(name, column.tolist())

    def flush(self) -> None:
        """Writes what is held as one file."""
        import pyarrow as pa
        from pyarrow import parquet

        if self._held:
            out = BytesIO()
            parquet.write_table(pa.concat_tables(self._held), out)
            write_bytes(self.path / f"part-{time.time_ns():020d}-{token_hex(4)}.parquet", out.getvalue())
        self._held = []
        self._flushed = time.monotonic()

    # -- reading ------------------------------------------------------------------------------------------------------

    def table(self) -> pd.DataFrame:
        """The candidates of this grid that have figures."""
        return self._framed(self._names, failed=False)

    def failures(self) -> pd.DataFrame:
        """Those that have none."""
        return self._framed(("error",), failed=True)

    def _framed(self, names: tuple[str, ...], *, failed: bool) -> pd.DataFrame:
        read = self._read(tuple(dict.fromkeys((*self._grid.names, *names, "error"))))
        wanted = read.column("error").is_valid() if failed else read.column("error").is_null()
        read = read.filter(wanted)
        numbers, first = np.unique(self._numbers(read), return_index=True)
        first = first[numbers >= 0]
        read = read.take(first)
        figures = {name: read.column(name).to_pandas() for name in names}
        return framed(self._grid, numbers[numbers >= 0], figures)

    def _numbers(self, read: Any) -> np.ndarray[Any, Any]:
        columns = {name: read.column(name).to_pylist() for name in self._grid.names}
        return np.array(self._grid.find(columns), dtype=np.int64)

    def _read(self, names: tuple[str, ...]) -> Any:
        import pyarrow as pa
        from pyarrow import parquet

        schema = pa.schema([self._format.field(name) for name in names])
        parts = [parquet.read_table(part, columns=list(names)).cast(schema) for part in self._parts()]
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def _parts(self) -> list[Path]:
        return sorted(part for part in self.path.glob("*.parquet") if not part.name.startswith((".", "_")))

    def _require_the_same(self) -> None:
        """Raises ``ConvertError`` where the folder has other rows than those of this sweep."""
        from pyarrow import parquet

        if self.path.exists() and not self.path.is_dir():
            raise ConvertError(f"{self.path} is a file: a sweep is saved in a folder of Parquet files; name another")
        for part in self._parts():
            try:
                found = parquet.read_schema(part)
            except (OSError, ValueError) as error:
                raise ConvertError(f"{part} is no whole Parquet file: {error}. Remove it, and sweep again") from error
            if (found.metadata or {}).get(b"costmodel") is None:
                raise ConvertError(f"{part} is no part of a sweep: save into a folder of its own")
            if difference := _difference(found, self._format):
                raise ConvertError(
                    f"{self.path} has the rows of another sweep: {difference}. Save into another folder, or remove this"
                )


def _schema(grid: Grid, pricer: Pricer) -> Any:
    import pyarrow as pa

    types = {
        "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_(), "string": pa.string(), "json": pa.string()
    }  # fmt: skip
    registered = {measure.name for measure in registered_measures()}

    def measure(name: str) -> Any:
        m = MEASURES[name]
        said = {"role": "measure", "title": m.title, "unit": m.unit, "means": m.means}
        return pa.field(name, pa.float64() if name in registered else pa.int64(), metadata=said)

    arguments = [
        pa.field(name, types[kind], metadata={"role": "argument", "kind": kind}) for name, kind in grid.kinds.items()
    ]
    results = [
        pa.field(name, types[_OTHERS[name]], metadata={"role": "result"}) for name in (*pricer.others, "error")
    ]  # fmt: skip
    about = {"format": "costmodel-sweep", "version": 1, **pricer.describe()}
    return pa.schema(
        [*arguments, *map(measure, pricer.measures), *results], metadata={"costmodel": json.dumps(about)}
    )  # fmt: skip


def _difference(found: Any, wanted: Any) -> str:
    """In what two schemas differ, in words; "" where they are the same."""
    theirs, ours = (json.loads(schema.metadata[b"costmodel"]) for schema in (found, wanted))
    for key in dict.fromkeys((*theirs, *ours)):
        if theirs.get(key) != ours.get(key):
            return f"{key} {short(theirs.get(key))} there, {short(ours.get(key))} here"
    of_grid = [
        {f.name: str(f.metadata[b"kind"], "utf-8") for f in schema if f.metadata[b"role"] == b"argument"}
        for schema in (found, wanted)
    ]
    if of_grid[0] != of_grid[1]:
        return f"its grid has {_columns(of_grid[0])}, and this one {_columns(of_grid[1])}"
    return "" if found.equals(wanted) else "its columns are others"


def _columns(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items())


def _within_64_bits(rows: Rows, measures: tuple[str, ...]) -> Rows:
    """The rows that a file can hold; any other is a failure that says so."""
    too_large: dict[int, str] = {}
    for name in measures:
        column = rows.figures.get(name, ())
        if isinstance(column, np.ndarray) and column.dtype != object:
            continue
        for i, value in enumerate(column):
            if isinstance(value, int) and value > _LARGEST:
                too_large.setdefault(i, f"{name} = {value} does not fit the 64 bits of a file: sweep without saving")
    if not too_large:
        return rows
    kept = [i for i in range(len(rows.places)) if i not in too_large]
    return Rows(
        [rows.places[i] for i in kept],
        {name: [column[i] for i in kept] for name, column in rows.figures.items()},
        {**rows.failures, **{int(rows.places[i]): text for i, text in too_large.items()}},
    )


def _followed(column: Any, nulls: int) -> Any:
    """Figures, and a null for each failure; an array stays one where there is none."""
    return [*column, *[None] * nulls] if nulls else column
