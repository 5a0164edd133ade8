"""Xception (Chollet, arXiv:1610.02357, Figure 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from costmodel.formulas.feature_map import FeatureMap, Walk
from costmodel.quantities import Count

from ._blocks import pooled, square


@dataclass(frozen=True)
class Block:
    """A residual block of separable convolutions: the output channels of each, and the max pool's stride at its end."""

    widths: tuple[int, ...]
    stride: int


STEM = (32, 64)
"""Two 3x3 convolutions without padding, the first of stride 2."""

FIGURE_5 = (
    Block((128, 128), 2),
    Block((256, 256), 2),
    Block((728, 728), 2),
    *(Block((728, 728, 728), 1) for _ in range(8)),
    Block((728, 1024), 2),
)
"""Entry flow, eight blocks of middle flow, and the first block of the exit flow."""

EXIT = (1536, 2048)
"""The separable convolutions that end the exit flow, each with a ReLU."""


def separable_conv(x: FeatureMap, name: str, c_out: int) -> FeatureMap:
    """3x3 depthwise, 1x1, batch norm."""
    y = x.conv(f"{name}.depthwise", x.channels, 3, groups=x.channels)
    return y.conv(f"{name}.pointwise", c_out).norm(f"{name}.norm")


def xception_block(x: FeatureMap, name: str, row: Block, *, relu_first: bool) -> FeatureMap:
    """ReLU and separable convolution in turn, a pool where the stride is 2, and the shortcut."""
    y = x
    for i, width in enumerate(row.widths, start=1):
        if i > 1 or relu_first:
            y = y.act(f"{name}.body.relu{i}", "relu", in_place=i > 1)  # the first reads what the shortcut reads
        y = separable_conv(y, f"{name}.body.conv{i}", width)
    if row.stride > 1:
        y = y.max_pool(f"{name}.body.pool", 3, row.stride, padding=1)
    changes = row.stride > 1 or y.channels != x.channels
    shortcut = x.conv_norm_act(f"{name}.shortcut", y.channels, stride=row.stride) if changes else x
    return y.add(f"{name}/add_", shortcut)


def xception(walk: Walk, *, num_classes: Count = 1000, resolution: Count = 299) -> None:
    """Two convolutions, twelve blocks, two separable convolutions, a pool and a classifier."""
    x = square(walk, resolution).conv_norm_act("conv1", STEM[0], 3, stride=2, padding=0, act="relu")
    x = x.conv_norm_act("conv2", STEM[1], 3, padding=0, act="relu")
    for i, row in enumerate(FIGURE_5, start=1):
        x = xception_block(x, f"block{i}", row, relu_first=i > 1)
    for i, width in enumerate(EXIT, start=3):
        x = separable_conv(x, f"conv{i}", width).act(f"relu{i}", "relu")
    pooled(x).linear("fc", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {"xception": xception}
