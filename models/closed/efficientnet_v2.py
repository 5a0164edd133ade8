"""EfficientNetV2 S, M and L (Tan & Le, arXiv:2104.00298, Table 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from costmodel.formulas.efficient_blocks import fused_mbconv_on
from costmodel.formulas.feature_map import FeatureMap, Walk
from costmodel.quantities import Count

from ._blocks import within
from ._rounding import make_divisible
from .efficientnet import Block, mbconv, network


@dataclass(frozen=True)
class Stage:
    """A line of Table 4: `depth` blocks, fused or not, of this expansion to c_out channels, the first of this stride.

    All kernels are 3x3; MBConv stages have SE, fused ones have none.
    """

    fused: bool
    expansion: int
    stride: int
    c_out: int
    depth: int


S = (
    Stage(True, 1, 1, 24, 2),
    Stage(True, 4, 2, 48, 4),
    Stage(True, 4, 2, 64, 4),
    Stage(False, 4, 2, 128, 6),
    Stage(False, 6, 1, 160, 9),
    Stage(False, 6, 2, 256, 15),
)
"""Stages 1 to 6 of EfficientNetV2-S, Table 4."""

M = (
    Stage(True, 1, 1, 24, 3),
    Stage(True, 4, 2, 48, 5),
    Stage(True, 4, 2, 80, 5),
    Stage(False, 4, 2, 160, 7),
    Stage(False, 6, 1, 176, 14),
    Stage(False, 6, 2, 304, 18),
    Stage(False, 6, 1, 512, 5),
)
L = (
    Stage(True, 1, 1, 32, 4),
    Stage(True, 4, 2, 64, 7),
    Stage(True, 4, 2, 96, 7),
    Stage(False, 4, 2, 192, 10),
    Stage(False, 6, 1, 224, 19),
    Stage(False, 6, 2, 384, 25),
    Stage(False, 6, 1, 640, 7),
)
"""M and L are not in the paper: the authors' released code has them."""

HEAD_WIDTH = 1280
EPS = 1e-3


def fused_mbconv(x: FeatureMap, name: str, c_out: int, stride: int, *, expansion: int) -> FeatureMap:
    """A 3x3 that expands and a 1x1; without expansion a 3x3 alone."""
    expanded, names = make_divisible(x.channels * expansion), within(name, add="/add_")
    return fused_mbconv_on(x, expanded, c_out, kernel=3, stride=stride, act="silu", names=names)


def efficientnet_v2(
    table: tuple[Stage, ...], walk: Walk, *, num_classes: Count = 1000, resolution: Count = 480
) -> None:
    """The stages of one table."""
    stages: list[tuple[Block, int, int, int]] = [
        (
            partial(fused_mbconv, expansion=row.expansion)
            if row.fused
            else partial(mbconv, expansion=row.expansion, kernel=3),
            row.c_out,
            row.stride,
            row.depth,
        )
        for row in table
    ]
    network(walk, table[0].c_out, stages, HEAD_WIDTH, num_classes=num_classes, resolution=resolution)


NETWORKS: Mapping[str, Callable[..., None]] = {
    "efficientnet_v2_s": partial(efficientnet_v2, S, resolution=384),
    "efficientnet_v2_m": partial(efficientnet_v2, M),
    "efficientnet_v2_l": partial(efficientnet_v2, L),
}
