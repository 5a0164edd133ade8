"""Every operator of torch's own database is right, or stands in ``op_database.txt`` with the reason why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.ops._op_database import DTYPES, database, differences_of, name_of

GROUPS = 32
"""Tests that the entries are dealt out to, so that workers share them evenly."""
LIST = Path(__file__).with_name("op_database.txt")
VERSION = ".".join(torch.__version__.split(".")[:2])

Key = tuple[str, str, str]
"""(entry, dtype, kind of difference)."""


@dataclass(frozen=True)
class Line:
    """One line of the list: entry | dtypes | kind of difference | versions of torch, or all | reason."""

    entry: str
    dtypes: str
    kind: str
    versions: str
    reason: str

    def excused(self) -> Iterator[Key]:
        """What it excuses under this version of torch."""
        if self.versions == "all" or VERSION in self.versions.split():
            yield from ((self.entry, dtype, self.kind) for dtype in self.dtypes.split())


@cache
def lines() -> tuple[Line, ...]:
    """The list."""
    text = (line for line in LIST.read_text().splitlines() if not line.startswith("#"))
    return tuple(Line(*(part.strip() for part in line.split("|"))) for line in text)


def test_the_list_is_sorted_and_says_why() -> None:
    """Each line has an entry, dtypes, a kind of difference, versions and a reason; none stands twice."""
    rows = [(line.entry, line.kind, line.versions, line.dtypes) for line in lines()]
    assert rows == sorted(set(rows))
    assert all(line.reason and set(line.dtypes.split()) <= set(DTYPES) for line in lines())


def test_the_list_names_no_entry_that_torch_lacks() -> None:
    """A line that holds for this version of torch names an entry of its database."""
    names = {name_of(entry) for entry in database()}
    assert {entry for line in lines() for entry, _, _ in line.excused()} <= names


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch runs in this thread alone: on small tensors others would only wait for each other, and for busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("group", range(GROUPS))
def test_each_operator_is_right_or_listed(group: int) -> None:
    """Shapes, dtypes, strides and shared memory of outputs are torch's, MACs its counter's, and every op has a rule."""
    entries = database()[group::GROUPS]
    names = {name_of(entry) for entry in entries}
    found: dict[Key, str] = {
        (name_of(entry), dtype, kind): text
        for entry in entries
        for dtype in DTYPES
        for kind, text in differences_of(entry, dtype).items()
    }
    listed = {key for line in lines() for key in line.excused() if key[0] in names}
    new = {key: text for key, text in found.items() if key not in listed}
    assert not new, "\n".join(f"{' | '.join(key)}: {text}" for key, text in new.items())
    assert listed <= set(found), f"no longer different, so take them off the list: {sorted(listed - set(found))}"
