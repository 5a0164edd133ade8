"""Tables of a terminal: columns that fit a width, numbers whose units line up, bars."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from costmodel.records import dataclass
from costmodel.views import styled, units
from costmodel.views.styled import LONGEST_LINE, Span, Text, cell_len

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text as RichText

BAR = 8
"""Characters of a full bar."""

WIDE = 10_000
"""The width used without a terminal: nothing is truncated."""

_GAP = 3
"""Characters between columns."""

_LEAST_WRAPPED = 20
"""Characters that a column of text that wraps is counted with, where columns are chosen."""


@dataclass(frozen=True)
class Column:
    """One column with its cells."""

    title: str
    cells: Sequence[str]
    priority: int = 0
    """Where the width does not suffice for all, columns of the highest priority stay."""
    right: bool = True
    style: str = ""
    wrap: bool = False
    """A text that may wrap, in the width that is left; such a column always stays."""
    stays: bool = False
    """Whether it stays in any width."""
    called: str = ""
    """What it is called where the width has no room for it, if not by its title."""

    @cached_property
    def width(self) -> int:
        """Characters that it needs. Measured once, not for each cell that is padded."""
        return max(cell_len(line) for text in (self.title, *self.cells) for line in text.split("\n"))


def numbers(title: str, cells: Sequence[str], priority: int = 0, *, stays: bool = False, called: str = "") -> Column:
    """A column of numbers, with their units below each other."""
    return Column(title, align(cells), priority, stays=stays, called=called)


@dataclass(frozen=True)
class Table:
    """A table as it is printed."""

    title: str
    """Of the column of labels."""
    labels: Sequence[Text]
    columns: Sequence[Column]
    widths: Sequence[int]
    """Of the labels, and of each column. Labels that are longer are cut, texts that wrap do."""
    gap: int = _GAP
    has_head: bool = True
    below: Sequence[str] = ()
    """A text under each row, which wraps."""

    def lines(self, width: int) -> Iterator[list[Span]]:
        """The lines, as wide as the table was made: no figure is cut off where it has all columns."""
        columns, wraps = self.columns, any(column.wrap for column in self.columns)
        if self.has_head:
            yield from self._row(Text(self.title, "bold"), [(c.title.split("\n"), "bold") for c in columns])
            yield [("─" * (sum(self.widths) + self.gap * len(columns)), "")]
        for i, label in enumerate(self.labels):
            texts = [column.cells[i] for column in columns]
            styles = ["dim" if text.strip() == "0" else c.style for c, text in zip(columns, texts, strict=True)]
            cells = [
                (_wrapped(text, width) if c.wrap else [units.printable(text)], style)
                for c, text, style, width in zip(columns, texts, styles, self.widths[1:], strict=True)
            ]
            name = label if label.plain.isprintable() else Text(units.printable(label.plain), label.style)
            yield from self._row(name, cells, top=wraps)
            if self.below and self.below[i]:
                yield from Text(units.printable(self.below[i]), "dim", indent=2).lines(width)

    def _row(self, label: Text, cells: Sequence[tuple[list[str], str]], *, top: bool = False) -> Iterator[list[Span]]:
        height = max((len(texts) for texts, _ in cells), default=1)
        name = styled.shortened(label, self.widths[0])
        for i in range(height):
            line = name if i == (0 if top else height - 1) else [(" " * self.widths[0], "")]
            for column, (texts, style), width in zip(self.columns, cells, self.widths[1:], strict=True):
                at = i if top else i - height + len(texts)
                text = texts[at] if 0 <= at < len(texts) else ""
                line = [*line, (" " * self.gap + (styled.rjust if column.right else styled.ljust)(text, width), style)]
            yield line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RichText]:
        return styled.colored(self.lines(options.max_width))


def _wrapped(text: str, width: int) -> list[str]:
    return [line[i:j] for line in text.split("\n") for i, j in styled.breaks(line, width)]


def table(
    title: str,
    labels: Sequence[Text],
    columns: Sequence[Column],
    width: int,
    *,
    keep_all: bool = False,
    least: int = 16,
    below: Sequence[str] = (),
) -> tuple[Table, list[str]]:
    """A table whose first column labels the rows, with as many others as fit; and the titles of those that do not.

    Args:
        title: of the first column.
        labels: its cells; they are cut where they need more than a third of the width (or ``least`` characters).
        columns: the others, in order.
        width: of the console.
        keep_all: every column stays, and labels are cut no shorter than ``least``.
        least: characters that labels are given in any case.
        below: a text under each row, in the whole width.
    """
    longest = max(cell_len(title), *(label.cell_len for label in labels)) if labels else cell_len(title)
    given = min(longest, max(least, width // 3))
    wrapped = [column for column in columns if column.wrap]
    room = width - given - len(wrapped) * (_LEAST_WRAPPED + _GAP)
    kept = {id(column) for column in columns if keep_all or column.wrap or column.stays}
    room -= sum(column.width + _GAP for column in columns if id(column) in kept and not column.wrap)
    for column in sorted(columns, key=lambda column: -column.priority):
        if id(column) not in kept and column.width + _GAP <= room:
            kept.add(id(column))
            room -= column.width + _GAP
    shown = [column for column in columns if id(column) in kept]
    # Labels take what is left over, and give what is lacking.
    names = min(longest, given if wrapped and room > 0 else max(given + room, least))
    free = min(width, LONGEST_LINE) - names - sum(_GAP + (0 if column.wrap else column.width) for column in shown)
    free = max(free, _LEAST_WRAPPED * len(wrapped)) if width > LONGEST_LINE else free
    widths = dict(zip(map(id, wrapped), _shares([column.width for column in wrapped], free), strict=True))
    made = Table(
        title, labels, shown, [names, *(widths.get(id(column), column.width) for column in shown)], below=below
    )  # fmt: skip
    return made, [(c.called or c.title).replace("\n", " ") for c in columns if id(c) not in kept]


def listing(names: Sequence[str], columns: Sequence[Column], width: int) -> Table:
    """Names and what each has: a table without a head, whose last column wraps."""
    labels = [Text(name) for name in names]
    widths = [max((label.cell_len for label in labels), default=0), *(column.width for column in columns)]
    gap = _GAP - 1
    widths[-1] = max(min(widths[-1], min(width, LONGEST_LINE) - sum(widths[:-1]) - gap * len(columns)), 1)
    return Table("", labels, columns, widths, gap=gap, has_head=False)


def _shares(wanted: Sequence[int], available: int) -> list[int]:
    """What each is given of a width: all that it wants, or as much as the others that do not have all.

    >>> _shares([5, 40, 50], 65), _shares([5, 6], 65)
    ([5, 30, 30], [5, 6])
    """
    given = list(wanted)
    left = len(wanted)
    for i in sorted(range(len(wanted)), key=lambda i: wanted[i]):
        given[i] = max(min(wanted[i], available // left), 1)
        available -= given[i]
        left -= 1
    return given


def left_out(titles: Sequence[str]) -> list[str]:
    """The remark about columns that the width has no room for."""
    return [f"columns left out at this width: {', '.join(titles)}"] if titles else []


def dim(lines: Sequence[str]) -> Text:
    """Remarks below a table."""
    return Text("\n".join(lines), "dim")


def bar(part: float, whole: float, width: int = BAR) -> str:
    """A bar of block characters, exact to an eighth of one.

    >>> bar(1, 2, width=4), bar(3, 16, width=4), bar(0, 1, width=4)
    ('██  ', '▊   ', '    ')
    """
    eighths = round(8 * width * part / whole) if whole else 0
    full, rest = divmod(eighths, 8)
    return ("█" * full + " ▏▎▍▌▋▊▉"[rest].strip()).ljust(width)


def align(texts: Sequence[str]) -> list[str]:
    """Numbers with their prefixes below each other, so that flush right their last digits are, too.

    >>> align(["1.23 G", "64", "70.0 kB"]), align(["64 B", "1.2 kB"])
    (['1.23 G ', '64   ', '70.0 kB'], ['64  B', '1.2 kB'])
    """
    split = [re.fullmatch(r"(.*?\d)(?: ([kMGTPµnp]?)([^\d ]*))?", text) for text in texts]
    parts = [
        (text, "", "") if m is None else (m[1], m[2] or "", m[3] or "") for text, m in zip(texts, split, strict=True)
    ]
    prefix = max((len(p) for _, p, _ in parts), default=0)
    rest = max((len(r) for _, _, r in parts), default=0)
    if not prefix and not rest:
        return list(texts)
    return [f"{number} {p.rjust(prefix)}{r.ljust(rest)}" for number, p, r in parts]
