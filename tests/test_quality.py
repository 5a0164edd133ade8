"""Lint, format, types and import contracts, as tests: one command runs everything."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutation import equivalent

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
TOOLS = Path(sys.executable).parent


def check(tool: str, *arguments: str | Path, cwd: Path = ROOT) -> None:
    """Fail with what a tool says, unless it exits with 0."""
    done = subprocess.run([TOOLS / tool, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{done.stdout}\n{done.stderr}".strip(), pytrace=False)


def test_lint() -> None:
    """Ruff finds nothing, but for the exclusions that pyproject.toml gives the reasons of."""
    check("ruff", "check", ".")


def test_format() -> None:
    """Every file is formatted as ruff formats it."""
    check("ruff", "format", "--check", "--diff", ".")


def test_types() -> None:
    """Mypy, strict, finds nothing in the library, costmodel.models included, nor in what makes the reports."""
    check("mypy", "-p", "costmodel", "-p", "reports")


def test_import_contracts() -> None:
    """The rooms import each other only as the contracts in pyproject.toml allow."""
    check("lint-imports", "--no-cache", "--no-logo")


def test_any_folders_are_collected_together() -> None:
    """Files of one name in two folders, as the conftest.py of these, do not clash, and nothing is collected twice."""
    command = [TOOLS / "pytest", "--collect-only", "-q", "-n", "0", "tests/models", "tests/notes", "costmodel"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    found = [line for line in done.stdout.splitlines() if "::" in line]
    assert len(found) == len(set(found)) > 800
    assert "costmodel/models/__init__.py::costmodel.models.closed_form" in found


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["ruff", "check", "--isolated", "."], "`os` imported but unused"),
        (["mypy", "--strict", "wrong.py"], "missing a type annotation"),
        (["lint-imports"], "Could not read any configuration"),
    ],
)
def test_a_tool_that_finds_something_fails(command: list[str], says: str, tmp_path: Path) -> None:
    """A tool's complaint is a failure, with the tool's own words."""
    (tmp_path / "wrong.py").write_text("import os\n\ndef f(x): ...\n")
    with pytest.raises(pytest.fail.Exception, match=says):
        check(*command, cwd=tmp_path)


def undocumented(source: str) -> Iterator[str]:
    """The tests of a file that do not say in one line what behaviour they hold."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            text = ast.get_docstring(node)
            if not text or not text.splitlines()[0].endswith("."):
                yield node.name


def test_every_test_says_what_it_holds() -> None:
    """Every test function has a docstring whose first line is a sentence."""
    assert list(undocumented("def test_a():\n    '''It adds.'''\ndef test_b(): pass")) == ["test_b"]
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    assert [(file.name, name) for file in files for name in undocumented(file.read_text())] == []


def test_a_mutant_that_changes_nothing_is_of_a_line_that_is_there() -> None:
    """The list of equivalent mutants has a reason for each, and no line that was rewritten since."""
    assert [one for one in equivalent.read() if not one.reason or one.before == one.after] == []
    lines = {
        one.file: {line.strip() for line in (ROOT / one.file).read_text().splitlines()} for one in equivalent.read()
    }
    assert [one for one in equivalent.read() if one.before not in lines[one.file]] == []


def test_a_required_browser_test_may_not_skip(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a browser its tests skip; with COSTMODEL_REQUIRE_BROWSER set, the skip is a failure."""
    pytester.makeini("[pytest]\nmarkers = browser")
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text())
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.browser
        def test_clicks():
            pytest.skip("no browser")

        def test_other():
            pytest.skip("no such thing")
        """
    )
    monkeypatch.delenv("COSTMODEL_REQUIRE_BROWSER", raising=False)
    pytester.runpytest_subprocess("-p", "no:xdist").assert_outcomes(skipped=2)
    monkeypatch.setenv("COSTMODEL_REQUIRE_BROWSER", "1")
    pytester.runpytest_subprocess("-p", "no:xdist").assert_outcomes(failed=1, skipped=1)
