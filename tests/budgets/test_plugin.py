"""The pytest plugin: its fixture holds models to the budgets of the file, and costs nothing where no test asks."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent
TESTS = """
import pytest
from torch import nn
from costmodel import assert_costs

def test_file(costmodel_budget):
    costmodel_budget()
    costmodel_budget("kept")

def test_own_model(costmodel_budget):
    costmodel_budget("kept", nn.Linear(8, 2), (1, 8))

def test_too_large(costmodel_budget):
    costmodel_budget("kept", nn.Linear(8, 3), (1, 8))

def test_no_such_budget(costmodel_budget):
    costmodel_budget("other")

def test_nameless(costmodel_budget):
    costmodel_budget(model=nn.Linear(8, 3))

def test_the_wrong_way_round(costmodel_budget):
    costmodel_budget(nn.Linear(8, 2), "kept")

def test_assertion():
    assert_costs(nn.Linear(8, 3), (1, 8), macs="<= 20")
"""
FILE = """
[budget.kept]
model = "net.py:small"
input = [4, 8]
params = "<= 18"
"""


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Runs pytest with the plugin, once, whether it is installed or lies in the repository alone."""
    return pytester.runpytest_subprocess("-p", "no:costmodel", "-p", "costmodel.pytest_plugin", "-q", *arguments)


def test_the_fixture_holds_models_to_the_file(pytester: pytest.Pytester) -> None:
    """The file's own model and one that a test made; a failure has the figures, and no line of the library."""
    pytester.makepyfile(net="from torch import nn\nsmall = lambda: nn.Linear(8, 2)\n", test_costs=TESTS)
    (pytester.path / "costmodel.toml").write_text(FILE)
    (pytester.path / "pytest.ini").write_text("[pytest]\n")
    result = run(pytester)
    result.assert_outcomes(passed=2, failed=5)
    said = result.stdout.str()
    assert "AssertionError: Linear does not keep its budget:\nE       ✗ params: 27 params of at most 18 params" in said
    assert "has no budget 'other'; it has kept" in said
    assert "name the budget that the model is held to" in said
    assert "the name of a budget comes first, then the model: costmodel_budget('mobile', MyNet())" in said
    assert "✗ MACs: 24 MACs of at most 20 MACs, 20.0% over" in said
    assert '>       assert_costs(nn.Linear(8, 3), (1, 8), macs="<= 20")' in said
    assert '>       costmodel_budget("kept", nn.Linear(8, 3), (1, 8))' in said
    assert "costmodel/" not in said


def test_the_plugin_loads_nothing_until_it_is_asked(tmp_path: Path) -> None:
    """Beside pytest and the names of the package, neither torch nor a file of the library."""
    script = (
        "import sys, pytest; before = set(sys.modules); import costmodel.pytest_plugin; "
        "print(*set(sys.modules) - before)"
    )
    loaded = set(subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path, text=True).split())
    assert {name for name in loaded if name.startswith("costmodel")} == {
        "costmodel", "costmodel.late", "costmodel.version", "costmodel.pytest_plugin",
    }  # fmt: skip
    assert loaded & {"torch", "numpy"} == set()


def test_the_plugin_is_installed_with_the_package() -> None:
    """The project's entry point names the module that has the fixture."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert hasattr(import_module(points["costmodel"]), "costmodel_budget")
