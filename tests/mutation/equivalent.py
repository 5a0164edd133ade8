"""The mutants that are known to change no result: ``equivalent.txt`` has them, with their reasons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).parent / "equivalent.txt"


@dataclass(frozen=True)
class Equivalent:
    """A file, a line of it, what the mutant has instead, and why that makes no difference."""

    file: str
    before: str
    after: str
    reason: str


def read() -> list[Equivalent]:
    """The list: blocks of the file, the line with a minus, the changed line with a plus, and the reason."""
    found = []
    for block in LIST.read_text().split("\n\n"):
        lines = [line for line in block.strip().splitlines() if not line.startswith("#")]
        if lines:
            file, before, after, *reason = lines
            found.append(Equivalent(file, before.removeprefix("- "), after.removeprefix("+ "), " ".join(reason)))
    return found
