"""Runs tests against mutants: each in a fork of a process that has imported torch, but nothing of costmodel."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from types import ModuleType

import hypothesis  # noqa: F401 - imported once here, and then there in every fork
import matplotlib.pyplot  # noqa: F401
import numpy as np  # noqa: F401
import pandas as pd  # noqa: F401
import pytest
import sympy  # noqa: F401
import torch

from tests.mutation import covering, equivalent
from tests.mutation.draw import ROOT, Mutant, draw

_MEMORY = 8 << 30
"""Bytes of address space that a mutant may take."""
_DONE, _BROKEN = "done:", "broken:"
SURVIVED, EQUAL, KILLED, TIMED_OUT = "survived", "equivalent", "killed", "timed out"

# Hypothesis was imported before pytest could rewrite its assertions, and need not be.
OPTIONS = ("-n", "0", "-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a mutant in place of the module that it is a mutant of."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if name != self.mutant.module:
            return None
        return importlib.util.spec_from_file_location(name, ROOT / self.mutant.file, loader=self)

    def create_module(self, _: importlib.machinery.ModuleSpec) -> None:
        """A module as usual."""

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.mutant.mutated, ROOT / self.mutant.file, "exec"), vars(module))

    def get_source(self, _: str) -> str:
        return self.mutant.mutated


class _FirstFailure:
    """A pytest plugin that keeps the first test that failed, or the file that could not be imported."""

    test = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.test:
            self.test = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.test:
            self.test = report.nodeid


def _first_failure(tests: Sequence[str], mutant: Mutant | None) -> str:
    """The first test that notices a mutant; empty if none does."""
    if mutant is not None:
        sys.meta_path.insert(0, _Instead(mutant))
        try:
            importlib.import_module(mutant.module)
        except Exception:
            return "import"
    plugin = _FirstFailure()
    for file, chunk in itertools.groupby(tests, key=lambda test: test.partition("::")[0]):
        status = pytest.main([*chunk, *OPTIONS], plugins=[plugin])
        if status == pytest.ExitCode.USAGE_ERROR:  # a mutant may change the names of tests
            status = pytest.main([file, *OPTIONS], plugins=[plugin])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            return plugin.test or f"pytest ends with {status!r}"
    return ""


def _forked(call: Callable[[], str], seconds: float) -> str | None:
    """The result of a call in a fork of this process; None if it takes longer."""
    there, here = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            answer = _DONE + call()
        except BaseException:
            answer = _BROKEN + traceback.format_exc(limit=-2)
        os.write(here, answer.encode()[:4000])
        os._exit(0)
    os.close(here)
    end = time.monotonic() + seconds
    try:
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return None
            time.sleep(0.02)
        os.set_blocking(there, False)
        answer = os.read(there, 4000).decode() or f"{_BROKEN}the process ended without an answer"
    finally:
        os.close(there)
    if answer.startswith(_BROKEN):
        raise RuntimeError(answer)
    return answer.removeprefix(_DONE)


def run(seed: int, count: int, where: Sequence[str], budget: float, only: Sequence[int] | None) -> None:
    """Draw, test and print: every mutant as it is done, then the sums."""
    os.environ["CI"] = "1"  # Hypothesis draws the same in every run
    torch.set_num_threads(1)
    measured, begin = covering.read(), time.monotonic()
    known = {(one.file, one.function, one.before, one.after) for one in equivalent.read()}
    outcomes: Counter[str] = Counter()
    killers = set()
    for number, mutant in enumerate(draw(seed, count, where)):
        if only and number not in only:
            continue
        start = time.monotonic()
        tests = measured.of(mutant, budget)
        limit = 60 + 3 * sum(measured.seconds.get(test, 0) for test in tests)
        first = _forked(lambda tests=tests, mutant=mutant: _first_failure(tests, mutant), limit)  # type: ignore[misc]
        outcome = TIMED_OUT if first is None else KILLED if first else SURVIVED
        if outcome == SURVIVED and (mutant.file, mutant.function, *mutant.changed) in known:
            outcome = EQUAL
        outcomes[outcome] += 1
        seconds = time.monotonic() - start
        print(
            f"{number:3} {outcome:10} {seconds:5.1f} s  {mutant.file}:{mutant.line}  {mutant.operator}  {first or ''}"
        )
        if outcome == KILLED and "::" in str(first):
            killers.add(str(first))
        if outcome == SURVIVED:
            print(f"    {len(tests)} tests run it\n{mutant.diff}", flush=True)
    sound = _forked(lambda: _first_failure(sorted(killers), None), 600)
    print(", ".join(f"{n} {outcome}" for outcome, n in outcomes.items()), f"in {time.monotonic() - begin:.0f} s")
    if sound != "":
        print(f"Not to be relied on: without any mutant, this fails too: {sound}")
