"""A list of where the library differs from a database of torch's, each line with the reason why that stands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

VERSION = ".".join(torch.__version__.split(".")[:2])

Key = tuple[str, str, str]
"""(entry, dtype, kind of difference)."""


@dataclass(frozen=True)
class Line:
    """One line of a list: entry | dtypes | kind of difference | versions of torch, or all | reason."""

    entry: str
    dtypes: str
    kind: str
    versions: str
    reason: str

    def excused(self) -> Iterator[Key]:
        """What it excuses under this version of torch."""
        if self.versions == "all" or VERSION in self.versions.split():
            yield from ((self.entry, dtype, self.kind) for dtype in self.dtypes.split())


@dataclass(frozen=True)
class Listed:
    """A list of lines in a file; lines that begin with # are comments."""

    path: Path

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The lines, in the order of the file."""
        text = (line for line in self.path.read_text().splitlines() if not line.startswith("#"))
        return tuple(Line(*(part.strip() for part in line.split("|"))) for line in text)

    def excused(self) -> dict[Key, str]:
        """What is excused under this version of torch, and why."""
        return {key: line.reason for line in self.lines for key in line.excused()}

    def check_form(self, dtypes: Collection[str]) -> None:
        """Each line has an entry, dtypes, a kind of difference, versions and a reason; none stands twice."""
        rows = [(line.entry, line.kind, line.versions, line.dtypes) for line in self.lines]
        assert rows == sorted(set(rows))
        assert all(line.reason and line.dtypes and set(line.dtypes.split()) <= set(dtypes) for line in self.lines)

    def check_names(self, names: Collection[str]) -> None:
        """A line that holds for this version of torch names an entry of its database."""
        assert {entry for entry, _, _ in self.excused()} <= set(names)

    def check(
        self, found: dict[Key, str], names: Collection[str], passed_over: Callable[[Key], bool] = lambda key: False
    ) -> None:
        """What differs in the entries of these names is what the list says of them, no less and no more."""
        listed = {key for key in self.excused() if key[0] in names and not passed_over(key)}
        found = {key: text for key, text in found.items() if not passed_over(key)}
        new = {key: text for key, text in found.items() if key not in listed}
        assert not new, "\n".join(f"{' | '.join(key)}: {text}" for key, text in new.items())
        assert listed <= set(found), f"no longer different, so take them off the list: {sorted(listed - set(found))}"
