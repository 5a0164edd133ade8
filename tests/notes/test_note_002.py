"""Note 002, claim by claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.notes.arithmetic import fc, v1_macs, v1_params

EXPECTED: dict[str, tuple[str, Any]] = {
    "002-1": ("approximate", 10 * 10 * 9 * 3 * 10),
    "002-2": ("approximate", 10 * 10 * 9 * 3),
    "002-3": ("holds", 10 * 10 * 3 * 10),
    "002-4": ("holds", 27_000),
    "002-5": ("holds", 2_700),
    "002-6": ("holds", 3_000),
    "002-7": ("holds", 2_700 + 3_000),
    "002-8": ("fails", "floating-point operations"),
    "002-9": ("fails", v1_macs()),
    "002-10": ("fails", [v1_params(0.25), v1_params(1)]),
    "002-11": ("holds", fc(7 * 7 * 1024, 1000) / fc(1024, 1000)),
    "002-12": ("holds", [1, 10]),
    "002-13": ("fails", "average pooling"),
    "002-14": ("fails", [8, 13]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_claim(name: str, holds: Callable[[str, tuple[str, Any]], None]) -> None:
    """Computing the claim finds the verdict and the value that arithmetic does."""
    holds(name, EXPECTED[name])


def test_569_million_is_not_569_wan() -> None:
    """The paper's 569 M are MACs; the note's 569万 is a hundredth of it."""
    assert round(v1_macs() / 1e6) == 569
    assert v1_macs() / (569 * 10_000) == pytest.approx(100, rel=1e-3)
