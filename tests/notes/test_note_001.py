"""Note 001, claim by claim."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch import nn

from costmodel import models
from costmodel.notes.measure import on_meta
from tests.notes.arithmetic import longest_common

# Kernel, expanded, out, SE, stride.
GHOSTNET = [
    (3, 16, 16, 0, 1), (3, 48, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 1, 2), (5, 120, 40, 1, 1), (3, 240, 80, 0, 2),
    (3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1), (3, 480, 112, 1, 1), (3, 672, 112, 1, 1),
    (5, 672, 160, 1, 2), (5, 960, 160, 0, 1), (5, 960, 160, 1, 1), (5, 960, 160, 0, 1), (5, 960, 160, 1, 1),
]  # fmt: skip
V3_LARGE = [
    (3, 16, 16, 0, 1), (3, 64, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 1, 2), (5, 120, 40, 1, 1), (5, 120, 40, 1, 1),
    (3, 240, 80, 0, 2), (3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1), (3, 480, 112, 1, 1),
    (3, 672, 112, 1, 1), (5, 672, 160, 1, 2), (5, 960, 160, 1, 1), (5, 960, 160, 1, 1),
]  # fmt: skip

EXPECTED: dict[str, tuple[str, Any]] = {
    "001-1": ("approximate", 160 * 160 / (160 * 80 + 80 * 9)),
    "001-3": ("holds", [9, 9 * 2, 25]),  # ceil(25 / 3) = 9
    "001-4": ("holds", ["standard conv", "grouped conv", "depthwise conv"]),
    "001-6": ("holds", "ILSVRC 2017, first place"),
    "001-7": ("holds", [16, 64, 5, 7]),
    "001-8": ("fails", [16, 64, 1, 1]),
    "001-9": ("fails", 16 * 64),
    "001-10": ("holds", [16, 64, 1, 1]),
    "001-11": ("holds", [16, 64]),
    "001-12": ("holds", [0.0, 1.0]),
    "001-13": ("approximate", [longest_common(GHOSTNET, V3_LARGE), 16]),
    "001-14": ("holds", [4, 0]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_claim(name: str, holds: Callable[[str, tuple[str, Any]], None]) -> None:
    """Computing the claim finds the verdict and the value that the papers' tables give by hand."""
    holds(name, EXPECTED[name])


def convolutions() -> Iterator[nn.Conv2d | nn.Conv3d]:
    """Those of all networks of the library."""
    for name in models.list_models():
        yield from (m for m in on_meta(name).modules() if isinstance(m, nn.Conv2d | nn.Conv3d))


def fits(conv: nn.Conv2d | nn.Conv3d) -> bool:
    """Whether padding by half the kernel gives as many outputs, along both axes of a map of 31."""
    axes = zip(conv.kernel_size, conv.padding, conv.stride, strict=True)
    return len(conv.kernel_size) == 2 and all((2 * p - k) // s == (k // 2 * 2 - k) // s for k, p, s in axes)


def test_claim_2(holds: Callable[[str, tuple[str, Any]], None]) -> None:
    """001-2: where the padding is half the kernel, the module fits in."""
    dense = [conv for conv in convolutions() if conv.groups == 1]
    holds("001-2", ("approximate", [sum(map(fits, dense)), len(dense)]))


def test_claim_5(holds: Callable[[str, tuple[str, Any]], None]) -> None:
    """001-5: most convolutions with groups have as many as channels."""
    grouped = [conv for conv in convolutions() if conv.groups > 1]
    depthwise = [conv for conv in grouped if conv.groups == conv.in_channels]
    holds("001-5", ("approximate", len(depthwise) / len(grouped)))
