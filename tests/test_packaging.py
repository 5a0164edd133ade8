"""What is installed is what lies in the repository, and models/ goes by the name of costmodel.models alone."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"costmodel": "costmodel", "models": "costmodel/models"}
"""A folder of the repository, and where it is installed."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def sources() -> dict[str, Path]:
    """Every file of the library by its installed path."""
    return {
        f"{target}/{file.relative_to(ROOT / folder).as_posix()}": file
        for folder, target in FOLDERS.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def run(*command: str, cwd: Path, **environment: str) -> str:
    """The standard output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that no build folder is left in the repository."""
    copy = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    run(sys.executable, "-c", "import setuptools.build_meta as b; b.build_wheel('dist')", cwd=copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


def test_every_package_is_listed() -> None:
    """A folder with an __init__.py under costmodel/ or models/ is in pyproject's list of packages, and nothing else."""
    packages = {str(Path(name).parent).replace("/", ".") for name in sources() if name.endswith("/__init__.py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages


def test_the_wheel_holds_every_file(wheel: Path) -> None:
    """Code, templates, tables of data and py.typed are all in the wheel, and nothing that is not in the repository."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == set(sources())


def test_an_installed_wheel_has_the_models(wheel: Path, tmp_path: Path) -> None:
    """From a wheel, away from the repository, costmodel.models is imported and no top-level models exists."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = "import costmodel.models, importlib.util as u; print(costmodel.models.__file__, u.find_spec('models'))"
    printed = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert printed.split() == [str(tmp_path / "site/costmodel/models/__init__.py"), "None"]


def test_this_installation_has_the_models(tmp_path: Path) -> None:
    """The installation that runs the tests, editable or not, has costmodel.models away from the repository too."""
    code = "import costmodel.models, importlib.util as u; print(costmodel.models.__name__, u.find_spec('models'))"
    assert run(sys.executable, "-c", code, cwd=tmp_path).split() == ["costmodel.models", "None"]


def imported(source: str) -> set[str]:
    """The modules that a file imports by absolute name."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
    return names


def test_nothing_imports_a_top_level_models() -> None:
    """Users have a models package of their own: the library's is costmodel.models in every file and every text."""
    assert imported("import models.vgg") == {"models.vgg"}
    files = [file for folder in ("costmodel", "models", "tests") for file in (ROOT / folder).rglob("*.py")]
    guilty = [
        str(file.relative_to(ROOT))
        for file in files
        if any(name.split(".")[0] == "models" for name in imported(file.read_text()))
    ]
    assert guilty == []


def test_every_dependency_has_its_reason() -> None:
    """CONTRIBUTING.md says in its tables why each dependency is there, and names none that is not."""
    project = PROJECT["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {re.split(r"[^\w-]", requirement)[0] for requirements in lists for requirement in requirements}
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text[text.index("\n## Dependencies") : text.index("\n## What each operation counts")]
    rows = re.findall(r"^\| ([\w, -]+) \| (.+) \|$", section, re.MULTILINE)
    assert {name for names, _ in rows for name in names.split(", ")} - {"at run time", "for tests"} == wanted


def test_the_command_line_is_installed(tmp_path: Path) -> None:
    """The console script costmodel starts, and tells of its commands."""
    printed = run(str(Path(sys.executable).parent / "costmodel"), "--help", cwd=tmp_path)
    assert "compare" in printed
