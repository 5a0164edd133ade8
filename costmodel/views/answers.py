"""What was asked of a result for a device or a size of memory: on a terminal, as Markdown, for pages and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costmodel.views import compact, grid, units
from costmodel.views.markdown import escape
from costmodel.views.styled import Part, Text


@dataclass(frozen=True, kw_only=True)
class Section:
    """The answers for one device, or one size of memory."""

    where: str
    """``on NVIDIA L4``, or ``in 24GB of memory``."""
    fits: bool | None = None
    """Whether the result fits; ``None`` where the memory has no one size."""
    room: Sequence[str] = ()
    """What is said of the memory: first whether it suffices."""
    times: Sequence[str] = ()
    """What is said of the time."""
    sources: Sequence[str] = ()
    """What the times are made of."""

    @property
    def title(self) -> str:
        """The heading."""
        return units.sentence_case(self.where)

    @property
    def marked(self) -> list[str]:
        """What is said of memory and time, a mark before whether it fits."""
        mark = {True: "✓ ", False: "✗ ", None: ""}[self.fits]
        return [*(f"{mark if i == 0 else ''}{line}" for i, line in enumerate(self.room)), *self.times]


def fit(peak: str, size: int, *, fits: bool) -> str:
    """Whether a peak, as it is printed, fits into a number of bytes."""
    return f"{'fits' if fits else 'does not fit'}: {peak} of {units.si(size, 'B')}"


def parts(sections: Sequence[Section]) -> list[Part | str]:
    """The sections for a console, an empty line before each."""
    shown: list[Part | str] = []
    for section in sections:
        shown += ["", Text(section.where, style="bold")]
        if section.room:
            mark = ("✓ ", "green") if section.fits else ("✗ ", "red")
            shown.append(Text.assemble(mark, section.room[0]))
        shown += [*(f"  {line}" for line in section.room[1:]), *section.times]
        if section.sources:
            shown.append(grid.dim(list(section.sources)))
    return shown


def verdicts(sections: Sequence[Section]) -> list[tuple[str, str]]:
    """Of each section whether it fits, for a notebook."""
    return [
        (compact.GOOD if section.fits else compact.BAD, f"{section.title}: {section.room[0]}")
        for section in sections
        if section.room
    ]


def folded(sections: Sequence[Section]) -> list[tuple[str, list[str]]]:
    """The rest of each section, for a notebook."""
    return [(s.title, [*map(units.sentence_case, (*s.room[1:], *s.times)), *s.sources]) for s in sections]


def markdown(sections: Sequence[Section]) -> list[str]:
    """The sections as Markdown: a heading, then a list."""
    return [
        f"## {escape(section.title)}\n\n"
        + "\n".join(f"- {escape(line)}" for line in (*map(units.sentence_case, section.marked), *section.sources))
        for section in sections
    ]
