"""Note 003, claim by claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.notes.arithmetic import v1_macs, v2

BLOCK = 24 * 144 + 9 * 144 + 144 * 24
"""An inverted residual of 24 channels and t = 6, in MACs a position."""

EXPECTED: dict[str, tuple[str, Any]] = {
    "003-1": ("holds", [16, 1, 16]),
    "003-2": ("holds", 1 / 512 + 1 / 9),
    "003-3": ("holds", 1 / 11 + 1 / 9),
    "003-4": ("approximate", 5),  # 224, 112, 56, 28, 14, 7
    "003-5": ("fails", v2()[1] / v1_macs()),
    "003-6": ("approximate", [BLOCK / (9 * 24 * 24), BLOCK / (9 * 144 * 144)]),
    "003-7": ("holds", [[256, 64, 256], [24, 144, 24]]),
    "003-8": ("holds", 10),
    "003-9": ("holds", [0.0, 6.0]),
    "003-10": ("holds", [8, 1]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_claim(name: str, holds: Callable[[str, tuple[str, Any]], None]) -> None:
    """Computing the claim finds the verdict and the value that arithmetic does."""
    holds(name, EXPECTED[name])
