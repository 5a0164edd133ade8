"""What a printed figure says: which counts are printed so, and how."""

from __future__ import annotations

from typing import Any

import pytest

from costmodel import InputError
from costmodel.provenance.figure import read


@pytest.mark.parametrize(
    ("printed", "quantity", "value", "unit"),
    [
        ("4.1G", "macs", 4_100_000_000, 10**8),
        ("4.1 GFLOPs", "flops", 4_100_000_000, 10**8),
        ("4.09 GMACs", "flops", 4_090_000_000, 10**7),
        ("569M mult-adds", "macs", 569_000_000, 10**6),
        ("300 MMAdds", "macs", 300_000_000, 10**6),
        ("569 million multiply-adds", "flops", 569_000_000, 10**6),
        ("1502 M", "macs", 1_502_000_000, 10**6),
        ("0.39 B", "flops", 390_000_000, 10**7),
        ("4.1e9", "flops", 4_100_000_000, 10**8),
        ("25.6 M params", "params", 25_600_000, 10**5),
        ("7B", "params", 7_000_000_000, 10**9),
        ("25,557,032", "params", 25_557_032, 1),
        ("1,137.5 M", "macs", 1_137_500_000, 10**5),
        (25_557_032, "params", 25_557_032, 1),
        (4_100_000_000, "macs", 4_100_000_000, 10**8),
        (1_200, "params", 1_200, 1),
        ("11.1 Macts", "activations", 11_100_000, 10**5),
    ],
)
def test_a_figure_is_read_with_its_digits(printed: Any, quantity: str, value: int, unit: int) -> None:
    """The value, and what one more in its last digit is worth; zeros at the end of a long number are no digits."""
    figure = read(printed, quantity)
    assert (figure.value, figure.unit) == (value, unit)


@pytest.mark.parametrize(
    ("printed", "least", "most", "how"),
    [
        ("3.8G", 3_750_000_000, 3_850_000_000, "rounded"),  # both ends: a half goes up, or to even
        ("3.8G", 3_850_000_001, 3_899_999_999, "truncated"),
        ("3.8G", 3_900_000_000, 4_100_000_000, ""),
        ("3.8G", 3_700_000_000, 3_749_999_999, ""),
        ("120M", 119_500_000, 120_500_000, "rounded"),
        ("120M", 120_500_001, 120_999_999, "truncated"),
        ("120M", 121_000_000, 125_000_000, "rounded to 2 digits"),
        ("120M", 115_000_000, 119_499_999, "rounded to 2 digits"),
        ("120M", 114_999_999, 114_999_999, ""),
        ("60M", 61_000_000, 64_000_000, ""),  # one digit is none
        ("1.0G", 1_050_000_001, 1_099_999_999, "truncated"),
        ("1.0G", 1_100_000_000, 1_100_000_000, ""),  # a zero behind the point is a digit
        (11_689_512, 11_689_512, 11_689_512, "exact"),
        (11_689_512, 11_689_511, 11_689_511, ""),
    ],
)
def test_a_count_makes_a_figure(printed: Any, least: int, most: int, how: str) -> None:
    """Rounded, or truncated; or rounded to fewer digits, where it ends in zeros."""
    figure = read(printed, "params")
    assert [figure.match(least), figure.match(most)] == [how, how]


@pytest.mark.parametrize(
    ("printed", "count", "shown"),
    [
        ("4.1G", 4_089_184_256, "4.1 G"),
        ("4.1G", 4_050_000_000, "4.1 G"),
        ("569M", 1_137_480_704, "1,137 M"),
        ("4.1e9", 8_178_368_512, "8.2e9"),
        ("25.6 million", 25_557_032, "25.6 million"),
        ("25,557,032", 25_610_152, "25,610,152"),
        (4_100_000_000, 8_178_368_512, "8,200,000,000"),
    ],
)
def test_a_count_is_printed_as_the_figure_is(printed: Any, count: int, shown: str) -> None:
    """With its prefix and decimals."""
    assert read(printed, "macs").as_printed(count) == shown


@pytest.mark.parametrize(
    ("printed", "quantity", "said"),
    [
        ("four", "macs", r"macs='four' is no printed figure; write it as a text, as in '4.1G'"),
        ("4.1 GB", "macs", "is no printed figure"),
        (4.1e9, "macs", r"macs=4100000000\.0 is no printed figure; write it as a text"),
        (True, "params", "is no printed figure"),
        ("4.1", "flops", "is not a positive whole number: it lacks its prefix"),
        ("0", "params", "is not a positive whole number"),
        ("4,1 G", "macs", r"macs='4,1 G' has a decimal comma"),
        ("0,390 GFLOPs", "flops", r"has a decimal comma.*write it as 4.1G or 1,234,567"),
        ("25,6 million", "params", "has a decimal comma"),
        ("25,557,03", "params", "groups that are not of three digits"),
        ("25.6M params", "flops", r"is a number of params: give it as params="),
        ("4.1 GFLOPs", "params", r"is a number of FLOPs: give it as macs= or flops="),
    ],
)
def test_a_figure_that_cannot_be_read(printed: Any, quantity: str, said: str) -> None:
    """The error shows the figure, and how one is written."""
    with pytest.raises(InputError, match=said):
        read(printed, quantity)
