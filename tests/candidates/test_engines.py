"""Engines: several processes, and a Dask cluster of two workers, of which one is lost half-way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from distributed import Client, LocalCluster

import costmodel
from costmodel.candidates.engines import _check, connected
from costmodel.errors import CostModelError, InputError
from tests.candidates.networks import deadly, slow, small, small_macs

GRID = {"depth": [1, 2, 3, 4], "width": [4, 8, 12, 16, 20, 24], "size": [8, 16]}
INPUTS = (1, 3, "size", "size")


def same(a: costmodel.Sweep, b: costmodel.Sweep) -> None:
    """Both have the same rows, in the same order."""
    pd.testing.assert_frame_equal(a.table, b.table)
    pd.testing.assert_frame_equal(a.failures, b.failures)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers of one thread each."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_processes_and_a_cluster_give_the_same_rows(client: Any) -> None:
    """As this process does, of traced models and of closed forms, failures included."""
    alone = costmodel.sweep(small, GRID, inputs=INPUTS)
    same(costmodel.sweep(small, GRID, inputs=INPUTS, engine=2), alone)
    same(costmodel.sweep(small, GRID, inputs=INPUTS, engine=client), alone)
    widths = {"width": [0.5, 0.75, -1.0], "resolution": range(32, 232)}
    closed = costmodel.sweep("mobilenet_v2", widths)
    same(costmodel.sweep("mobilenet_v2", widths, engine=2), closed)
    same(costmodel.sweep("mobilenet_v2", widths, engine=client), closed)


def test_measures_and_closures_go_with_it(client: Any) -> None:
    """Other processes have the measures that were registered here, and functions that were defined here."""
    factor = 3
    double = costmodel.Measure(
        name="double", title="double", unit="MACs", means="of this test", additive=True,
        of_layer=lambda layer: factor * layer.work.macs,
    )  # fmt: skip
    costmodel.register_measure(double)
    try:
        for engine in (2, client):
            swept = costmodel.sweep(
                lambda width: small(1, factor * width), {"width": [1, 2]}, inputs=(1, 3, 4, 4), engine=engine
            )
            assert swept.table["double"].tolist() == [3 * small_macs(1, 3 * width, 4) for width in (1, 2)]
    finally:
        costmodel.unregister_measure("double")


def test_a_worker_that_is_killed_costs_no_row(client: Any, tmp_path: Path) -> None:
    """Its candidates go to others, Dask starts it again, and the folder has each row once."""
    grid = {"depth": [1, 2, 4], "width": range(4, 24), "folder": [str(tmp_path)]}
    swept = costmodel.sweep(slow, grid, inputs=(1, 3, 8, 8), engine=client, save=tmp_path / "swept")
    assert int((tmp_path / "killed").read_text()) != os.getpid()
    rows = pd.read_parquet(tmp_path / "swept")
    assert len(rows) == len(swept.table) == 60
    assert not rows.duplicated(["depth", "width"]).any()
    assert swept.table["macs"].tolist() == [small_macs(d, w, 8) for d in grid["depth"] for w in grid["width"]]


def test_a_candidate_that_ends_every_worker_is_a_failure(tmp_path: Path) -> None:
    """The cluster goes on; of a block of several the others are computed."""
    import dask

    def deadly(depth: int) -> Any:  # sent as it is: a new worker need not import torch to be lost again
        if depth == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return small(depth)

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
        Client(cluster) as client,
    ):
        swept = costmodel.sweep(
            deadly, {"depth": [1, 2, *range(4, 40)]}, inputs=(1, 3, 4, 4), engine=client, save=tmp_path
        )
    assert swept.failures["depth"].tolist() == [2]
    assert "the workers that had it were lost" in swept.failures["error"][0]
    assert len(swept.table) == 37


def test_a_process_that_is_killed_ends_the_sweep_with_what_to_do(tmp_path: Path) -> None:
    """joblib has no process left to go on with; what was saved stays."""
    with pytest.raises(CostModelError, match=r"was ended from outside, .* sweep again with the same folder"):
        costmodel.sweep(deadly, {"depth": [1, 4, 5, 2]}, inputs=(1, 3, 4, 4), engine=2, save=tmp_path)


@pytest.mark.parametrize("engine", [0, -1, True, 1.5, "4", object()])
def test_what_is_no_engine_is_refused(engine: Any) -> None:
    """With what is one."""
    with pytest.raises(
        InputError, match=r"an engine is None, a number of processes or a dask\.distributed\.Client, not"
    ):
        costmodel.sweep(small, GRID, inputs=INPUTS, engine=engine)


def test_an_address_at_which_no_scheduler_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in one line, after some seconds."""
    monkeypatch.setattr("costmodel.candidates.engines.SCHEDULER_TIMEOUT_S", 0.5)
    with pytest.raises(InputError, match="no Dask scheduler answers there"), connected("tcp://127.0.0.1:9"):
        pass


def test_a_cluster_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that says how to start one."""
    monkeypatch.setattr("costmodel.candidates.engines.WORKER_TIMEOUT_S", 0.5)
    with (
        LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as cluster,
        Client(cluster) as client,
        pytest.raises(InputError, match="has no workers: start some, dask worker "),
    ):
        costmodel.sweep(small, GRID, inputs=INPUTS, engine=client)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            ModuleNotFoundError("No module named 'costmodel'"),
            "the worker tcp://w:1 cannot use costmodel: ModuleNotFound",
        ),
        ("0.0.1", r"the worker tcp://w:1 has costmodel 0\.0\.1, and .* is here: install one of them"),
    ],
)
def test_workers_with_another_library(found: Any, message: str) -> None:
    """What workers say to the question for their version is looked at before anything is sent."""

    class Cluster:
        def wait_for_workers(self, count: int, timeout: float) -> None:
            """They are there."""

        def run(self, function: Any, on_error: str) -> dict[str, Any]:
            """One says what was given, the other is as it should be."""
            return {"tcp://w:0": function(), "tcp://w:1": found}

    with pytest.raises(InputError, match=message):
        _check(Cluster())
