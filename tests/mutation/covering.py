"""Which tests run which lines of the counting code, measured once and kept."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass

import coverage
import pytest

from tests.mutation.draw import COUNTING, ROOT, Mutant

KEPT = ROOT / "build" / "mutation"
"""The measurement: ``tests.json`` has the seconds of each test that passed, ``coverage`` the lines of each."""

TESTS = (
    *COUNTING, "tests/formulas", "tests/ops", "tests/receptive_field", "tests/models/test_closed_form.py",
    "tests/models/test_explanations.py", "tests/test_bounds.py", "tests/test_complex_networks.py",
    "tests/test_crosscheck.py", "tests/test_guidelines.py", "tests/test_guideline_report.py", "tests/test_layers.py",
    "tests/test_measures.py", "tests/test_memory.py", "tests/test_pruned.py", "tests/test_roofline.py",
    "tests/test_side_by_side.py",
)  # fmt: skip
"""The tests of the counting code, its doctests included: those that hold a count to something else than a report."""

SLOW = ("tests/ops/test_op_database.py",)
"""Not run: all of torch's operators, in a test for each letter, take minutes for each mutant."""


class Measuring:
    """A pytest plugin: each test is a context of its own, and its seconds are kept if it passes."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.coverage = measured
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        """The lines that run from here on are this test's."""
        self.coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that fails as things are cannot notice anything."""
        if report.when == "call" and report.passed:
            self.seconds[report.nodeid] = round(report.duration, 4)


def measure() -> None:
    """Run the tests under coverage, in this process: torch and costmodel must not have been imported before."""
    KEPT.mkdir(parents=True, exist_ok=True)
    measured = coverage.Coverage(
        data_file=str(KEPT / "coverage"), include=[f"{ROOT}/costmodel/*", f"{ROOT}/src/costmodel/*"], config_file=False
    )
    measured.set_option("run:relative_files", True)
    measured.erase()
    plugin = Measuring(measured)
    measured.start()
    pytest.main(
        [*TESTS, *(f"--ignore={file}" for file in SLOW), "-n", "0", "-q", "-p", "no:cacheprovider", "--durations=40"],
        plugins=[plugin],
    )
    measured.stop()
    measured.save()
    (KEPT / "tests.json").write_text(json.dumps(plugin.seconds, indent=0))


@dataclass(frozen=True)
class Covering:
    """The tests of each line."""

    seconds: Mapping[str, float]
    lines: Mapping[str, Mapping[int, frozenset[str]]]
    """File to line to tests."""
    breadth: Mapping[str, int]
    """How many lines a test runs."""
    changed: Sequence[str]
    """Files of tests that were written since the measurement: they are run in whole."""

    def of(self, mutant: Mutant, budget: float) -> list[str]:
        """The tests that run what a mutant changes, the most focused first, up to a time; all of a file in a row.

        Where a file was written since, all of it follows.
        """
        lines = self.lines.get(mutant.file, {})
        tests: set[str] = set()
        for span in _spans(mutant.original, mutant.line):
            tests = {test for line in span for test in lines.get(line, ()) if test in self.seconds}
            if tests:
                break
        chosen: dict[str, list[str]] = {}
        for test in sorted(tests, key=lambda test: (self.breadth[test], test)):
            budget -= self.seconds[test]
            if budget < 0:
                break
            chosen.setdefault(test.partition("::")[0], []).append(test)
        measured = [test for file, of_file in chosen.items() if file not in self.changed for test in of_file]
        return [*measured, *self.changed]


def read() -> Covering:
    """The measurement that is kept; without one, it is made in a process of its own."""
    if not (KEPT / "tests.json").exists():
        subprocess.run([sys.executable, "-m", "tests.mutation", "--measure"], cwd=ROOT, check=True)
    data = coverage.CoverageData(basename=str(KEPT / "coverage"))
    data.read()
    lines = {}
    for name in data.measured_files():
        contexts = {line: frozenset(tests) for line, tests in data.contexts_by_lineno(name).items()}
        lines[name.removeprefix("src/")] = contexts
    breadth = Counter(test for file in lines.values() for tests in file.values() for test in tests)
    when = (KEPT / "tests.json").stat().st_mtime
    written = [path for place in TESTS for path in (ROOT / place).glob("test_*.py") if path.stat().st_mtime > when]
    written += [ROOT / place for place in TESTS if place.endswith(".py") and (ROOT / place).stat().st_mtime > when]
    changed = [str(path.relative_to(ROOT)) for path in written if path.name.startswith("test_")]
    return Covering(json.loads((KEPT / "tests.json").read_text()), lines, breadth, changed)


def _spans(source: str, line: int) -> list[Collection[int]]:
    """The lines of the statement at a line, then of its function, then of the file.

    A default and a constant of a module are evaluated when the file is imported, which is no test's doing. Then those
    tests count that run the function, or anything of the file.
    """
    around = [
        node for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0)
    ]  # fmt: skip
    around.sort(key=lambda node: (node.lineno, -(node.end_lineno or 0)))
    statement = around[-1]
    inner = getattr(statement, "body", None)  # of a loop, a condition or a function: only its head
    end = inner[0].lineno - 1 if inner else statement.end_lineno or line
    functions = [node for node in reversed(around) if isinstance(node, ast.FunctionDef)]
    spans: list[Collection[int]] = []
    if functions and statement is not functions[0]:
        spans.append(range(statement.lineno, max(end, statement.lineno) + 1))
    spans += [range(node.body[0].lineno, (node.end_lineno or 0) + 1) for node in functions]
    return [*spans, range(1, source.count("\n") + 2)]
