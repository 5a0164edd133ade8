from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.errors import InputError
from costmodel.views import parsing, units

STEPS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}


@given(st.integers(min_value=0, max_value=10**17))
def test_a_rounded_count_is_within_half_of_its_last_digit(n: int) -> None:
    """What is printed, read back by its prefix, differs from the count by less than 0.6 % of it."""
    match = re.fullmatch(r"([\d.,]+) ?([kMGTP]?)", units.si(n))
    assert match is not None
    shown = Decimal(match[1].replace(",", "")) * STEPS[match[2]]
    assert abs(shown - n) <= Decimal("0.006") * n


@given(st.integers(min_value=0, max_value=999))
def test_a_small_count_is_exact(n: int) -> None:
    """Below 1000 nothing is rounded."""
    assert units.si(n) == str(n)


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("320M", 320_000_000),
        ("4.2M", 4_200_000),
        ("1e9", 10**9),
        ("1_000", 1000),
        ("25,557,032", 25557032),
        ("3K", 3000),
    ],
)
def test_a_written_count_is_read(written: str, count: int) -> None:
    """Budgets are written as people write counts."""
    assert parsing.parse(written) == count


@pytest.mark.parametrize(("written", "count"), [("16GiB", 16 * 2**30), ("1.5 MiB", 3 * 2**19), ("16 GB", 16 * 10**9)])
def test_a_written_size_is_of_powers_of_1000_or_of_1024(written: str, count: int) -> None:
    """As IEC 80000-13 has the prefixes."""
    assert parsing.parse(written, "B") == count


@pytest.mark.parametrize("written", ["16Gi", "16iB", "16 gib"])
def test_a_size_needs_its_unit(written: str) -> None:
    """Half a binary prefix is none."""
    with pytest.raises(InputError, match=re.escape(repr(written)) + ".*16GiB"):
        parsing.parse(written, "B")


@pytest.mark.parametrize("written", ["", "M", "320 MB", "-3", "3 apples", "1.2.3"])
def test_what_is_no_count_is_refused_with_the_remedy(written: str) -> None:
    """The error shows what was written and how counts are written."""
    with pytest.raises(InputError, match=re.escape(repr(written)) + ".*320M"):
        parsing.parse(written)


@pytest.mark.parametrize("written", ["4,1 G", "0,390 G", "12,34", "1234,567", "1,234,56", "1,,234", "4,1e9", "20,5MB"])
def test_a_decimal_comma_is_no_group(written: str) -> None:
    """4,1 G is 4.1 G and not 41 G where it was written: it is refused, and the error shows both ways to write."""
    with pytest.raises(InputError, match=re.escape(repr(written)) + " has a decimal comma.*4.1G or 1,234,567"):
        parsing.parse(written, "B" if written.endswith("B") else "")


def test_a_share_is_read_exactly() -> None:
    """Percentages become fractions, not floats; a bare number is refused."""
    assert parsing.parse_share("0.1%") == Fraction(1, 1000)
    with pytest.raises(InputError, match="percentage"):
        parsing.parse_share("3")


def test_what_is_not_nothing_never_reads_as_nothing() -> None:
    """A tiny share is shown as less than the least, never as 0 %; so is a tiny change."""
    assert units.share(1, 10**9) == "< 0.1%"
    assert units.change(10**9, 10**9 - 1) == "-< 0.1%"
    assert units.share(0, 10**9) == "0%"


def test_a_lower_bound_is_marked() -> None:
    """An inexact figure carries ≥."""
    assert units.figure("macs", 10**9, exact=False) == "≥ 1.00 GMACs"
