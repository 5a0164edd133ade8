"""The claims as a whole: none is missing, and an id that nobody made is refused."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from torch import nn

from costmodel import models
from costmodel.errors import InputError
from costmodel.notes import VERDICTS, all_claims, results

NUMBERS = {"000": range(1, 22), "001": range(1, 15), "002": range(1, 15), "003": range(1, 11), "004": range(58)}
"""How many claims each note makes; the survey's begin at 0."""


def test_every_claim_is_there_in_order() -> None:
    """117 claims, by note and number."""
    ids = [claim.id for claim in all_claims()]
    assert ids == [f"{note}-{number}" for note, numbers in NUMBERS.items() for number in numbers]
    assert len(ids) == 117


def test_every_claim_says_what_it_is_and_what_was_found() -> None:
    """A text, a formula, a verdict of the four, and a reason."""
    for result in results():
        assert result.claim.says
        assert result.claim.formula
        assert result.finding.verdict in VERDICTS
        assert result.finding.why, result.claim.id


def test_what_has_two_derivations_has_the_same_figure_twice() -> None:
    """A figure under one name in closed form and traced is the same, in every claim; most claims have one."""
    twice = 0
    for result in results():
        closed, traced = result.finding.closed_form, result.finding.traced
        shared = closed.keys() & traced.keys()
        assert {k: closed[k] for k in shared} == {k: traced[k] for k in shared}, result.claim.id
        twice += bool(shared)
    assert twice > 60


def test_no_finding_depends_on_which_networks_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network more in `costmodel.models`, unlike all others, changes no verdict, figure or reason."""
    before = results()
    family = ModuleType("costmodel.models.stranger")

    def stranger() -> nn.Module:
        network = nn.Sequential(nn.Conv3d(6, 6, (1, 1, 11), groups=3), nn.Conv3d(6, 60, 1))
        network.example_inputs = (1, 6, 20, 20, 20)
        return network

    printed = {"source": "none", "params_printed": "1 M", "macs_printed": "1 M", "why": "none"}
    sizes = ModuleType("costmodel.models.printed.stranger")
    family.stranger, sizes.PUBLISHED = stranger, (models.Published(name="stranger", **printed),)
    monkeypatch.setitem(sys.modules, family.__name__, family)
    monkeypatch.setitem(sys.modules, sizes.__name__, sizes)
    monkeypatch.setitem(models.FAMILIES, "stranger", ("stranger",))
    monkeypatch.setitem(models._FAMILY_OF, "stranger", "stranger")
    assert "stranger" in models.list_models()
    for result in before:
        assert result.claim.compute() == result.finding, result.claim.id


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("004-58", "note 004 has the claims 004-0 to 004-57"),
        ("002-99", "note 002 has the claims 002-1 to 002-14"),
        ("2-03", "did you mean 002-3?"),
        ("4", "did you mean 004?"),
        ("005-1", "notes are 000, 001, 002, 003, 004, claims run from 000-1 to 004-57"),
    ],
)
def test_an_unknown_claim_is_an_error_that_names_those_near_it(name: str, says: str) -> None:
    """The claims of the note that was named, and never of another; a number without its zeros is told with them."""
    with pytest.raises(InputError, match="no claim or note is called") as raised:
        results([name])
    assert str(raised.value).endswith(f"{name!r}; {says}")


def test_a_note_s_number_stands_for_its_claims() -> None:
    """In their order, each once, whatever else is named."""
    assert [result.claim.id for result in results(["003", "002-9", "003-2"])] == [
        *(f"003-{n}" for n in NUMBERS["003"]), "002-9",
    ]  # fmt: skip


def test_what_is_near_no_name_is_told_which_there_are() -> None:
    """The notes, and the first and the last claim."""
    with pytest.raises(InputError, match="notes are 000, 001, 002, 003, 004, claims run from 000-1 to 004-57"):
        results(["summary"])
