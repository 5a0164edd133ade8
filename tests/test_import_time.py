"""`import costmodel` stays light. Milliseconds are measured by tests/benchmarks/import_time.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

LATER = {"pandas", "matplotlib", "fvcore", "sympy", "rich", "typer", "jinja2", "plotly", "costmodel.models"}
"""What is loaded when it is first used."""


def loaded_by(statement: str, cwd: Path) -> set[str]:
    """Every module that a fresh interpreter loads to run a statement."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement], cwd=cwd, capture_output=True, text=True, check=True
    )
    return {match.strip() for match in re.findall(r"^import time:[^|]*\|[^|]*\|(.*)$", done.stderr, re.MULTILINE)}


@pytest.fixture(scope="module")
def by_torch(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What torch loads by itself."""
    return loaded_by("import torch", tmp_path_factory.mktemp("away"))


def test_import_loads_nothing_heavy_beyond_torch(by_torch: set[str], tmp_path: Path) -> None:
    """Tables, figures, templates, the terminal, the third opinion and the models come when first used."""
    assert (loaded_by("import costmodel", tmp_path) - by_torch) & LATER == set()


@pytest.mark.parametrize("name", ["rich", "costmodel.models"])
def test_the_check_can_fail(name: str, by_torch: set[str], tmp_path: Path) -> None:
    """A library that is loaded is seen."""
    assert name in loaded_by(f"import costmodel, {name}", tmp_path) - by_torch


@pytest.mark.parametrize("collector", ["enable", "disable"])
def test_the_collector_is_left_as_it_was(collector: str, tmp_path: Path) -> None:
    """No full collection runs within the import; afterwards the collector is on, or off, as it was."""
    statement = (
        f"import torch, gc; gc.{collector}(); before = gc.get_stats()[2]['collections'], gc.isenabled(); "
        "import costmodel; print(before == (gc.get_stats()[2]['collections'], gc.isenabled()))"
    )
    said = subprocess.check_output([sys.executable, "-c", statement], cwd=tmp_path, text=True)
    assert said.strip() == "True"
