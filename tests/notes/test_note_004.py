"""Note 004, claim by claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from costmodel import models
from tests.notes.arithmetic import (
    V1_PAIRS,
    VGG16_FC,
    VGG16_PARAMS,
    alexnet_of_2012,
    b4_params,
    conv,
    fc,
    macs_by_hooks,
    shufflenet_v1_shares,
    v1_params,
)

RATIOS = [9 * n / (n + 9) for n, _ in V1_PAIRS]
NAIVE = 192 * 64 + 9 * 192 * 128 + 25 * 192 * 32
REDUCED = 192 * 64 + (192 * 96 + 9 * 96 * 128) + (192 * 16 + 25 * 16 * 32)
RESNET50_BIASES = 64 + sum(6 * c * n + 4 * c for c, n in ((64, 3), (128, 4), (256, 6), (512, 3)))
MAP = 56 * 56


def moved(c_in: float, c_out: float, groups: int = 1) -> float:
    """Elements that a 1x1 convolution on 56x56 reads and writes."""
    return MAP * (c_in + c_out) + c_in * c_out / groups


ELEMENTWISE = MAP * 32
"""A map of 32 channels."""
PLAIN = 2 * moved(32, 32) + MAP * 64 + 9 * 32 * 32
"""1x1, 3x3, 1x1 of 32 channels."""

EXPECTED: dict[str, tuple[str, Any]] = {
    "004-0": ("fails", "NIPS 2012"),
    "004-1": ("holds", [5, 3, 3]),
    "004-2": ("fails", alexnet_of_2012()),
    "004-3": ("approximate", [(224 - 11 + 2 * 2) / 4 + 1, 55]),
    "004-4": ("fails", [13 + 3, 16 + 3]),
    "004-5": ("holds", [224 // 2**i for i in range(6)]),
    "004-6": ("holds", VGG16_FC / VGG16_PARAMS),
    "004-7": ("holds", 1 + 2 + 2),
    "004-8": ("holds", [5 * 5, 2 * 3 * 3]),
    "004-9": ("approximate", 1),
    "004-10": ("holds", [64 + 128 + 32 + 32, 28, 28]),
    "004-11": ("approximate", REDUCED),
    "004-12": ("holds", NAIVE),
    "004-13": ("fails", NAIVE / REDUCED),
    "004-14": ("holds", [5, 3, 128, 1024, 0.7]),
    "004-15": ("holds", 6 * 200 + 2),
    "004-16": ("holds", 2 * conv(256, 256, 3) / (conv(256, 64, 1) + conv(64, 64, 3) + conv(64, 256, 1))),
    "004-17": ("holds", [1, 2]),
    "004-18": ("approximate", 2.0),
    "004-19": ("holds", True),
    "004-20": ("holds", RESNET50_BIASES),
    "004-21": ("approximate", next(k for k in range(99) if 0.9**k <= 0.5)),
    "004-22": ("holds", 25_028_904 / 25_557_032),  # torchvision 0.29
    "004-23": ("holds", [32, 4, 32 * 4]),
    "004-24": ("holds", [9 * 64 * 128 // g for g in (1, 2, 8, 32, 64)]),
    "004-25": ("fails", VGG16_PARAMS / v1_params()),
    "004-26": ("approximate", 10 * 10 * 3 * 10 * 3 * 3),
    "004-27": ("fails", 3 * 3 * 3 * 10 * 10 + 3 * 10 * 10 * 10),
    "004-28": ("approximate", [min(RATIOS), max(RATIOS)]),
    "004-29": ("not computable", None),
    "004-30": ("holds", 1 + 2 + 3 + 2 + 2),
    "004-31": ("holds", True),
    "004-32": ("holds", ["pool", "pointwise conv", "activation", "pointwise conv", "activation", "multiply"]),
    "004-33": ("approximate", shufflenet_v1_shares()),
    "004-34": ("fails", [32, 32 * 4]),
    "004-35": ("holds", MAP * (2 * 256 * 128 + 9 * 128 * 128 // 32)),
    "004-36": ("holds", 4 / (4 + 9 / 32)),
    "004-37": ("holds", 28 * 28 * (2 * 240 * 60 // 3 + 9 * 60)),
    "004-38": ("not computable", None),
    "004-40": ("holds", int(moved(128, 128))),
    "004-41": ("fails", "channels"),
    "004-42": ("holds", [moved(128 / n**0.5, 128 * n**0.5) / moved(128, 128) for n in (1, 2, 6, 12)]),
    "004-43": ("holds", [moved(128 * g**0.5, 128 * g**0.5, g) / moved(128, 128) for g in (1, 2, 4, 8)]),
    # Four 1x1 of 32 channels and three additions, to one 1x1 of 64.
    "004-44": ("not computable", (4 * moved(32, 32) + 3 * 3 * ELEMENTWISE) / moved(64, 64)),
    # Three ReLU that read and write, and an addition of two maps.
    "004-45": ("holds", PLAIN / (PLAIN + 3 * 2 * ELEMENTWISE + 3 * ELEMENTWISE)),
    "004-46": ("holds", [
        "view", "pointwise conv", "norm", "activation", "depthwise conv", "norm", "pointwise conv", "norm",
        "activation", "concat", "other",
    ]),
    "004-47": ("holds", 557e6 / 66_347_960),  # torchvision 0.29
    "004-48": ("not computable", None),
    "004-49": ("fails", "ICML 2021"),
    # Blocks of each expansion: 1 and 15 of B0; of S 2, then 10 with 4 and two stages, of 6, 9 and 15.
    "004-50": ("approximate", [(1 + 15 * 6) / 16, (2 * 1 + (4 + 4 + 6) * 4 + (9 + 15) * 6) / 40]),
    "004-51": ("holds", (2 - 1) + (2 - 1) + (3 - 1) + (3 - 1) + (4 - 1)),
    "004-52": ("holds", True),
    "004-53": ("holds", [24 * 6, 24 // 4, 24 * 6]),
    "004-54": ("approximate", (fc(240, 64) + fc(64, 240)) / (fc(240, 10) + fc(10, 240))),
    "004-55": ("holds", 2 + 4 + 4),
    "004-56": ("not computable", [b4_params(n) for n in (0, 3, 5, 7)]),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_claim(name: str, holds: Callable[[str, tuple[str, Any]], None]) -> None:
    """Computing the claim finds the verdict and the value that arithmetic on the papers' tables does."""
    holds(name, EXPECTED[name])


def counted(name: str, size: int) -> tuple[int, int]:
    """MACs of convolutions and of fully connected layers, counted by hooks."""
    with torch.device("meta"):
        return macs_by_hooks(models.build(name), (1, 3, size, size))


def test_claim_39(holds: Callable[[str, tuple[str, Any]], None]) -> None:
    """004-39: AlexNet's fully connected layers weigh most, those of EfficientNetV2-L least."""
    shares = [
        dense / (dense + linear) for dense, linear in (counted("alexnet", 224), counted("efficientnet_v2_l", 480))
    ]
    holds("004-39", ("approximate", shares))


def test_claim_57(holds: Callable[[str, tuple[str, Any]], None]) -> None:
    """004-57: what an image of 128 takes of the MACs of one of 300."""
    holds("004-57", ("holds", sum(counted("efficientnet_v2_s", 128)) / sum(counted("efficientnet_v2_s", 300))))
