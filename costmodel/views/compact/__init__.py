"""What a notebook shows of a result: its totals first, then a few rows of each table, the rest named or folded.

A view says what there is in a ``Card``; one template makes HTML of it. Whatever a view puts in, the HTML stays small:
rows, lines and texts are cut here, and each says what was left out. Styles are those of the elements themselves, so
none reaches the rest of the notebook; there is no script; texts take the notebook's own colour, dark or light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from costmodel.views import units

if TYPE_CHECKING:
    from costmodel.cross_check import CrossCheck

ROWS = 8
"""Rows of a table."""
LINES = 6
"""Remarks in a row."""
WORD, SENTENCE = 64, 240
"""Characters of a cell, and of a remark."""

GOOD, BAD, BOUND = "✓", "✗", "!"
"""Marks of a verdict."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    head: str
    cells: Sequence[str]
    exact: Sequence[str] = ()
    """What each cell is exactly, which a pointer over it shows."""
    below: Sequence[str] = ()
    """A second line of each cell, such as a ratio."""
    is_text: bool = False
    is_prose: bool = False
    """Whether cells are sentences, which wrap."""
    is_code: bool = False
    """Whether cells are expressions, a line each."""
    shares: Sequence[float] = ()
    """Parts of a whole, from 0 to 1, each drawn as a bar."""


@dataclass(frozen=True)
class Table:
    """Some of the rows that there are."""

    columns: Sequence[Column]
    of: int
    """Rows that there are."""
    noun: str = "row"
    where: str = ""
    """The attribute that has all of them."""
    title: str = ""
    is_folded: bool = False
    """Whether the title alone is shown until it is clicked."""
    remarks: Sequence[str] = ()
    most: int = ROWS
    """Rows to show."""

    @property
    def rows(self) -> int:
        """Rows that are shown."""
        return min(len(self.columns[0].cells), self.most)

    @property
    def left_out(self) -> str:
        """What is not shown."""
        more = self.of - self.rows
        if more <= 0:
            return ""
        return f"{units.plural(more, f'more {self.noun}')}{f', in {self.where}' if self.where else ''}"


@dataclass(frozen=True)
class Card:
    """What a notebook shows."""

    title: str
    about: str = ""
    totals: Sequence[tuple[str, str, str]] = ()
    """Name, rounded figure, and the exact one or a remark."""
    verdicts: Sequence[tuple[str, str]] = ()
    """Each a mark and a sentence."""
    tables: Sequence[Table] = ()
    remarks: Sequence[str] = ()
    folded: Sequence[tuple[str, Sequence[str]]] = ()
    """Remarks that are shown when their title is clicked."""

    def html(self) -> str:
        """The card as HTML."""
        from costmodel.views.html import from_template

        html = from_template("compact.html.j2", card=self, lines=LINES, word=WORD, sentence=SENTENCE)
        # In Markdown, an empty line ends HTML.
        return "\n".join(line for line in html.split("\n") if line)


def verdict(check: CrossCheck, layers: int | None = None) -> tuple[str, str]:
    """What a cross-check found, and of how many layers, where that is known."""
    if not check.ok:
        wrong = units.plural(len(check.mismatches), "figure")
        return BAD, f"{wrong} {'differs' if len(check.mismatches) == 1 else 'differ'} between trace and closed form"
    if check.unchecked_because:
        return BOUND, f"nothing derived twice, for {check.unchecked_because}"
    twice = units.plural(check.checked, "layer")
    if layers is not None:
        twice = f"{units.grouped(check.checked)} of {units.plural(layers, 'layer')}"
    return GOOD, f"derived twice and equal: {twice}"
