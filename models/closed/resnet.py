"""ResNet with 18, 34, 50, 101 and 152 layers (He et al., arXiv:1512.03385, Table 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from costmodel.quantities import Count

from ._blocks import pooled, square, squeeze_excitation
from ._feature_map import FeatureMap, Ledger

STEM_WIDTH = 64
STAGE_WIDTHS = (64, 128, 256, 512)
"""Channels inside the blocks of stages conv2_x to conv5_x; the first block of a stage, except conv2_x, has stride 2."""

BOTTLENECK_EXPANSION = 4
"""A bottleneck's output has four times the channels of its 3x3."""

BASIC_DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
BOTTLENECK_DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}

Depths: TypeAlias = tuple[int, int, int, int]


Block: TypeAlias = Callable[[FeatureMap, str, int, int], FeatureMap]
"""The map after a block, from the map before it, the block's name, its stage's width and its stride."""


def joined(x: FeatureMap, y: FeatureMap, name: str, stride: int) -> FeatureMap:
    """ReLU of a body's output and its input, which goes through a 1x1 where the shape changes."""
    changes = stride != 1 or x.channels != y.channels
    shortcut = x.conv_norm(f"{name}.shortcut", y.channels, stride=stride) if changes else x
    return y.add(f"{name}/add_", shortcut).act(f"{name}.act", "relu")


def basic_block(x: FeatureMap, name: str, width: int, stride: int) -> FeatureMap:
    """Two 3x3 convolutions."""
    y = x.conv_norm(f"{name}.body.conv1", width, 3, stride=stride, act="relu")
    return joined(x, y.conv_norm(f"{name}.body.conv2", width, 3), name, stride)


def bottleneck(
    x: FeatureMap,
    name: str,
    width: int,
    stride: int,
    *,
    groups: int = 1,
    width_per_group: int = 64,
    stride_in_1x1: bool = False,
    se_reduction: int | None = None,
) -> FeatureMap:
    """1x1 down, 3x3, 1x1 up, and a squeeze-excitation where it is asked for."""
    inner = width * width_per_group // 64 * groups
    c_out = width * BOTTLENECK_EXPANSION
    first, second = (stride, 1) if stride_in_1x1 else (1, stride)
    y = x.conv_norm(f"{name}.body.reduce", inner, stride=first, act="relu")
    y = y.conv_norm(f"{name}.body.conv", inner, 3, stride=second, groups=groups, act="relu")
    y = y.conv_norm(f"{name}.body.expand", c_out)
    if se_reduction is not None:
        y = squeeze_excitation(y, f"{name}.body.se", c_out // se_reduction)
    return joined(x, y, name, stride)


def network(ledger: Ledger, depths: Depths, block: Block, *, num_classes: Count, resolution: Count) -> None:
    """A stem, four stages of blocks, a pool and a classifier."""
    x = square(ledger, resolution).conv_norm("conv1", STEM_WIDTH, 7, stride=2, act="relu")
    x = x.max_pool("maxpool", 3, 2, padding=1)
    for i, (depth, width) in enumerate(zip(depths, STAGE_WIDTHS, strict=True), start=1):
        for j in range(depth):
            x = block(x, f"layer{i}.{j}", width, 2 if i > 1 and j == 0 else 1)
    pooled(x).linear("fc", num_classes)


def of_basic_blocks(depths: Depths, ledger: Ledger, *, num_classes: Count = 1000, resolution: Count = 224) -> None:
    """ResNet-18 and ResNet-34."""
    network(ledger, depths, basic_block, num_classes=num_classes, resolution=resolution)


def of_bottlenecks(
    depths: Depths,
    ledger: Ledger,
    *,
    stride_in_1x1: bool = False,
    num_classes: Count = 1000,
    resolution: Count = 224,
) -> None:
    """ResNet-50, ResNet-101 and ResNet-152."""
    block = partial(bottleneck, stride_in_1x1=stride_in_1x1)
    network(ledger, depths, block, num_classes=num_classes, resolution=resolution)


NETWORKS: Mapping[str, Callable[..., None]] = {
    **{name: partial(of_basic_blocks, depths) for name, depths in BASIC_DEPTHS.items()},
    **{name: partial(of_bottlenecks, depths) for name, depths in BOTTLENECK_DEPTHS.items()},
}
