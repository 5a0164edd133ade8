"""A step of every module of torch's own database is derived twice, or stands in ``module_database.txt``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests._listed import Key, Listed
from tests._module_database import database, name_of
from tests.training._module_database import differences_of

GROUPS = 16
"""Tests that the entries are dealt out to, so that workers share them evenly."""
LISTED = Listed(Path(__file__).with_name("module_database.txt"))


def test_the_list_is_sorted_and_says_why() -> None:
    """Each line has an entry, dtypes, a quantity, versions and a reason; none stands twice."""
    LISTED.check_form(("float32",))


def test_the_list_names_no_module_that_torch_lacks() -> None:
    """A line that holds for this version of torch names an entry of its database."""
    LISTED.check_names({name_of(entry) for entry in database()})


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("group", range(GROUPS))
def test_each_backward_pass_is_derived_twice_or_listed(group: int) -> None:
    """MACs, FLOPs, traffic and what is kept agree, of the forward and of the backward: in every sample and mode."""
    entries = database()[group::GROUPS]
    found: dict[Key, str] = {
        (name_of(entry), "float32", kind): text for entry in entries for kind, text in differences_of(entry).items()
    }
    LISTED.check(found, {name_of(entry) for entry in entries})
