"""The line on standard error that says what takes long."""

from __future__ import annotations

import io
import sys
from time import sleep

import pytest

from costmodel.cli import console, main


def test_progress_stays_off_what_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Piped standard error stays clean, and every name comes through."""
    with console.doing("something"):
        assert list(console.progress(["a", "b"])) == ["a", "b"]
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    """A terminal, and what its last line showed."""

    def isatty(self) -> bool:
        """It is one."""
        return True

    @property
    def lines(self) -> list[str]:
        """The line's successive texts, empty where it was erased."""
        return self.getvalue().split(f"\r{console.ERASE_LINE}")[1:]


def test_a_terminal_is_told_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done, and which part of it, one after the other in one line, which is gone at the end, also on errors."""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(console, "PROGRESS_DELAY_S", 0.0)

    def work() -> None:
        with console.doing("profiling"):
            while not terminal.lines:
                sleep(0.001)
            assert list(console.progress(["x", "y"], "parts")) == ["x", "y"]
            raise KeyError

    with pytest.raises(KeyError):
        work()
    expected = ["profiling", "profiling, parts", "profiling, parts, 1 of 2: x", "profiling, parts"]
    assert [line for line in terminal.lines if line][:4] == expected
    assert "profiling, parts, 2 of 2: y" in terminal.lines
    assert terminal.lines[-1] == ""


def test_what_is_quick_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written before a second has passed, nor by a part of what took no longer."""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    for _ in range(3):
        with console.doing("profiling"):
            assert list(console.progress(["x", "y"])) == ["x", "y"]
    sleep(0.01)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["profile", "alexnet"], "profiling alexnet"),
        (["compare", "alexnet", "vgg11"], "1 of 2: alexnet"),
        (["train", "alexnet"], "tracing a training step of alexnet"),
        (["check", "alexnet", "--against", "fvcore"], "counting alexnet by fvcore"),
        (["notes", "001-2"], "computing claims, 001-2"),
        (["diff", "alexnet", "vgg11"], "profiling vgg11"),
        (["roofline", "alexnet", "--device", "h100"], "profiling alexnet"),
        (["scale", "alexnet", "-i", "B,3,224,224"], "tracing alexnet at several sizes"),
        (["sweep", "alexnet", "batch=1"], "sweeping alexnet"),
    ],
)
def test_commands_say_what_takes_long(arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command that builds or traces models has a line for it on standard error."""
    found: list[str] = []
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(console._LINE, "_draw", lambda: found.append(", ".join(filter(None, console._LINE._parts))))
    with pytest.raises(SystemExit):
        main(arguments)
    assert said in found
