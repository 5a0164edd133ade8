"""ShuffleNet (Zhang et al., arXiv:1707.01083, Table 1 and Figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from costmodel.quantities import Count

from ._blocks import pooled, square
from ._feature_map import FeatureMap, Ledger
from ._rounding import Multiplier, make_divisible

STEM_WIDTH = 24

STAGE_2_WIDTHS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
"""Output channels of stage 2 by the number of groups; stages 3 and 4 double them."""

DEPTHS = (4, 8, 4)
"""Units in stages 2, 3 and 4; the first of each has stride 2."""

BOTTLENECK_RATIO = 4
"""A unit's bottleneck has a quarter of the unit's output channels."""


def stage_2_width(groups: int) -> int:
    """The table's entry for a number of groups."""
    if groups not in STAGE_2_WIDTHS:
        valid = ", ".join(str(g) for g in STAGE_2_WIDTHS)
        raise ValueError(f"shufflenet_v1 has no groups={groups}; Table 1 of the paper has groups {valid}")
    return STAGE_2_WIDTHS[groups]


def shuffle_unit(x: FeatureMap, name: str, c_out: Count, *, stride: int, groups: int, first_groups: int) -> FeatureMap:
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1; added to the input, or joined to its average at stride 2."""
    joins = stride != 1
    body = f"{name}.branches.body" if joins else f"{name}.body"
    pool = x.avg_pool(f"{name}.branches.pool", 3, stride, padding=1) if joins else x
    inner = make_divisible(c_out / BOTTLENECK_RATIO, groups)
    y = x.conv_norm(f"{body}.reduce", inner, groups=first_groups, act="relu")
    if groups > 1:
        y = y.shuffle(f"{body}.shuffle", groups)
    y = y.conv_norm(f"{body}.depthwise", inner, 3, stride=stride, groups=inner)
    y = y.conv_norm(f"{body}.expand", c_out - x.channels if joins else c_out, groups=groups)
    if joins:
        return pool.concat(f"{name}.branches/cat", y).act(f"{name}.relu", "relu")
    return y.add(f"{name}/add_", x).act(f"{name}.act", "relu")


def shufflenet_v1(
    ledger: Ledger,
    *,
    groups: int = 3,
    width: Multiplier = 1.0,
    resolution: Count = 224,
    num_classes: Count = 1000,
) -> None:
    """A convolution, a pool, three stages of units, a pool and a classifier."""
    stage_2 = stage_2_width(groups)
    x = square(ledger, resolution).conv_norm(
        "conv1", make_divisible(STEM_WIDTH * width, groups), 3, stride=2, act="relu"
    )
    x = x.max_pool("maxpool", 3, 2, padding=1)
    for i, depth in enumerate(DEPTHS):
        c_out = make_divisible(stage_2 * 2**i * width, groups)
        for j in range(depth):
            x = shuffle_unit(
                x,
                f"stage{i + 2}.{j}",
                c_out,
                stride=2 if j == 0 else 1,
                groups=groups,
                first_groups=1 if i == j == 0 else groups,
            )
    pooled(x).linear("fc", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {"shufflenet_v1": shufflenet_v1}
