"""ResNet with 18, 34, 50, 101 and 152 layers (He et al., arXiv:1512.03385, Table 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from costmodel.formulas.blocks import basic_block_on, bottleneck_on
from costmodel.formulas.feature_map import FeatureMap, Names, Walk
from costmodel.quantities import Count

from ._blocks import pooled, square, squeeze_excitation, within

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


def places(name: str) -> Names:
    """Where a block's layers lie in its module: the convolutions in its body."""
    body = {layer: f".body.{layer}" for layer in ("conv1", "conv2", "reduce", "conv", "expand")}
    return within(name, **body, add="/add_", out_relu=".act")


def basic_block(x: FeatureMap, name: str, width: int, stride: int) -> FeatureMap:
    """A basic block of one stage."""
    return basic_block_on(x, width, stride=stride, act="relu", names=places(name))


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
    """A bottleneck of one stage, with a squeeze-excitation where it is asked for."""
    c_out = width * BOTTLENECK_EXPANSION
    gate = None
    if se_reduction is not None:
        gate = partial(squeeze_excitation, name=f"{name}.body.se", squeezed=c_out // se_reduction)
    return bottleneck_on(
        x,
        width * width_per_group // 64 * groups,
        c_out,
        stride=stride,
        groups=groups,
        stride_in_1x1=stride_in_1x1,
        act="relu",
        gate=gate,
        names=places(name),
    )


def network(walk: Walk, depths: Depths, block: Block, *, num_classes: Count, resolution: Count) -> None:
    """A stem, four stages of blocks, a pool and a classifier."""
    x = square(walk, resolution).conv_norm_act("conv1", STEM_WIDTH, 7, stride=2, act="relu")
    x = x.max_pool("maxpool", 3, 2, padding=1)
    for i, (depth, width) in enumerate(zip(depths, STAGE_WIDTHS, strict=True), start=1):
        for j in range(depth):
            x = block(x, f"layer{i}.{j}", width, 2 if i > 1 and j == 0 else 1)
    pooled(x).linear("fc", num_classes)


def of_basic_blocks(depths: Depths, walk: Walk, *, num_classes: Count = 1000, resolution: Count = 224) -> None:
    """ResNet-18 and ResNet-34."""
    network(walk, depths, basic_block, num_classes=num_classes, resolution=resolution)


def of_bottlenecks(
    depths: Depths,
    walk: Walk,
    *,
    stride_in_1x1: bool = False,
    num_classes: Count = 1000,
    resolution: Count = 224,
) -> None:
    """ResNet-50, ResNet-101 and ResNet-152."""
    block = partial(bottleneck, stride_in_1x1=stride_in_1x1)
    network(walk, depths, block, num_classes=num_classes, resolution=resolution)


NETWORKS: Mapping[str, Callable[..., None]] = {
    **{name: partial(of_basic_blocks, depths) for name, depths in BASIC_DEPTHS.items()},
    **{name: partial(of_bottlenecks, depths) for name, depths in BOTTLENECK_DEPTHS.items()},
}
