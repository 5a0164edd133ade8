"""Where the command line writes: results on standard output, everything else on standard error."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Iterator, Sequence
from io import TextIOWrapper
from threading import Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PATIENCE = 1.0
"""Seconds after which a progress bar appears."""

SPELLED = {
    "✓": "ok", "✗": "not ok", "✅": "ok", "❌": "not ok", "×": "x", "·": "*", "→": "->", "≥": ">=", "≤": "<=", "–": "-",
    "²": "^2", "√": "sqrt", "±": "+-", "≈": "~", "µ": "u", "μ": "u",
    "…": "~", "─": "-", "│": "|", "├": "|", "└": "`", "█": "#",
} | dict.fromkeys("▉▊▋▌▍▎▏", "-")  # fmt: skip
"""How a character is written where the output's encoding lacks it; those of tables in one, so that columns stay."""


def spell() -> None:
    """Lets standard output and standard error take any text, whatever their encoding: nothing fails for a ✓."""
    codecs.register_error("costmodel.spelled", _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="costmodel.spelled")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(SPELLED.get(character, "?") for character in error.object[error.start : error.end]), error.end


def width() -> int:
    """Characters that a table may take: the terminal's, and any number where there is none."""
    from costmodel.views.grid import WIDE

    return _console().width if sys.stdout.isatty() else WIDE


def show(parts: Iterable[RenderableType]) -> None:
    """Prints tables and texts: coloured on a terminal, plain and never cut elsewhere."""
    from costmodel.views.grid import WIDE, plain

    if not sys.stdout.isatty():
        write(plain(list(parts), WIDE))
        return
    console = _console()
    for part in parts:
        console.print(part)


def write(text: str) -> None:
    """Prints a text as it is."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def told(message: str) -> None:
    """Something for the person at the terminal, which is no result."""
    sys.stderr.write(f"{message}\n")


def failed(message: str) -> None:
    """An error, in one line."""
    from rich.console import Console
    from rich.text import Text

    line = " ".join(message.split())
    if sys.stderr.isatty():
        Console(stderr=True, highlight=False).print(Text.assemble(("error: ", "bold red"), line))
    else:
        told(f"error: {line}")


def progress(names: Sequence[str]) -> Iterator[str]:
    """Goes through the names; once that has taken a second, a bar on a terminal's standard error says how far it is."""
    if not sys.stderr.isatty() or len(names) < 2:
        yield from names
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    task = bar.add_task("", total=len(names))
    timer = Timer(PATIENCE, bar.start)
    timer.daemon = True
    timer.start()
    try:
        for name in names:
            bar.update(task, description=name)
            yield name
            bar.advance(task)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)
