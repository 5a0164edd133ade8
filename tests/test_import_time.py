"""`import costmodel` loads none of its files: a name is loaded when it is first used.

Milliseconds are measured by tests/benchmarks/import_time.py.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

import costmodel

LATER = {"pandas", "matplotlib", "fvcore", "sympy", "rich", "typer", "jinja2", "plotly", "costmodel.models"}
"""What a first profile does not load either."""


def printed_by(statement: str, cwd: Path) -> str:
    """What a fresh interpreter prints."""
    return subprocess.check_output([sys.executable, "-c", statement], cwd=cwd, text=True).strip()


def loaded_by(statement: str, cwd: Path) -> set[str]:
    """Every module that a fresh interpreter has loaded once it has run a statement."""
    return set(printed_by(f"{statement}; import sys; print(*sys.modules)", cwd).split())


def test_import_loads_nothing(tmp_path: Path) -> None:
    """Neither torch nor any file of the library but those that say where names are."""
    loaded = loaded_by("import costmodel", tmp_path)
    assert {name for name in loaded if name.startswith("costmodel")} == {
        "costmodel", "costmodel.late", "costmodel.version",
    }  # fmt: skip
    assert loaded & {*LATER, "torch", "numpy"} == set()


@pytest.fixture(scope="module")
def by_torch(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What torch loads by itself."""
    return loaded_by("import torch", tmp_path_factory.mktemp("away"))


def test_profile_loads_nothing_heavy_beyond_torch(by_torch: set[str], tmp_path: Path) -> None:
    """Tables, figures, templates, the terminal, the third opinion and the models come when first used."""
    loaded = loaded_by("import costmodel; costmodel.profile", tmp_path)
    assert "costmodel.profiling" in loaded
    assert (loaded - by_torch) & LATER == set()


FIRST = (
    "import costmodel; from torch import nn; "
    "p = costmodel.profile(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), (1, 3, 9, 9)); p.macs"
)
NOT_FOR_A_TOTAL = {
    f"costmodel.{name}"
    for name in (
        "comparison", "cross_check", "default_inputs", "devices", "formulas.activations", "formulas.convolution",
        "formulas.cost", "formulas.gradient", "fusion", "guidelines", "layers.torch_nn_linear",
        "layers.torch_nn_losses", "layers.torch_nn_quantized", "layers.torch_nn_transformers", "loading", "measures",
        "memory", "ops.attention", "ops.creation", "ops.functions", "ops.gradients", "ops.matmul", "ops.movement",
        "ops.quantised_tensors", "ops.sparse", "receptive_field", "roofline", "saved", "tables", "trace.cast",
        "trace.pruning_recorder", "trace.real_executor", "trace.unseen", "training", "views",
    )
}  # fmt: skip
"""Parts that a total of convolution, norm and activation does not need."""
NOT_FOR_A_TABLE = {
    f"costmodel.{name}"
    for name in (
        "comparison", "devices", "files", "formulas._wiring", "guidelines", "loading", "ops.creation", "ops.movement",
        "receptive_field", "roofline", "saved", "training", "views.html", "views.parsing",
    )
}  # fmt: skip
"""Parts that a table does not need either."""
OF_PYTHON = {"decimal", "fractions", "secrets"}
"""Modules of the standard library that neither needs, and that torch does not load: 4 ms."""


def test_a_first_total_loads_what_it_needs(by_torch: set[str], tmp_path: Path) -> None:
    """Rules are loaded when their ops are met, closed forms when layers are compared, analyses when asked for."""
    loaded = loaded_by(FIRST, tmp_path) - by_torch
    assert {"costmodel.ops.convolution", "costmodel.layers.torch_nn"} <= loaded
    assert loaded & (LATER | NOT_FOR_A_TOTAL | OF_PYTHON) == set()


def test_a_first_table_loads_what_it_needs(by_torch: set[str], tmp_path: Path) -> None:
    """It is text: no library of tables or terminals writes it."""
    loaded = loaded_by(f"{FIRST}; text = str(p)", tmp_path) - by_torch
    assert "costmodel.views.text" in loaded
    assert loaded & (LATER | NOT_FOR_A_TABLE | OF_PYTHON) == set()


@pytest.mark.parametrize("name", ["matmul", "attention"])
def test_what_a_total_needs_is_seen(name: str, by_torch: set[str], tmp_path: Path) -> None:
    """The lists name modules that exist, and one that is loaded is seen."""
    assert {f"costmodel.ops.{name}"} <= (loaded_by(f"{FIRST}; import costmodel.ops.{name}", tmp_path) - by_torch)
    assert all(find_spec(module) for module in NOT_FOR_A_TOTAL | NOT_FOR_A_TABLE)


@pytest.mark.parametrize("name", ["rich", "costmodel.models"])
def test_the_check_can_fail(name: str, by_torch: set[str], tmp_path: Path) -> None:
    """A library that is loaded is seen."""
    assert name in loaded_by(f"import costmodel, {name}", tmp_path) - by_torch


@pytest.mark.parametrize("collector", ["enable", "disable"])
def test_the_collector_is_left_as_it_was(collector: str, tmp_path: Path) -> None:
    """No full collection runs while a name is loaded; afterwards the collector is on, or off, as it was."""
    statement = (
        f"import torch, gc; gc.{collector}(); before = gc.get_stats()[2]['collections'], gc.isenabled(); "
        "import costmodel; costmodel.profile; "
        "print(before == (gc.get_stats()[2]['collections'], gc.isenabled()))"
    )
    assert printed_by(statement, tmp_path) == "True"


# -- names -------------------------------------------------------------------------------------------------------


def seen_by_type_checkers(source: str) -> dict[str, str]:
    """The module of each name that is imported under ``if TYPE_CHECKING``."""
    (block,) = [n for n in ast.parse(source).body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return {
        alias.name: str(node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_type_checkers_see_what_is_loaded() -> None:
    """The three lists of public names say the same: what is loaded, what type checkers read, and ``__all__``."""
    seen = seen_by_type_checkers(Path(costmodel.__file__).read_text("utf-8"))
    modules = {name for name in costmodel.__all__ if isinstance(getattr(costmodel, name), ModuleType)}
    assert modules == {"formulas", "models"}
    loaded = {name: f"costmodel.{module}" for name, module in costmodel._MODULE_OF.items()}
    assert seen == loaded | dict.fromkeys(modules, "costmodel")
    assert sorted(seen) == sorted(costmodel.__all__)


def test_type_checkers_see_the_formulas() -> None:
    """The lists of formulas say the same: what is loaded, what type checkers read, ``__all__`` and ``GROUPS``."""
    formulas = costmodel.formulas
    loaded = {name: f"costmodel.formulas.{file}" for name, file in formulas._FILE_OF.items()}
    seen = seen_by_type_checkers(Path(str(formulas.__file__)).read_text("utf-8"))
    assert seen == loaded | {"compare": "costmodel.side_by_side"}
    assert sorted(formulas.__all__) == sorted({*seen, "CATALOG", "GROUPS"})
    assert set(formulas.CATALOG) <= set(loaded)
    assert all(getattr(formulas, name) is function for name, function in formulas.CATALOG.items())


@pytest.mark.parametrize("name", sorted(costmodel.__all__))
def test_a_name_is_its_modules(name: str) -> None:
    """A public name is what its module defines, the same object each time; a name of a module is the module."""
    found = getattr(costmodel, name)
    assert found is getattr(costmodel, name)
    assert found is sys.modules.get(f"costmodel.{name}", found)
    if not isinstance(found, ModuleType):
        assert found is getattr(sys.modules[f"costmodel.{costmodel._MODULE_OF[name]}"], name)


def test_modules_are_attributes(tmp_path: Path) -> None:
    """A module of the package needs no import of its own; anything else is an ``AttributeError``."""
    statement = (
        "import costmodel; print(costmodel.measures.__name__, costmodel.memory.__name__, "
        "*(hasattr(costmodel, name) for name in ('porfile', '_x', '__main__', 'measures.x')))"
    )
    assert printed_by(statement, tmp_path) == "costmodel.measures costmodel.memory False False False False"


def test_a_module_that_fails_says_why(tmp_path: Path) -> None:
    """What a module of the package lacks is not taken for the module's own absence."""
    statement = (
        "import sys, costmodel; sys.modules['torch'] = None\n"
        "try: costmodel.third_opinion\n"
        "except ImportError as error: print(error.name)"
    )
    assert printed_by(statement, tmp_path) == "torch"


@pytest.mark.parametrize(
    "statement",
    [
        "import costmodel; compare = costmodel.formulas.compare",
        "import costmodel.formulas; compare = costmodel.formulas.compare",
        "from costmodel.formulas import compare",
        "from costmodel.formulas import *",
        "from costmodel import formulas; compare = formulas.compare",
        "from importlib import import_module; compare = import_module('costmodel.formulas').compare",
        "import pickle; compare = pickle.loads(b'ccostmodel.formulas\\ncompare\\n.')",
    ],
)
def test_formulas_are_compared_however_they_were_imported(statement: str, tmp_path: Path) -> None:
    """``formulas.compare`` is there after every kind of import, and is not the ``compare`` of models."""
    said = printed_by(
        f"{statement}; print(compare('linear', in_features=4, out_features=2).sides[0].cost.macs)", tmp_path
    )
    assert said == "8"


def test_formulas_have_no_name_but_theirs() -> None:
    """Another name is an ``AttributeError``, and ``dir`` lists ``compare`` too."""
    with pytest.raises(AttributeError, match=r"module 'costmodel\.formulas' has no attribute 'convolve'"):
        getattr(costmodel.formulas, "convolve")  # noqa: B009
    assert set(costmodel.formulas.__all__) <= set(dir(costmodel.formulas))
