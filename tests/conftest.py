"""What all tests share: how Hypothesis draws, which skips are failures, and a torchvision that imports."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

# readline, which pytest imports, sets COLUMNS for the processes that it starts; what is piped keeps to it.
os.environ.pop("COLUMNS", None)

# A sum of a deep network may take longer than Hypothesis's 200 ms on a busy machine: time is for the benchmarks.
hypothesis.settings.register_profile("default", deadline=None)
# The same draws on every run, so that a red run of CI is about the change that it ran on.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")

TORCHVISION_OPS: list[torch.library.Library] = []
"""Kept alive here: a library's ops go when it is collected."""


def declare_torchvision_ops() -> None:
    """Let a torchvision built for CUDA be imported beside a torch built for the CPU.

    PyPI has torchvision only with CUDA kernels. They do not load into a CPU build of torch, and then the import fails
    where torchvision describes ops that nobody defined. No network that the tests build runs any of those ops, so
    they are declared by name alone, as the list of torchvision's own descriptions.
    """
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None or torch.version.cuda or torch.version.hip:
        return
    package = Path(found.origin).parent
    if not re.search(r"^__version__ = '[\d.]+\+cu", (package / "version.py").read_text(), re.MULTILINE):
        return
    described = re.findall(r'(?:register_meta\("|torchvision::)(\w+)', (package / "_meta_registrations.py").read_text())
    library = torch.library.Library("torchvision", "DEF")
    for name in sorted(set(described)):
        library.define(f"{name}(Tensor x) -> Tensor")
    TORCHVISION_OPS.append(library)


declare_torchvision_ops()


@pytest.fixture(scope="module")
def garbage_collected() -> Iterator[None]:
    """What a module's tests leave in reference cycles, such as networks with hooks, is freed at its end.

    In a process with the objects of all tests, Python would do so too late: workers have grown to 7 GB.
    """
    yield
    gc.collect()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch runs in this thread alone: on small tensors others would only wait for each other, and for busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where COSTMODEL_REQUIRE_BROWSER is set, a browser test that skips has failed."""
    report = yield
    if report.skipped and item.get_closest_marker("browser") and os.environ.get("COSTMODEL_REQUIRE_BROWSER"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and COSTMODEL_REQUIRE_BROWSER is set: {call.excinfo and call.excinfo.value}"
    return report
