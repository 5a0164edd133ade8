"""The mutants that are known to change no result: ``equivalent.txt`` has them, with their reasons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).parent / "equivalent.txt"


@dataclass(frozen=True)
class Equivalent:
    """A function of a file, a line of it, what the mutant has instead, and why that makes no difference."""

    file: str
    function: str
    before: str
    after: str
    reason: str


def read() -> list[Equivalent]:
    """The list: blocks of file and function, the line with a minus, the changed line with a plus, and the reason."""
    found = []
    for block in LIST.read_text().split("\n\n"):
        lines = [line for line in block.strip().splitlines() if not line.startswith("#")]
        if lines:
            place, before, after, *reason = lines
            file, _, function = place.partition(" ")
            found.append(
                Equivalent(file, function, before.removeprefix("- "), after.removeprefix("+ "), " ".join(reason))
            )
    return found
