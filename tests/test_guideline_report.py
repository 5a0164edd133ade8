"""ShuffleNet V2's experiments: closed form against trace, the order by measured time, and the committed report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import costmodel
from costmodel.notes.shuffle_experiments import BLOCKS, SCALES, Experiment, Variant, experiments
from reports.guidelines import Measured, is_significant, markdown, order, read

REPORTS = Path(__file__).parents[1] / "reports"
MEASURED = REPORTS / "measured" / "guidelines.json"
VARIANTS = [(e, v) for e in experiments() for v in e.variants]


@pytest.mark.parametrize(
    ("experiment", "variant"), VARIANTS, ids=[f"{e.guideline} {v.label} x{v.scale}" for e, v in VARIANTS]
)
def test_the_closed_form_is_what_is_traced(experiment: Experiment, variant: Variant) -> None:
    """MACs, memory access and the number of kernels of every network agree to the integer."""
    p = costmodel.profile(variant.build(), variant.input_shape)
    assert (variant.macs, variant.memory_access) == (p.macs, p.memory_access)
    assert variant.kernels == sum(op.traffic.elements > 0 for op in p.pricing.ops)


def test_the_papers_formulas() -> None:
    """Memory access by hand: eq. 1 for G1 and eq. 2 for G2, n convolutions and n - 1 additions, ReLUs and shortcut."""
    area = 56 * 56
    g1, g2, g3, g4 = experiments()
    for v in g1.variants:
        c1, c2 = v.channels
        assert v.memory_access == BLOCKS * 2 * (area * (c1 + c2) + c1 * c2)
    for v in g2.variants:
        (c,), g = v.channels, int(v.label.removeprefix("g = "))
        assert v.memory_access == BLOCKS * (2 * area * c + c * c // g)
    for v in g3.variants:
        (c,), n = v.channels, int(v.label[0])
        assert v.memory_access == BLOCKS * (
            n * (2 * area * c + c * c) + ("parallel" in v.label) * 3 * (n - 1) * area * c
        )
    for v in g4.variants:
        (c,) = v.channels
        joined = 6 * ("ReLU" in v.label) + 3 * ("shortcut" in v.label)
        assert v.memory_access == BLOCKS * (6 * area * c + 11 * c * c + joined * area * c)


def test_an_experiment_keeps_the_multiply_accumulates() -> None:
    """At each scale all networks do the same, within 6 %, for channels are whole."""
    for experiment in experiments():
        for scale in SCALES:
            macs = [v.macs for v in experiment.at(scale)]
            assert max(macs) / min(macs) < 1.06
        assert [e.guideline for e in experiments()] == ["G1", "G2", "G3", "G4"]


def measured(experiment: Experiment, seconds: dict[str, list[float]]) -> Measured:
    """The same times at every scale."""
    times = {experiment.guideline: {label: dict.fromkeys(map(str, SCALES), ts) for label, ts in seconds.items()}}
    return Measured(machine="a machine", threads=1, torch="2", date="2026-01-01", rounds=20, seconds=times)


def test_the_order_by_time_is_told_pair_by_pair() -> None:
    """Faster in nearly all rounds is faster; in half of them too close to tell; the other way round it differs."""
    groups = experiments()[1]
    alternating = [1.0, 3.0] * 10
    found = order(groups, 1, measured(groups, {
        "g = 1": [2.0] * 20, "g = 2": alternating, "g = 4": [5.0] * 20, "g = 8": [4.0] * 20,
    }))  # fmt: skip
    assert [(a.label, b.label) for a, b in found.close] == [("g = 1", "g = 2")]
    assert [(a.label, b.label) for a, b in found.differ] == [("g = 4", "g = 8")]
    assert len(found.agree) == 4


def test_the_sign_test_is_the_tables() -> None:
    """Two-sided at 5 %: of 6 rounds all, of 20 rounds 15, of 41 rounds 28 must fall to one side."""
    for rounds, least in ((6, 6), (20, 15), (41, 28)):
        assert is_significant(least, rounds - least)
        assert is_significant(rounds - least, least)
        assert not is_significant(least - 1, rounds - least + 1)
    assert not is_significant(0, 0)


def test_the_report_says_where_the_measured_columns_are_from() -> None:
    """Machine, threads and date stand above the tables; without a measurement those columns are empty."""
    found = read(MEASURED)
    assert found is not None
    text = markdown(found)
    assert all(word in text for word in (found.machine, found.date, found.torch, f"medians of {found.rounds} rounds"))
    assert "one thread" in markdown(replace(found, threads=1))
    assert "2 threads" in markdown(replace(found, threads=2))
    empty = markdown(None)
    assert "Measured: nothing yet" in empty
    assert "| 1:12 | 18, 216 |" in empty
    rows = [line for line in empty.splitlines() if line.startswith("| 1:1")]
    assert all(line.endswith("|  |  |  |") for line in rows)
    assert "agree in order" not in empty
