"""The published figures are told as they are printed, and each difference from the computed one has its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import costmodel.models as models
from costmodel.models.printed._record import Published, read_figure

RECORDS = models.published()


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: f"{r.name}-{'-'.join(map(str, r.variant.values()))}")
def test_a_difference_over_one_percent_has_a_reason_and_no_other_has(
    record: Published, totals: Callable[..., Any]
) -> None:
    """`why` is there exactly where a printed figure lies more than 1 % from the computed one."""
    computed = totals(record.name, **record.variant)
    pairs = [(record.params, computed.params), (record.macs, computed.macs)]
    differences = [abs(ours / printed - 1) for printed, ours in pairs if printed is not None]
    assert differences, "a record without a figure"
    assert bool(record.why) == (max(differences) > 0.01), differences


def test_every_record_is_complete() -> None:
    """Each names a network, a source, and the source's word for its MACs."""
    for record in RECORDS:
        assert record.name in models.list_models()
        assert record.source
        assert bool(record.quoted_as) == (record.macs_printed is not None), record


def test_every_network_of_a_paper_has_a_figure() -> None:
    """Only the network that a note made up has none."""
    assert set(models.list_models()) - {record.name for record in RECORDS} == {"mobilenet_v1_cifar"}


@pytest.mark.parametrize(
    ("printed", "number"),
    [("4.2 M", 4_200_000), ("0.39 G", 390_000_000), ("5,122,176", 5_122_176), ("1502 M", 1_502_000_000)],
)
def test_a_printed_figure_is_read_exactly(printed: str, number: int) -> None:
    """Numbers are exact integers."""
    assert read_figure(printed) == number


def test_a_figure_that_cannot_be_read_is_an_error() -> None:
    """A unit that nobody defined is not guessed."""
    with pytest.raises(ValueError, match=r"'4\.2 B' is not a published figure"):
        read_figure("4.2 B")
