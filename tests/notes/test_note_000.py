"""Note 000, claim by claim: the verdict, and the value by arithmetic on the papers' tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.notes.arithmetic import V1_PAIRS, VGG16_PARAMS, v1_params, v2

RATIOS = [9 * n / (n + 9) for n, _ in V1_PAIRS]
"""A 3x3 convolution of N kernels to a separable one."""

V3_LARGE, V3_SMALL = 5_483_032, 2_542_856  # torchvision 0.29
LARGE_KERNELS, SMALL_KERNELS = "333555333333555", "33355555555"  # Tables 1 and 2 of the paper

EXPECTED: dict[str, tuple[str, Any]] = {
    "000-1": ("approximate", VGG16_PARAMS / v1_params()),
    "000-2": ("not computable", None),
    "000-3": ("fails", ["alpha", "rho"]),
    "000-4": ("holds", 32),
    "000-5": ("approximate", 10 * 10 * 3 * 3 * 3 * 10),
    "000-6": ("approximate", [min(RATIOS), max(RATIOS)]),
    "000-7": ("holds", v2()[0] / v1_params()),
    "000-8": ("holds", [[64, 64, 4 * 64], [6 * 24, 6 * 24, 24]]),
    "000-9": ("holds", 1 + 2 + 3 + 2 + 2),  # n - 1 of each stage of more than one block
    "000-10": ("holds", 1 + 2 + 3 + 4 + 3 + 3 + 1),
    "000-11": ("approximate", V3_LARGE / v2()[0]),
    "000-12": ("fails", "#out"),
    "000-13": ("fails", [LARGE_KERNELS.count("5"), SMALL_KERNELS.count("5")]),
    "000-14": ("holds", [8, 30 - 6, 25 - 2, 25 - 2]),
    "000-15": ("holds", [16, 24 - 4, 23 - 2, 23 - 2]),
    "000-16": ("holds", [32, 20 - 2, 21 - 2, 21 - 2]),
    "000-17": ("holds", [32 * 18, 19, 19]),
    "000-18": ("holds", [64, 19 - 2, 19 - 2]),
    "000-19": ("holds", 64 * 17 * 17),
    "000-20": ("holds", [256, 128, 16]),
    "000-21": ("holds", 5_122_176),  # the total of the paper's Table I
}


@pytest.mark.parametrize("name", EXPECTED)
def test_claim(name: str, holds: Callable[[str, tuple[str, Any]], None]) -> None:
    """Computing the claim finds the verdict and the value that arithmetic does."""
    holds(name, EXPECTED[name])


def test_the_arithmetic_gives_what_is_known() -> None:
    """The numbers that everybody quotes come out of it: a slip here would excuse one there."""
    assert (VGG16_PARAMS, v1_params(), v2()) == (138_357_544, 4_231_976, (3_504_872, 300_774_272))
