"""MobileNetV3 large and small (Howard et al., arXiv:1905.02244, Tables 1 and 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from costmodel.formulas.blocks import inverted_residual_on
from costmodel.formulas.feature_map import FeatureMap, Walk
from costmodel.quantities import Count

from ._blocks import pooled, square, squeeze_excitation, within
from ._rounding import Multiplier, at_least_one, make_divisible


@dataclass(frozen=True)
class Bneck:
    """A line of Table 1 or 2: depthwise kernel, expanded and output channels, SE, h-swish (else ReLU), stride."""

    kernel: int
    expanded: int
    c_out: int
    se: bool
    hard_swish: bool
    stride: int


STEM_WIDTH = 16

LARGE = (
    Bneck(3, 16, 16, se=False, hard_swish=False, stride=1),
    Bneck(3, 64, 24, se=False, hard_swish=False, stride=2),
    Bneck(3, 72, 24, se=False, hard_swish=False, stride=1),
    Bneck(5, 72, 40, se=True, hard_swish=False, stride=2),
    Bneck(5, 120, 40, se=True, hard_swish=False, stride=1),
    Bneck(5, 120, 40, se=True, hard_swish=False, stride=1),
    Bneck(3, 240, 80, se=False, hard_swish=True, stride=2),
    Bneck(3, 200, 80, se=False, hard_swish=True, stride=1),
    Bneck(3, 184, 80, se=False, hard_swish=True, stride=1),
    Bneck(3, 184, 80, se=False, hard_swish=True, stride=1),
    Bneck(3, 480, 112, se=True, hard_swish=True, stride=1),
    Bneck(3, 672, 112, se=True, hard_swish=True, stride=1),
    Bneck(5, 672, 160, se=True, hard_swish=True, stride=2),
    Bneck(5, 960, 160, se=True, hard_swish=True, stride=1),
    Bneck(5, 960, 160, se=True, hard_swish=True, stride=1),
)

SMALL = (
    Bneck(3, 16, 16, se=True, hard_swish=False, stride=2),
    Bneck(3, 72, 24, se=False, hard_swish=False, stride=2),
    Bneck(3, 88, 24, se=False, hard_swish=False, stride=1),
    Bneck(5, 96, 40, se=True, hard_swish=True, stride=2),
    Bneck(5, 240, 40, se=True, hard_swish=True, stride=1),
    Bneck(5, 240, 40, se=True, hard_swish=True, stride=1),
    Bneck(5, 120, 48, se=True, hard_swish=True, stride=1),
    Bneck(5, 144, 48, se=True, hard_swish=True, stride=1),
    Bneck(5, 288, 96, se=True, hard_swish=True, stride=2),
    Bneck(5, 576, 96, se=True, hard_swish=True, stride=1),
    Bneck(5, 576, 96, se=True, hard_swish=True, stride=1),
)

HEAD_EXPANSION = 6
"""The last 1x1 has six times the channels that enter it: 160 to 960, 96 to 576."""

LARGE_HIDDEN = 1280
SMALL_HIDDEN = 1024
"""Channels of the classifier's hidden layer, which a width multiplier below 1 leaves as they are."""

EPS = 1e-3


def gated(x: FeatureMap, name: str) -> FeatureMap:
    """A squeeze-excitation, whose inner layer has a quarter of the channels."""
    return squeeze_excitation(x, name, make_divisible(x.channels // 4), gate="hardsigmoid")


def mobilenet_v3(
    rows: tuple[Bneck, ...],
    hidden: int,
    walk: Walk,
    *,
    width: Multiplier = 1.0,
    resolution: Count = 224,
    num_classes: Count = 1000,
) -> None:
    """A convolution, the inverted residuals of a table, a 1x1, a pool and two fully connected layers."""
    x = square(walk, resolution)
    x = x.conv_norm_act("features.0", make_divisible(STEM_WIDTH * width), 3, stride=2, act="hardswish")
    table_c_in = STEM_WIDTH
    for i, row in enumerate(rows, start=1):
        x = inverted_residual_on(
            x,
            make_divisible(x.channels * (row.expanded / table_c_in)),
            make_divisible(row.c_out * width),
            kernel=row.kernel,
            stride=row.stride,
            act="hardswish" if row.hard_swish else "relu",
            gate=partial(gated, name=f"features.{i}.se") if row.se else None,
            names=within(f"features.{i}", add="/add_"),
        )
        table_c_in = row.c_out
    x = x.conv_norm_act(f"features.{len(rows) + 1}", x.channels * HEAD_EXPANSION, act="hardswish")
    x = pooled(x).linear("classifier.fc1", make_divisible(hidden * at_least_one(width)))
    x.act("classifier.act", "hardswish").dropout("classifier.dropout").linear("classifier.fc2", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {
    "mobilenet_v3_large": partial(mobilenet_v3, LARGE, LARGE_HIDDEN),
    "mobilenet_v3_small": partial(mobilenet_v3, SMALL, SMALL_HIDDEN),
}
