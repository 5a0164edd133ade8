"""What is installed is what lies in the repository, and models/ goes by the name of costmodel.models alone."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path
from sysconfig import get_path

import pytest

import costmodel

ROOT = Path(__file__).parent.parent
FOLDERS = {"costmodel": "costmodel", "models": "costmodel/models"}
"""A folder of the repository, and where it is installed."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOOLS = Path(sys.executable).parent


def sources() -> dict[str, Path]:
    """Every file of the library by its installed path."""
    return {
        f"{target}/{file.relative_to(ROOT / folder).as_posix()}": file
        for folder, target in FOLDERS.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def run(*command: str | Path, cwd: Path) -> str:
    """The standard output of a command that must succeed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository to build and install from, so that the repository itself stays as it is."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in (*FOLDERS, "src", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    """The wheel."""
    run(sys.executable, "-c", "from setuptools import build_meta; build_meta.build_wheel('dist')", cwd=checkout)
    (built,) = (checkout / "dist").glob("torch_costmodel-*.whl")
    return built


@pytest.fixture(scope="module")
def sdist(checkout: Path) -> Path:
    """The source distribution."""
    run(sys.executable, "-c", "from setuptools import build_meta; build_meta.build_sdist('dist')", cwd=checkout)
    (built,) = (checkout / "dist").glob("torch_costmodel-*.tar.gz")
    return built


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The site-packages of a fresh virtual environment in the test's folder."""
    run(sys.executable, "-m", "venv", "--without-pip", ".venv", cwd=tmp_path)
    (folder,) = (tmp_path / ".venv").glob("**/site-packages")
    return folder


@pytest.fixture(params=["wheel", "sdist", "editable"])
def installed(request: pytest.FixtureRequest, checkout: Path, site: Path, tmp_path: Path) -> Path:
    """The site-packages into which costmodel was installed, in each of the ways there are.

    Its dependencies, and setuptools, are those of the environment that runs the tests: nothing is downloaded.
    """
    site.joinpath("dependencies.pth").write_text("\n".join({get_path("purelib"), get_path("platlib")}))
    what = ["-e", checkout] if request.param == "editable" else [request.getfixturevalue(request.param)]
    pip = (sys.executable, "-m", "pip", "--python", tmp_path / ".venv", "install", "-q", "--ignore-installed")
    run(*pip, "--no-index", "--no-deps", "--no-build-isolation", *what, cwd=tmp_path)
    return site


def test_the_wheel_holds_every_file(wheel: Path) -> None:
    """Code, templates, tables of data and py.typed are all in the wheel, and nothing that is not in the repository."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == set(sources())


def test_the_sdist_holds_every_file_once(sdist: Path) -> None:
    """The library lies in src/ as it is installed: a file where the repository has a link, and none twice."""
    with tarfile.open(sdist) as archive:
        members = {m.name.partition("/")[2]: m for m in archive.getmembers() if not m.isdir()}
    assert all(member.isfile() for member in members.values())
    library = {name for name in members if "/" in name and ".egg-info/" not in name}
    assert library == {f"src/{name}" for name in sources()}


@pytest.mark.usefixtures("installed")
def test_it_runs_outside_the_repository(tmp_path: Path) -> None:
    """A profile, its page and the command work, and costmodel is the only top-level name that came with them."""
    (tmp_path / "script.py").write_text(
        "import costmodel, importlib.util as u\n"
        "p = costmodel.profile(costmodel.models.alexnet(), (1, 3, 224, 224))\n"
        "print(p.params, p.save('page.html'), *(u.find_spec(name) for name in ('models', 'tests', 'reports')))\n"
    )
    tools = next((tmp_path / ".venv").glob("*/costmodel*")).parent
    assert run(tools / "python", "script.py", cwd=tmp_path) == "61100840 page.html None None None\n"
    assert run(tools / "costmodel", "--version", cwd=tmp_path) == f"costmodel {costmodel.__version__}\n"
    assert "61,100,840" in run(tools / "costmodel", "profile", "alexnet", cwd=tmp_path)


def test_type_checkers_read_it(installed: Path, tmp_path: Path) -> None:
    """Mypy knows the types of costmodel and costmodel.models in a user's script, whichever way it is installed."""
    installed.joinpath("dependencies.pth").unlink()  # without them, for mypy would read all of torch
    (tmp_path / "script.py").write_text(
        "import costmodel\nimport costmodel.models\nfrom costmodel import formulas\n"
        "p = costmodel.profile(costmodel.models.resnet18(), (1, 3, 224, 224))\n"
        "reveal_type(costmodel.models.resnet18())\n"
        "cost = formulas.conv(c_in=3, c_out=8, kernel=3, size=(9, 9))\n"
        "reveal_type((p, p.macs, cost, cost.macs, formulas.basic_block(c_in=8, c_out=8, size=(9, 9)).params))\n"
        "reveal_type((costmodel.models.closed_form('resnet18').flops, cost.work.adds, costmodel.__version__))\n"
    )
    options = ("--strict", "--cache-dir", ".cache", "--python-executable", next((tmp_path / ".venv").glob("*/python")))
    said = run(TOOLS / "mypy", *options, "script.py", cwd=tmp_path)
    cost = "costmodel.formulas.cost.LayerCost"
    profile = "costmodel.profiling.result.Profile"
    expected = ("costmodel.models.resnet.ResNet", f"tuple[{profile}, int, {cost}, int, int]", "tuple[int, int, str]")
    for revealed in expected:
        assert f'Revealed type is "{revealed}"' in said


@pytest.mark.parametrize("installed", ["editable"], indirect=True)
def test_an_editable_install_is_a_folder_on_the_path(installed: Path, checkout: Path) -> None:
    """Tools that run no import hook, pyright among them, look into folders: there is one, with costmodel alone."""
    (line,) = [line for file in installed.glob("__editable__*.pth") for line in file.read_text().splitlines()]
    assert Path(line) == checkout / "src"
    assert [entry.name for entry in Path(line).iterdir() if entry.suffix != ".egg-info"] == ["costmodel"]
    assert (Path(line) / "costmodel/models/__init__.py").samefile(checkout / "models/__init__.py")


def test_the_version_is_said_once() -> None:
    """Metadata reads it from costmodel/version.py, and the citation names none."""
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "costmodel.version.__version__"}
    assert version("torch-costmodel") == costmodel.__version__
    assert "version:" not in (ROOT / "CITATION.cff").read_text().replace("cff-version:", "")


def test_dir_lists_the_public_names_alone() -> None:
    """What completion offers after `costmodel.`, and what a star imports."""
    names: dict[str, object] = {}
    exec("from costmodel import *", names)
    assert sorted(names.keys() - {"__builtins__"}) == dir(costmodel) == sorted(costmodel.__all__)
    assert all(not name.startswith("_") for name in dir(costmodel))


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
    wanted.remove(project["name"])  # an extra that takes others along
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text[text.index("\n## Dependencies") :]
    rows = re.findall(r"^\| ([\w, -]+) \| ([^|]+) \|$", section, re.MULTILINE)
    assert {name for names, _ in rows for name in names.split(", ")} - {"at run time", "for tests"} == wanted
