"""What the command line writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from shutil import get_terminal_size
from threading import Lock, Timer
from time import monotonic
from typing import TYPE_CHECKING, TextIO

from costmodel.errors import ConvertError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from costmodel.views.styled import Part

PROGRESS_DELAY_S = 1.0
"""Seconds after which a line says what is being done."""

BAR_WIDTH = 20
"""Characters of a bar."""

BAR_INTERVAL_S = 0.1
"""Seconds between two drawings of a bar."""

ERASE_LINE = "\x1b[2K"

ASCII_FALLBACK = {
    "✓": "ok", "✗": "not ok", "✅": "ok", "❌": "not ok", "×": "x", "·": "*", "→": "->", "≥": ">=", "≤": "<=", "–": "-",
    "²": "^2", "√": "sqrt", "±": "+-", "≈": "~", "µ": "u", "μ": "u",
    "…": "~", "─": "-", "│": "|", "├": "|", "└": "`", "█": "#",
} | dict.fromkeys("▉▊▋▌▍▎▏", "-")  # fmt: skip
"""What is written for a character that the output's encoding lacks; one character for each of a table's, so that
columns stay aligned."""


def install_ascii_fallback() -> None:
    """Makes standard output and standard error take any text, whatever their encoding."""
    codecs.register_error("costmodel.ascii", _fall_back)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="costmodel.ascii")


def _fall_back(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(ASCII_FALLBACK.get(character, "?") for character in lacking), error.end


def width() -> int:
    """Characters per line: the terminal's; without one COLUMNS, and where that is not set, all that tables need."""
    from costmodel.views.grid import WIDE

    return _console().width if sys.stdout.isatty() else _asked_for() or WIDE


def _asked_for() -> int:
    """What the environment says of the width, or 0."""
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() else 0


def width_of_sentences() -> int:
    """As ``width``, of a table whose texts wrap, and lose nothing: without a terminal those of COLUMNS, or 80."""
    return width() if sys.stdout.isatty() else _asked_for() or 80


def show(parts: Iterable[Part | str], columns: int | None = None) -> None:
    """Prints tables and texts: coloured on a terminal; elsewhere plain, at this width or at that of ``width``."""
    from costmodel.views.styled import plain

    if not sys.stdout.isatty():
        write(plain(parts, columns or width()))
        return
    console = _console()
    for part in parts:
        console.print(part, crop=False)


CLOSED_PIPE = 141
"""The exit status if the reader of the output is gone: as the shell has it of a command that SIGPIPE ends."""


def write(text: str) -> None:
    """Prints a text as it is."""
    _write(sys.stdout, text)


def print_status(message: str) -> None:
    """Prints a message that is not part of the result."""
    _write(sys.stderr, message)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text if text.endswith("\n") else f"{text}\n")
        stream.flush()
    except BrokenPipeError:  # `costmodel ... | head -1` has what it wanted
        discard(stream)
        sys.exit(CLOSED_PIPE)
    except OSError as error:
        discard(stream)
        raise ConvertError(f"the output cannot be written: {error.strerror}. Free the disk, or use --save") from error


def discard(stream: TextIO) -> None:
    """Lets go of an output that cannot be written: Python would complain as it ends of what is not written yet."""
    with suppress(OSError, ValueError):  # no file, as in a test
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def print_error(message: str) -> None:
    """Prints an error, in one line."""
    from rich.console import Console
    from rich.text import Text

    line = " ".join(message.split())
    if sys.stderr.isatty():
        Console(stderr=True, highlight=False).print(Text.assemble(("error: ", "bold red"), line))
    else:
        print_status(f"error: {line}")


class _Line:
    """The last line of a terminal, which says what is being done once that has taken a second."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._is_shown = False
        self._timer = Timer(0, self._appear)
        self._lock = Lock()

    def add(self, part: str) -> None:
        """One more thing is being done, as a part of those before."""
        with self._lock:
            self._parts.append(part)
            if len(self._parts) == 1:
                self._timer = Timer(PROGRESS_DELAY_S, self._appear)
                self._timer.daemon = True
                self._timer.start()
            self._draw()

    def replace(self, part: str) -> None:
        """The last of them has come further."""
        with self._lock:
            self._parts[-1] = part
            self._draw()

    def remove(self) -> None:
        """The last of them is done."""
        with self._lock:
            self._parts.pop()
            self._draw()
            if not self._parts:
                self._timer.cancel()
                self._is_shown = False

    def _appear(self) -> None:
        with self._lock:
            self._is_shown = bool(self._parts)
            self._draw()

    def _draw(self) -> None:
        if self._is_shown:
            text = ", ".join(filter(None, self._parts))[: get_terminal_size().columns - 1]
            with suppress(OSError, ValueError):  # the terminal is gone: what is computed is still wanted
                sys.stderr.write(f"\r{ERASE_LINE}{text}")
                sys.stderr.flush()


_LINE = _Line()


@contextmanager
def doing(what: str) -> Iterator[None]:
    """On a terminal, says what the block does where that takes more than a second; the line is gone afterwards."""
    if not sys.stderr.isatty():
        yield
        return
    _LINE.add(what)
    try:
        yield
    finally:
        _LINE.remove()


def progress(names: Sequence[str], what: str = "") -> Iterator[str]:
    """Iterates over the names, and says on a terminal which it is at, and of how many."""
    with doing(what):
        for i, name in enumerate(names, start=1):
            with doing(f"{i} of {len(names)}: {name}" if len(names) > 1 else name):
                yield name


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int, int], None]]:
    """On a terminal, a bar of what is done. The block calls it with how many are done, how many failed, and all."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    start, first, drawn = monotonic(), -1, 0.0

    def show(done: int, failed: int, total: int) -> None:
        nonlocal first, drawn
        now = monotonic()
        first = done if first < 0 else first  # of a sweep that goes on, some were done before
        if now - drawn >= BAR_INTERVAL_S or done == total:
            drawn = now
            left = (now - start) * (total - done) / (done - first) if done > first else None
            _LINE.replace(f"{what}: {bar(done, failed, total, left)}")

    with doing(what):
        yield show


def bar(done: int, failed: int, total: int, seconds_left: float | None) -> str:
    """How far work has come, in a line.

    >>> bar(512, 3, 1024, 75.0)
    '██████████────────── 512 of 1,024, 3 failed, 1:15 left'
    """
    full = BAR_WIDTH * done // max(1, total)
    parts = [f"{'█' * full}{'─' * (BAR_WIDTH - full)} {done:,} of {total:,}", f"{failed:,} failed" if failed else ""]
    if seconds_left is not None:
        minutes, seconds = divmod(round(seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        parts.append(f"{f'{hours}:{minutes:02}' if hours else minutes}:{seconds:02} left")
    return ", ".join(filter(None, parts))


def wrote_rows(table: pd.DataFrame, *, json: bool, csv: bool) -> bool:
    """Writes a table in the format that was asked for; returns whether one was."""
    if json:
        from json import dumps

        # pandas' own to_json keeps ten decimals, and a layer's seconds begin at the seventh.
        write(dumps(table.to_dict("records"), indent=1, ensure_ascii=False))
    elif csv:
        from costmodel.views.csv import rows

        write(rows(table))
    return json or csv


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)
