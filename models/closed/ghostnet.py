"""GhostNet (Han et al., arXiv:1911.11907, Table 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from costmodel.formulas.efficient_blocks import ghost_module_on
from costmodel.formulas.feature_map import FeatureMap, Walk
from costmodel.quantities import Count

from ._blocks import square, squeeze_excitation, within
from ._rounding import Multiplier, make_divisible


@dataclass(frozen=True)
class GBneck:
    """A line of Table 1: a Ghost bottleneck's kernel, expanded and output channels, SE, and stride."""

    kernel: int
    expanded: int
    c_out: int
    se: bool
    stride: int


STEM_WIDTH = 16

TABLE_1 = (
    GBneck(3, 16, 16, se=False, stride=1),
    GBneck(3, 48, 24, se=False, stride=2),
    GBneck(3, 72, 24, se=False, stride=1),
    GBneck(5, 72, 40, se=True, stride=2),
    GBneck(5, 120, 40, se=True, stride=1),
    GBneck(3, 240, 80, se=False, stride=2),
    GBneck(3, 200, 80, se=False, stride=1),
    GBneck(3, 184, 80, se=False, stride=1),
    GBneck(3, 184, 80, se=False, stride=1),
    GBneck(3, 480, 112, se=True, stride=1),
    GBneck(3, 672, 112, se=True, stride=1),
    GBneck(5, 672, 160, se=True, stride=2),
    GBneck(5, 960, 160, se=False, stride=1),
    GBneck(5, 960, 160, se=True, stride=1),
    GBneck(5, 960, 160, se=False, stride=1),
    GBneck(5, 960, 160, se=True, stride=1),
)

HEAD_WIDTH = 960
HIDDEN = 1280
"""Channels of the 1x1 after the global pooling, at every width."""

DIVISOR = 4
"""All channel counts, the SE's inner ones too, are rounded to multiples of 4."""

RATIO = 2
"""The paper's s: a Ghost module makes 1/s of its maps with a 1x1, and the others from them."""

CHEAP_KERNEL = 3
"""The paper's d: the kernel of the depthwise convolution that makes the others."""


def ghost_module(x: FeatureMap, name: str, c_out: Count, *, act: str | None = None) -> FeatureMap:
    """A Ghost module with the paper's ratio and kernel; what it slices torch calls an alias."""
    names = within(name, concat="/cat", slice="/alias")
    return ghost_module_on(x, c_out, ratio=RATIO, dw_kernel=CHEAP_KERNEL, act=act, names=names)


def gated(x: FeatureMap, name: str) -> FeatureMap:
    """A squeeze-excitation, whose inner layer has a quarter of the channels."""
    return squeeze_excitation(x, name, make_divisible(x.channels / 4, DIVISOR), gate="hardsigmoid")


def ghost_bottleneck(x: FeatureMap, name: str, expanded: Count, c_out: Count, row: GBneck) -> FeatureMap:
    """Ghost module up, a depthwise convolution where the stride is 2, gate, Ghost module down, and the shortcut."""
    kernel, stride = row.kernel, row.stride
    y = ghost_module(x, f"{name}.body.ghost1", expanded, act="relu")
    if stride > 1:
        y = y.conv_norm_act(f"{name}.body.depthwise", expanded, kernel, stride=stride, groups=expanded)
    if row.se:
        y = gated(y, f"{name}.body.se")
    y = ghost_module(y, f"{name}.body.ghost2", c_out)
    changes = x.channels != c_out if stride == 1 else True
    side = x.only_where(changes, that="channels change")
    side = side.conv_norm_act(f"{name}.shortcut.depthwise", x.channels, kernel, stride=stride, groups=x.channels)
    side = side.conv_norm_act(f"{name}.shortcut.pointwise", c_out).everywhere()
    return y.add(f"{name}/add_", side)


def ghostnet(walk: Walk, *, width: Multiplier = 1.0, resolution: Count = 224, num_classes: Count = 1000) -> None:
    """A convolution, the Ghost bottlenecks of Table 1, a 1x1, a pool, a 1x1 on what it leaves, and a classifier."""
    x = square(walk, resolution)
    x = x.conv_norm_act("features.0", make_divisible(STEM_WIDTH * width, DIVISOR), 3, stride=2, act="relu")
    for i, row in enumerate(TABLE_1, start=1):
        expanded = make_divisible(row.expanded * width, DIVISOR)
        x = ghost_bottleneck(x, f"features.{i}", expanded, make_divisible(row.c_out * width, DIVISOR), row)
    head = make_divisible(HEAD_WIDTH * width, DIVISOR)
    x = x.conv_norm_act(f"features.{len(TABLE_1) + 1}", head, act="relu").adaptive_avg_pool("avgpool")
    x = x.conv("conv_head.conv", HIDDEN, bias=True).act("conv_head.relu", "relu").flatten("flatten")
    x.dropout("classifier.dropout").linear("classifier.fc", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {"ghostnet": ghostnet}
