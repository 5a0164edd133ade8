"""What a claim is, and what computing it finds. Frozen records; no number lives here."""

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
    """One of the study notes."""

    number: str
    about: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came out when a claim was computed."""

    verdict: Verdict
    value: Any = None
    """The figure that the claim turns on, as computed: a number, a word or a list of them; None where there is none."""
    why: str
    """One or two sentences: what is right, how far off the note is, over which range."""
    closed_form: Figures = field(default_factory=dict)
    """The numbers from ``costmodel.formulas`` and the papers' tables."""
    traced: Figures = field(default_factory=dict)
    """The same from a module that was traced, or run. A name that both have has the same value in both."""
    source: str = ""
    """The paper, with the place in it, where the verdict or ``why`` leans on one."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of a note, and its computation."""

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
    """A claim and what was found."""

    claim: Claim
    finding: Finding


def claim(note: Note, number: int, says: str, *, formula: str) -> Callable[[Callable[[], Finding]], Claim]:
    """Makes a claim of the function that computes it.

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
    """The verdict of a claim that holds or does not."""
    return "holds" if condition else otherwise


def judge(value: float, said: float, *, within: float = 0.0) -> Verdict:
    """The verdict on a number: equal, within a relative distance, or neither.

    >>> judge(27000, 27000), judge(32.7, 32, within=0.05), judge(2.46, 3, within=0.05)
    ('holds', 'approximate', 'fails')
    """
    if value == said:
        return "holds"
    return "approximate" if abs(value / said - 1) <= within else "fails"
