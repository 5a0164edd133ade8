"""EfficientNet-B0 to B7 (Tan & Le, arXiv:1905.11946, Table 1), and the network that EfficientNetV2 shares with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from costmodel.formulas.blocks import inverted_residual_on
from costmodel.formulas.feature_map import FeatureMap, Walk
from costmodel.quantities import Count

from ._blocks import pooled, square, squeeze_excitation, within
from ._rounding import make_divisible


@dataclass(frozen=True)
class MBConv:
    """A stage: `depth` blocks with this expansion and depthwise kernel to c_out channels, the first of this stride."""

    expansion: int
    kernel: int
    stride: int
    c_out: int
    depth: int


STEM_WIDTH = 32

TABLE_1 = (
    MBConv(1, 3, 1, 16, 1),
    MBConv(6, 3, 2, 24, 2),
    MBConv(6, 5, 2, 40, 2),
    MBConv(6, 3, 2, 80, 3),
    MBConv(6, 5, 1, 112, 3),
    MBConv(6, 5, 2, 192, 4),
    MBConv(6, 3, 1, 320, 1),
)
"""Stages 2 to 8 of EfficientNet-B0."""

HEAD_EXPANSION = 4
"""The last 1x1 has four times the channels that enter it: 320 to 1280 in B0."""


@dataclass(frozen=True)
class Scale:
    """A compound scaling of B0."""

    width: float
    depth: float
    resolution: int
    dropout: float
    eps: float = 1e-5


SCALES = {
    "efficientnet_b0": Scale(1.0, 1.0, 224, 0.2),
    "efficientnet_b1": Scale(1.0, 1.1, 240, 0.2),
    "efficientnet_b2": Scale(1.1, 1.2, 260, 0.3),
    "efficientnet_b3": Scale(1.2, 1.4, 300, 0.3),
    "efficientnet_b4": Scale(1.4, 1.8, 380, 0.4),
    "efficientnet_b5": Scale(1.6, 2.2, 456, 0.4, eps=1e-3),
    "efficientnet_b6": Scale(1.8, 2.6, 528, 0.5, eps=1e-3),
    "efficientnet_b7": Scale(2.0, 3.1, 600, 0.5, eps=1e-3),
}
"""The multipliers of the authors' released code; the paper gives those of its grid search only."""


Block: TypeAlias = Callable[[FeatureMap, str, int, int], FeatureMap]
"""The map after a block, from the map before it, the block's name, its output channels and its stride."""


def mbconv(x: FeatureMap, name: str, c_out: int, stride: int, *, expansion: int, kernel: int) -> FeatureMap:
    """An inverted residual with a gate, whose inner layer has a quarter of the channels that enter the block."""
    squeezed = max(1, x.channels // 4)
    return inverted_residual_on(
        x,
        make_divisible(x.channels * expansion),
        c_out,
        kernel=kernel,
        stride=stride,
        act="silu",
        gate=lambda y: squeeze_excitation(y, f"{name}.se", squeezed, act="silu"),
        names=within(name, add="/add_"),
    )


def network(
    walk: Walk,
    stem_width: int,
    stages: list[tuple[Block, int, int, int]],
    head_width: int,
    *,
    num_classes: Count,
    resolution: Count,
) -> None:
    """A convolution, stages of (block, output channels, stride, depth), a 1x1, a pool and a classifier."""
    x = square(walk, resolution).conv_norm_act("features.0", stem_width, 3, stride=2, act="silu")
    for i, (block, c_out, stride, depth) in enumerate(stages, start=1):
        for j in range(depth):
            x = block(x, f"features.{i}.{j}", c_out, stride if j == 0 else 1)
    x = x.conv_norm_act(f"features.{len(stages) + 1}", head_width, act="silu")
    pooled(x).dropout("classifier.dropout", inplace=True).linear("classifier.fc", num_classes)


def efficientnet(scale: Scale, walk: Walk, *, num_classes: Count = 1000, resolution: Count | None = None) -> None:
    """B0 scaled: channels rounded to multiples of 8, depths rounded up."""
    stages: list[tuple[Block, int, int, int]] = [
        (
            partial(mbconv, expansion=row.expansion, kernel=row.kernel),
            make_divisible(row.c_out * scale.width),
            row.stride,
            math.ceil(row.depth * scale.depth),
        )
        for row in TABLE_1
    ]
    network(
        walk,
        make_divisible(STEM_WIDTH * scale.width),
        stages,
        HEAD_EXPANSION * stages[-1][1],
        num_classes=num_classes,
        resolution=scale.resolution if resolution is None else resolution,
    )


NETWORKS: Mapping[str, Callable[..., None]] = {name: partial(efficientnet, scale) for name, scale in SCALES.items()}
