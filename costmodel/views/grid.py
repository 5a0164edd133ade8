"""Tables of a terminal: columns that fit a width, numbers whose units line up, bars."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from typing import TYPE_CHECKING, Literal

from costmodel.views import units

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

BAR = 8
"""Characters of a full bar."""

WIDE = 10_000
"""The width used without a terminal: nothing is truncated."""

_GAP = 3
"""Characters between columns."""


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

    @cached_property
    def width(self) -> int:
        """Characters that it needs, with the gap before it. Measured once, not for each cell that is padded."""
        return max(len(line) for text in (self.title, *self.cells) for line in (text.split("\n") or [""])) + _GAP

    def padded(self, text: str) -> str:
        """A cell, right-aligned to the column's width if the column is."""
        # Not left to rich, which strips the spaces behind a number before it aligns it.
        return "\n".join(line.rjust(self.width - _GAP) for line in text.split("\n")) if self.right else text


def numbers(title: str, cells: Sequence[str], priority: int = 0) -> Column:
    """A column of numbers, with their units below each other."""
    return Column(title, align(cells), priority)


def table(
    title: str,
    labels: Sequence[Text],
    columns: Sequence[Column],
    width: int,
    *,
    keep_all: bool = False,
    least: int = 16,
) -> tuple[Table, list[str]]:
    """A table whose first column labels the rows, with as many others as fit; and the titles of those that do not.

    Args:
        title: of the first column.
        labels: its cells; they are cut where they need more than a third of the width (or ``least`` characters).
        columns: the others, in order.
        width: of the console.
        keep_all: every column stays, and labels are cut no shorter than ``least``.
        least: characters that labels are given in any case.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    longest = max(len(title), *(label.cell_len for label in labels)) if labels else len(title)
    given = min(longest, max(least, width // 3))
    room = width - given - sum(20 + _GAP for column in columns if column.wrap)
    kept = {id(column) for column in columns if keep_all or column.wrap}
    for column in sorted(columns, key=lambda column: -column.priority):
        if id(column) in kept:
            room -= 0 if column.wrap else column.width
        elif column.width <= room:
            kept.add(id(column))
            room -= column.width
    shown = [column for column in columns if id(column) in kept]

    made = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), header_style="bold", show_edge=False, pad_edge=False)
    wraps = any(column.wrap for column in shown)
    spare = 0 if wraps else max(room, 0)
    vertical: Literal["top", "bottom"] = "top" if wraps else "bottom"
    made.add_column(
        title, no_wrap=True, overflow="ellipsis", vertical=vertical, max_width=min(longest, given + spare),
        min_width=min(longest, least),
    )  # fmt: skip
    for column in shown:
        made.add_column(
            column.padded(column.title), no_wrap=not column.wrap, vertical=vertical,
            overflow="fold" if column.wrap else "ellipsis", min_width=None if column.wrap else column.width - _GAP,
        )  # fmt: skip
    for i, label in enumerate(labels):
        cells = [c.cells[i] if c.wrap else units.printable(c.cells[i]) for c in shown]
        name = label if label.plain.isprintable() else Text(units.printable(label.plain), style=label.style)
        made.add_row(name, *(Text(c.padded(cell), style=_style(c, cell)) for c, cell in zip(shown, cells, strict=True)))
    return made, [column.title.replace("\n", " ") for column in columns if id(column) not in kept]


def _style(column: Column, text: str) -> str:
    return "dim" if text.strip() == "0" else column.style


def left_out(titles: Sequence[str]) -> list[str]:
    """The remark about columns that the width has no room for."""
    return [f"columns left out at this width: {', '.join(titles)}"] if titles else []


def plain(parts: Sequence[RenderableType], width: int) -> str:
    """What a console without colours would show."""
    from rich.console import Console

    file = StringIO()
    console = Console(file=file, width=width, color_system=None, highlight=False, markup=False, emoji=False)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().split("\n"))


def dim(lines: Sequence[str]) -> RenderableType:
    """Remarks below a table."""
    from rich.text import Text

    return Text("\n".join(lines), style="dim")


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
