"""What `costmodel explain` shows of each formula, which is kept in a file so that sympy need not be imported."""

from __future__ import annotations

from costmodel.formulas import CATALOG
from costmodel.views.worked import STORED, derived, everything_derived, explained


def test_what_is_kept_is_what_is_derived() -> None:
    """Every formula's symbols and worked numbers are derived anew, and are those of the file."""
    same = STORED.read_text("utf-8") == everything_derived()
    assert same, "a formula changed, or its example: python -m costmodel.views.worked writes the file"


def test_every_explanation_is_the_derived_one() -> None:
    """What is shown without numbers is what sympy derives, for each formula of the catalog."""
    for name in CATALOG:
        found = explained(name)
        assert (found.symbols, found.worked) == derived(name)


def test_numbers_of_ones_own_are_derived() -> None:
    """With arguments the file is not asked."""
    (line, *_) = explained("linear", {"in_features": 2, "out_features": 3}).worked
    assert line == "linear(in_features=2, out_features=3)"
