"""Every operator of torch's own database is right, or stands in ``op_database.txt`` with the reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests._listed import Key, Listed
from tests.ops._op_database import DTYPES, database, differences_of, is_of_another_processor, name_of

GROUPS = 32
"""Tests that the entries are dealt out to, so that workers share them evenly."""
LISTED = Listed(Path(__file__).with_name("op_database.txt"))


def test_the_list_is_sorted_and_says_why() -> None:
    """Each line has an entry, dtypes, a kind of difference, versions and a reason; none stands twice."""
    LISTED.check_form(DTYPES)


def test_the_list_names_no_entry_that_torch_lacks() -> None:
    """A line that holds for this version of torch names an entry of its database."""
    LISTED.check_names({name_of(entry) for entry in database()})


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("group", range(GROUPS))
def test_each_operator_is_right_or_listed(group: int) -> None:
    """Outputs and what is allocated on the way are torch's, MACs its counter's, and every op has a rule."""
    entries = database()[group::GROUPS]
    found: dict[Key, str] = {
        (name_of(entry), dtype, kind): text
        for entry in entries
        for dtype in DTYPES
        for kind, text in differences_of(entry, dtype).items()
    }
    LISTED.check(found, {name_of(entry) for entry in entries}, is_of_another_processor)
