"""The records of a claim and of its finding, and the decorator that makes a claim of a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["holds", "approximate", "fails", "not computable"]

VERDICTS: tuple[Verdict, ...] = ("holds", "approximate", "fails", "not computable")
"""``holds``: every part that counting, or the cited paper, decides is as the note says. ``approximate``: true within a
range or up to a rounding, and ``why`` says which. ``fails``: not so, and ``why`` says what is. ``not computable``: an
accuracy or a time, of which ``why`` repeats what the paper states."""

Figures: TypeAlias = Mapping[str, Any]
"""Numbers, shapes and words by name."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A study note."""

    number: str
    about: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of computing a claim."""

    verdict: Verdict
    value: Any = None
    """The figure that decides the claim, as computed: a number, a word or a list of them; None if there is none."""
    why: str
    """One or two sentences: what is right, how far off the note is, over which range."""
    closed_form: Figures = field(default_factory=dict)
    """The numbers from ``costmodel.formulas`` and the papers' tables."""
    traced: Figures = field(default_factory=dict)
    """The numbers from a module that was traced, or run. A name that is in both has the same value in both."""
    source: str = ""
    """The paper, and the place in it, that the verdict or ``why`` rests on; empty if there is none."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of a note, and the function that computes it."""

    id: str
    note: Note
    says: str
    """The claim in English, right or wrong as it stands."""
    formula: str
    """What is computed, in symbols."""
    compute: Callable[[], Finding]

    @property
    def text(self) -> str:
        """The claim, and who makes it."""
        return f"Note {self.note.number} ({self.note.about}): {self.says}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """A claim with its finding."""

    claim: Claim
    finding: Finding


def claim(note: Note, number: int, says: str, *, formula: str) -> Callable[[Callable[[], Finding]], Claim]:
    """Turns the function that computes a claim into the ``Claim``.

    >>> @claim(Note(number="001", about="GhostNet"), 14, "8 // 2 is 4.", formula="⌊a / b⌋")
    ... def floor_division() -> Finding:
    ...     return Finding(verdict=holds_if(8 // 2 == 4), value=8 // 2, why="As Python has it.")
    >>> floor_division.id, floor_division.compute().verdict
    ('001-14', 'holds')
    """

    def decorate(compute: Callable[[], Finding]) -> Claim:
        return Claim(id=f"{note.number}-{number}", note=note, says=says, formula=formula, compute=compute)

    return decorate


def holds_if(condition: bool, *, otherwise: Verdict = "fails") -> Verdict:
    """``holds`` if the condition is true."""
    return "holds" if condition else otherwise


def judge(value: float, said: float, *, within: float = 0.0) -> Verdict:
    """The verdict on a number: equal to what the note says, within a relative tolerance, or neither.

    >>> judge(27000, 27000), judge(32.7, 32, within=0.05), judge(2.46, 3, within=0.05)
    ('holds', 'approximate', 'fails')
    """
    if value == said:
        return "holds"
    return "approximate" if abs(value / said - 1) <= within else "fails"
