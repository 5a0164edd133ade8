"""What `costmodel explain` shows of each formula, which is kept in a file so that sympy need not be imported."""

from __future__ import annotations

from costmodel.formulas import CATALOG, transformer
from costmodel.views.worked import STORED, derived, everything_derived, explained


def test_what_is_kept_is_what_is_derived() -> None:
    """Every formula's symbols and worked numbers are derived anew, and are those of the file."""
    same = STORED.read_text("utf-8") == everything_derived()
    assert same, "a formula changed, or its example: python -m costmodel.views.worked writes the file"


def test_every_explanation_is_the_derived_one() -> None:
    """What is shown without numbers is what sympy derives, for each formula of the catalog."""
    for name in CATALOG:
        found = explained(name)
        assert (found.symbols, found.where, found.narrowed, found.worked) == derived(name)


def test_a_block_is_shown_as_it_is_with_its_numbers() -> None:
    """Where equal channels, a stride of 1 or an expansion of 1 make it another formula, that one stands beside it."""
    found = explained("bottleneck")
    assert found.where == "c_out=c_in, stride=1"
    assert dict(found.narrowed)["macs"] == "2·H·W·batch·c_in·width + 9·H·W·batch·width²/groups"  # He et al., figure 5
    projecting = explained("bottleneck", {"c_in": 64, "width": 64, "c_out": 256, "size": (56, 56)})
    assert (projecting.where, projecting.narrowed) == ("", ())
    assert explained("mbconv").where == "expansion=1"
    assert explained("lstm").where == "proj_size=0"


def test_numbers_of_ones_own_are_derived() -> None:
    """With arguments the file is not asked."""
    (line, *_) = explained("linear", {"in_features": 2, "out_features": 3}).worked
    assert line == "linear(in_features=2, out_features=3)"


def test_an_expression_too_long_to_read_is_not_shown() -> None:
    """In place of hundreds of characters it is said how many they are and what gives them; the number stays."""
    found = explained("transformer")
    said = "an expression of 1,697 characters, which formulas.transformer gives for sympy symbols"
    assert ("flops", said) in found.symbols
    assert f"flops = {transformer(src_length=10, tgt_length=10).flops:,}" in found.worked
    texts = [text for name in CATALOG for _, text in explained(name).symbols]
    assert max(map(len, texts)) <= 300
