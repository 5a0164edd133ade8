"""The published figures are recorded as they are printed, with reasons where they are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import costmodel.models as models
from costmodel.models.printed._record import Published, read_figure
from costmodel.provenance.figure import read

RECORDS = models.published()


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: f"{r.name}-{'-'.join(map(str, r.variant.values()))}")
def test_no_reason_is_given_for_what_needs_none(record: Published, totals: Callable[..., Any]) -> None:
    """`why` is for a figure to which the plain count does not round; of those that nothing makes, the report has it."""
    computed = totals(record.name, **record.variant)
    printed = {"params": record.params_printed, "macs": record.macs_printed}
    ways = {read(text, name).match(getattr(computed, name)) for name, text in printed.items() if text is not None}
    assert ways, "a record without a figure"
    assert not record.why or ways - {"exact", "rounded"}


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
    """A unit that nobody defined is not guessed, nor what a comma is that separates no group of three."""
    for printed in ("4.2 B", "4,2 M"):
        with pytest.raises(ValueError, match=f"'{printed}' is not a published figure"):
            read_figure(printed)
