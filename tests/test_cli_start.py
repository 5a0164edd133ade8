"""Help, lists, explanations and completion load no more than they show.

Milliseconds are measured by tests/benchmarks/command_line.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.command_line import COMMANDS, environment

HEAVY = {
    "torch", "numpy", "pandas", "matplotlib", "plotly", "sympy", "jinja2", "fvcore", "costmodel.trace", "costmodel.ops",
    "costmodel.pricing", "costmodel.layers", "costmodel.profiling",
}  # fmt: skip


def loaded_by(command: str, folder: Path) -> tuple[str, set[str]]:
    """What a command prints in a fresh interpreter, and the modules that it has loaded at its end."""
    listed = folder / "modules.json"
    script = (
        "import atexit, json, pathlib, sys; from costmodel.cli import main; "
        f"atexit.register(lambda: pathlib.Path({str(listed)!r}).write_text(json.dumps(list(sys.modules)))); main()"
    )
    arguments, more = environment(command)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **more},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(json.loads(listed.read_text()))


@pytest.mark.parametrize(("command", "shown"), COMMANDS.items())
def test_it_loads_what_it_shows(command: str, shown: str, tmp_path: Path) -> None:
    """No torch, no table, no plot, no algebra and no trace for what needs none; and it does its work."""
    said, loaded = loaded_by(command, tmp_path)
    assert shown in said
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.endswith("--help")])
def test_plain_text_needs_no_terminal_library(command: str, tmp_path: Path) -> None:
    """Where the output is no terminal, nothing is coloured, and rich is not loaded."""
    assert "rich" not in loaded_by(command, tmp_path)[1]


def test_the_check_can_fail(tmp_path: Path) -> None:
    """Numbers of one's own are put into symbols, by sympy, and that is seen."""
    _, loaded = loaded_by("explain conv(c_in=3,c_out=8,kernel=3,size=9)", tmp_path)
    assert "sympy" in loaded
