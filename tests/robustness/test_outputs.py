"""Standard output that is closed, full or interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "costmodel"]


@pytest.mark.parametrize("arguments", [["profile", "vgg11"], ["profile", "resnet18", "--json"], ["models"]], ids=str)
def test_a_closed_pipe_ends_the_command_quietly(arguments: list[str]) -> None:
    """As after `| head -1`: no traceback, no message, and the status that the shell has for it."""
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("arguments", [["profile", "vgg11"], ["models", "--json"], ["--help"]], ids=str)
def test_a_full_disk_behind_standard_output_is_one_clear_error(arguments: list[str]) -> None:
    """One line that names the reason, and the status of an error of the caller's."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_standard_output_is_one_clear_error() -> None:
    """As after `>&-`: one line, and the status of an error; without standard error, the status alone."""
    closed = ["bash", "-c", '"$@" >&-', "bash", *COMMAND, "models"]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: standard output is closed")
    closed[2] += " 2>&-"
    assert subprocess.run(closed, check=False).returncode == 2


def test_an_error_that_nobody_can_read_keeps_its_status() -> None:
    """With standard error full, the status alone says that the model has no name."""
    with Path("/dev/full").open("wb") as full:
        assert subprocess.run([*COMMAND, "profile", "nonsense"], stderr=full, check=False).returncode == 2


def test_an_interrupt_ends_the_command_without_a_traceback(tmp_path: Path) -> None:
    """Ctrl-C while a model is built: no word, and the status that the shell has for it."""
    slow = tmp_path / "slow.py"
    slow.write_text("import time\n\ndef net():\n    print('building', flush=True)\n    time.sleep(60)\n")
    command = [*COMMAND, "profile", f"{slow}:net", "--input", "1,3"]
    # A shell has its background jobs, and all that they start, ignore the signal.
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeds
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "building\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == ""
        assert process.wait() == 130
