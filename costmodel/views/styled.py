"""Texts for a terminal: words with their styles, which a console of rich shows in colours, and others without."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text as RichText

Span: TypeAlias = tuple[str, str]
"""Some words of one line, and their style, as rich names it: ``"bold red"``, or ``""`` for none."""

_NARROW = re.compile(r"[\x20-\u02ff\u2010-\u22ff\u2500-\u259f]*")
"""Texts of characters that all take one cell: of Latin letters, arrows, signs, lines and blocks. Known by one match, as
a table of 10,000 rows asks 100,000 times."""


_SIGNS = "·/("
"""A formula without spaces breaks before one of these."""

LONGEST_LINE = 120
"""Characters of a text's longest line, however wide the console is: no one reads lines of 200."""

_HANG = re.compile(r" *[✓✗!] | +")
"""What the rest of a line is set off from, in the lines that it goes on with: its indent, its mark."""


class Part(Protocol):
    """What a console is given: it knows its lines at a width."""

    def lines(self, width: int) -> Iterator[list[Span]]:
        """The lines, which are no wider if that is possible."""


def cell_len(text: str) -> int:
    r"""The columns of a terminal that a text takes: two for a wide character, none for a combining one.

    >>> cell_len("conv"), cell_len("卷积"), cell_len("e\u0301")
    (4, 4, 1)
    """
    if _NARROW.fullmatch(text):
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )  # fmt: skip


def ljust(text: str, width: int) -> str:
    """A text with spaces behind it, up to a width in cells."""
    return text + " " * (width - cell_len(text))


def rjust(text: str, width: int) -> str:
    """A text with spaces before it, up to a width in cells."""
    return " " * (width - cell_len(text)) + text


def head(text: str, width: int) -> str:
    """As much of the beginning of a text as fits a width.

    >>> head("convolution", 4), head("卷积", 3)
    ('conv', '卷')
    """
    if _NARROW.fullmatch(text):
        return text[:width]
    at = used = 0
    while at < len(text) and used + cell_len(text[at]) <= width:
        used += cell_len(text[at])
        at += 1
    return text[:at]


class Text:
    """Some words in one style, and more behind them in others. It may have several lines, and wraps between words."""

    def __init__(self, text: str = "", style: str = "", *, indent: int = 0) -> None:
        self.style = style
        self.indent = indent
        """Spaces before each line."""
        self.spans: list[Span] = [(text, style)]

    @classmethod
    def assemble(cls, *parts: str | Span, indent: int = 0) -> Text:
        """A text of several parts: words, or words with their style."""
        made = cls(indent=indent)
        made.spans = [(part, "") if isinstance(part, str) else part for part in parts]
        return made

    def append(self, text: str, style: str | None = None) -> None:
        """Adds words; in the text's own style, if none is given."""
        self.spans.append((text, self.style if style is None else style))

    @property
    def plain(self) -> str:
        """The words alone."""
        return "".join(text for text, _ in self.spans)

    @property
    def cell_len(self) -> int:
        """The columns of a terminal that it takes in one line."""
        return cell_len(self.plain)

    def lines(self, width: int) -> Iterator[list[Span]]:
        """The lines at a width. An indented line goes on two further in, one with a mark below its first word."""
        width = max(min(width, LONGEST_LINE) - self.indent, 1)
        start = 0
        for line in self.plain.split("\n"):
            hang = 0
            if (margin := _HANG.match(line)) and cell_len(line) > width:
                hang = len(margin[0]) + (2 if margin[0].isspace() else 0)
            for begin, end in breaks(line, width, hang):
                indent = " " * (self.indent + (hang if begin else 0))
                yield [*([(indent, "")] if indent else []), *_part(self.spans, start + begin, start + end)]
            start += len(line) + 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RichText]:
        return colored(self.lines(options.max_width))


def _part(spans: Iterable[Span], start: int, end: int) -> Iterator[Span]:
    at = 0
    for text, style in spans:
        if part := text[max(start - at, 0) : max(end - at, 0)]:
            yield part, style
        at += len(text)


def cut(spans: Iterable[Span], width: int) -> Iterator[Span]:
    """As much of a line as fits a width."""
    for text, style in spans:
        if width <= 0:
            return
        fitting = head(text, width)
        yield fitting, style
        width = 0 if len(fitting) < len(text) else width - cell_len(text)


def shortened(text: Text, width: int) -> list[Span]:
    """A text in one line of this width: with spaces behind it, or cut off with an ellipsis."""
    lacking = width - text.cell_len
    if lacking >= 0:
        return [*text.spans, (" " * lacking, "")]
    spans = list(cut(text.spans, width - 1))
    return [*spans, ("…" + " " * (width - 1 - sum(cell_len(part) for part, _ in spans)), spans[-1][1] if spans else "")]


def breaks(line: str, width: int, hang: int = 0) -> Iterator[tuple[int, int]]:
    """Where a line breaks: between words, and inside one that is longer than a whole line, before a sign if it has one.

    All pieces but the first are narrower by ``hang``.

    >>> ["to be or not"[i:j] for i, j in breaks("to be or not", 5)], list(breaks("a longword", 4))
    (['to be', 'or', 'not'], [(0, 1), (2, 6), (6, 10)])
    >>> ["H·(c_in·kernel² + 1)"[i:j] for i, j in breaks("H·(c_in·kernel² + 1)", 10)]
    ['H·(c_in', '·kernel² +', '1)']
    """
    if cell_len(line) <= width:
        yield 0, len(line)
        return
    # Where the line that is being filled begins, and where its last word ends.
    start = stop = 0
    rest_width = max(width - hang, 1)
    for word in re.finditer(r"\S+", line):
        if cell_len(line[start : word.end()]) > width:
            if stop > start:
                yield start, stop
                start, width = word.start(), rest_width
            while cell_len(rest := line[start : word.end()]) > width:
                fitting = len(head(rest, width)) or 1
                sign = max(rest.rfind(sign, 1, fitting + 1) for sign in _SIGNS)
                end = start + (sign if sign > 0 else fitting)
                yield start, end
                start, width = end, rest_width
        stop = word.end()
    yield start, stop


def plain(parts: Iterable[Part | str], width: int) -> str:
    """What a console without colours would show."""
    lines = [
        "".join(text for text, _ in line).rstrip()
        for part in parts
        for line in (Text(part) if isinstance(part, str) else part).lines(width)
    ]
    return "\n".join(lines).rstrip()


def colored(lines: Iterable[list[Span]]) -> Iterator[RichText]:
    """Lines for a console of rich."""
    from rich.text import Text as RichText

    for line in lines:
        yield RichText.assemble(*line, no_wrap=True, overflow="ignore")
