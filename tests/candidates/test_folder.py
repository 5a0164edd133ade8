"""Sweeps that are saved: the folder of Parquet files, what it says of itself, and how a sweep goes on from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

import costmodel
from costmodel.candidates import folder as folders
from costmodel.errors import ConvertError, CostModelError
from tests.candidates.networks import small

ROOT = Path(__file__).parents[2]
GRID = {"depth": [1, 2, 3], "width": [8, 16]}
INPUTS = (1, 3, 8, 8)


def saved(path: Path) -> pd.DataFrame:
    """All rows of a folder, read as anyone reads it."""
    return pd.read_parquet(path)


def test_a_saved_sweep_is_the_same_sweep(tmp_path: Path) -> None:
    """Tables are equal, types included, to those that are held in memory; also of texts, floats, tuples and gaps."""
    grids: list[tuple[Any, Any, Any]] = [
        (small, GRID, INPUTS),
        ("resnet{d}", {"d": [18, "x"]}, INPUTS),
        ("mobilenet_v2", {"width": [0.5, 1.0], "resolution": [96, (96, 64)], "batch": [0, 1]}, None),
        ("mobilenet_v2", [{"width": 0.5}, {"resolution": 96}, {"width": "x"}], None),
    ]
    for i, (what, grid, inputs) in enumerate(grids):
        held = costmodel.sweep(what, grid, inputs=inputs)
        for _ in range(2):
            kept = costmodel.sweep(what, grid, inputs=inputs, save=tmp_path / f"{i}.parquet")
            pd.testing.assert_frame_equal(kept.table, held.table)
            pd.testing.assert_frame_equal(kept.failures, held.failures)
        assert len(saved(tmp_path / f"{i}.parquet")) == len(held.table) + len(held.failures)


def test_the_schema_says_what_columns_are(tmp_path: Path) -> None:
    """Units, titles and meanings of measures as ``MEASURES`` has them; what was swept, and with which versions."""
    costmodel.sweep(small, GRID, inputs=INPUTS, save=tmp_path)
    (part,) = tmp_path.glob("part-*.parquet")
    schema = parquet.read_schema(part)
    described = {field.name: {k.decode(): v.decode() for k, v in field.metadata.items()} for field in schema}
    assert described["depth"] == {"role": "argument", "kind": "int64"}
    for name, measure in costmodel.measures.MEASURES.items():
        assert described[name] == {
            "role": "measure", "title": measure.title, "unit": measure.unit, "means": measure.means,
        }  # fmt: skip
    assert str(schema.field("macs").type) == "int64"
    assert [field.name for field in schema][-3:] == ["is_exact", "input", "error"]
    assert b"tests.candidates.networks.small" in schema.metadata[b"costmodel"]
    assert costmodel.__version__.encode() in schema.metadata[b"costmodel"]


def test_rows_that_are_there_are_not_computed_again(tmp_path: Path) -> None:
    """A larger grid adds its candidates; the table is that of the grid that is asked for."""
    built = []

    def make(depth: int) -> Any:
        built.append(depth)
        return small(depth)

    costmodel.sweep(make, {"depth": [1, 2]}, inputs=INPUTS, save=tmp_path)
    swept = costmodel.sweep(make, {"depth": [4, 3, 2]}, inputs=INPUTS, save=tmp_path)
    assert built == [1, 2, 4, 3]
    assert swept.table["depth"].tolist() == [4, 2]
    assert swept.failures["depth"].tolist() == [3]
    assert sorted(saved(tmp_path)["depth"]) == [1, 2, 3, 4]
    listed = costmodel.sweep(make, [{"depth": 1}, {"depth": 3}], inputs=INPUTS, save=tmp_path)
    assert len(built) == 4
    assert listed.table["depth"].tolist() == [1]


KILLED = """
import sys
import costmodel
from costmodel.candidates import folder
from tests.candidates.networks import slow
folder.SECONDS = 0.2
if __name__ == "__main__":
    s = costmodel.sweep(
        slow, {"depth": range(1, 41), "width": [8, 16]}, inputs=(1, 3, 8, 8), save=sys.argv[1], engine=int(sys.argv[2])
    )
"""


@pytest.mark.parametrize("engine", [1, 2])
def test_a_sweep_that_was_killed_goes_on(tmp_path: Path, engine: int) -> None:
    """SIGKILL half-way, twice; afterwards each candidate has one row, and all are those of a sweep in one go."""
    script, folder = tmp_path / "killed.py", tmp_path / "swept"
    script.write_text(KILLED)
    counts = []
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, str(script), str(folder), str(engine)],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        )  # fmt: skip
        try:
            before, end = len(list(folder.glob("*.parquet"))), time.monotonic() + 60
            while len(list(folder.glob("*.parquet"))) < before + 2 and process.poll() is None:
                assert time.monotonic() < end
                time.sleep(0.02)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        counts.append(len(saved(folder)))
    assert 0 < counts[0] < counts[1] < 80
    from tests.candidates.networks import slow

    grid = {"depth": range(1, 41), "width": [8, 16]}
    swept = costmodel.sweep(slow, grid, inputs=INPUTS, save=folder)
    rows = saved(folder)
    assert len(rows) == 80
    assert not rows.duplicated(["depth", "width"]).any()
    pd.testing.assert_frame_equal(swept.table, costmodel.sweep(small, grid, inputs=INPUTS).table)
    assert not [path for path in folder.iterdir() if path.suffix != ".parquet"]


def test_an_interrupt_saves_what_is_done(tmp_path: Path) -> None:
    """Ctrl-C in a long sweep: rows that were computed are in the folder."""

    def make(depth: int) -> Any:
        if depth == 4:
            raise KeyboardInterrupt
        return small(depth)

    with pytest.raises(KeyboardInterrupt):
        costmodel.sweep(make, {"depth": [1, 2, 4, 5]}, inputs=INPUTS, save=tmp_path)
    assert saved(tmp_path)["depth"].tolist() == [1, 2]


def test_many_rows_are_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are written once there are many, so that memory holds few of them at a time."""
    monkeypatch.setattr(folders, "ROWS", 40_000)
    swept = costmodel.sweep("vgg11", {"resolution": range(32, 132), "num_classes": range(1, 1001)}, save=tmp_path)
    files = [parquet.read_metadata(part).num_rows for part in sorted(tmp_path.glob("*.parquet"))]
    assert len(files) >= 2
    assert sum(files) == len(swept.table) == 100_000
    assert max(files) < 2 * 40_000


def test_memory_is_bounded_by_blocks(tmp_path: Path) -> None:
    """A million candidates go to a folder through less memory than their table takes: 9 columns of 8 bytes, 72 MB."""
    grid = {"resolution": range(32, 1032), "num_classes": range(1, 1001)}
    tracemalloc.start()
    try:
        swept = costmodel.sweep("vgg11", grid, save=tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak + pyarrow.default_memory_pool().max_memory() < 60e6
    assert sum(parquet.read_metadata(part).num_rows for part in tmp_path.iterdir()) == 10**6
    assert "table" not in vars(swept)


def make_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> dict[str, Any]:
    """Arguments of a sweep that is another than that of GRID, or a folder that is none of its rows."""
    changed: dict[str, Any] = {"what": small, "grid": GRID, "inputs": INPUTS}
    if how == "inputs":
        changed["inputs"] = (1, 3, 16, 16)
    elif how == "model":
        changed["what"] = lambda depth, width: small(depth, width)
    elif how == "grid":
        changed["grid"] = {"depth": [1]}
    elif how == "type":
        changed["grid"] = {"depth": [1], "width": [8.5]}
    elif how == "version":
        monkeypatch.setattr("costmodel.candidates.traced.__version__", "0.0.1")
    elif how == "foreign":
        pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    elif how == "broken":
        (tmp_path / "b.parquet").write_bytes(b"PAR1 nothing")
    return changed


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            "inputs",
            r"the rows of another sweep: inputs '\(1, 3, 8, 8\)' there, '\(1, 3, 16, 16\)' here\. Save into",
        ),
        ("model", "another sweep: model '"),
        ("grid", r"its grid has depth \(int64\), width \(int64\), and this one depth \(int64\)"),
        ("type", r"and this one depth \(int64\), width \(double\)"),
        ("version", r"costmodel '0\.1\.0' there, '0\.0\.1' here"),
        ("foreign", r"a\.parquet is no part of a sweep: save into a folder of its own"),
        ("broken", r"b\.parquet is no whole Parquet file"),
    ],
)
def test_the_folder_of_another_sweep_is_refused(
    how: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what differs; nothing is written."""
    costmodel.sweep(small, GRID, inputs=INPUTS, save=tmp_path)
    changed = make_other(tmp_path, monkeypatch, how)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConvertError, match=message):
        costmodel.sweep(changed["what"], changed["grid"], inputs=changed["inputs"], save=tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """Where a report lies, no folder is made."""
    (tmp_path / "x.parquet").write_text("")
    with pytest.raises(ConvertError, match="is a file: a sweep is saved in a folder"):
        costmodel.sweep(small, GRID, inputs=INPUTS, save=tmp_path / "x.parquet")


def test_a_figure_of_more_than_64_bits_fails_in_a_file_alone(tmp_path: Path) -> None:
    """In memory it is exact; a file has no such column, and says so instead of something else."""
    grid = {"batch": [1, 2**62]}
    macs = costmodel.sweep("vgg11", grid).table["macs"].tolist()
    assert macs[1] == 2**62 * macs[0]
    swept = costmodel.sweep("vgg11", grid, save=tmp_path)
    assert swept.table["batch"].tolist() == [1]
    assert f"macs = {macs[1]} does not fit the 64 bits of a file" in swept.failures["error"][0]


@pytest.mark.parametrize(
    ("package", "arguments"),
    [("pyarrow", {"save": "x"}), ("joblib", {"engine": 2})],
)
def test_what_is_not_installed_is_named(
    package: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the extra that has it; a plain sweep needs none of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CostModelError, match=rf"needs {package}, .* pip install {package} \(the extra 'sweep' of"):
        costmodel.sweep(small, GRID, inputs=INPUTS, **arguments)
    assert len(costmodel.sweep(small, GRID, inputs=INPUTS).table) == 4
