"""ShuffleNet (Zhang et al., arXiv:1707.01083, Table 1 and Figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from costmodel.formulas.efficient_blocks import shuffle_unit_v1_on
from costmodel.formulas.feature_map import Names, Walk
from costmodel.quantities import Count

from ._blocks import pooled, square, within
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


def places(name: str, stride: int) -> Names:
    """Where a unit's layers lie in its module: those of a unit that downsamples, in its branches."""
    inside, out = ("", ".act") if stride == 1 else (".branches", ".relu")
    body = {layer: f"{inside}.body.{layer}" for layer in ("reduce", "shuffle", "depthwise", "expand")}
    return within(name, **body, add="/add_", shortcut=f"{inside}.pool", concat=f"{inside}/cat", out_relu=out)


def shufflenet_v1(
    walk: Walk,
    *,
    groups: int = 3,
    width: Multiplier = 1.0,
    resolution: Count = 224,
    num_classes: Count = 1000,
) -> None:
    """A convolution, a pool, three stages of units, a pool and a classifier."""
    stage_2 = stage_2_width(groups)
    x = square(walk, resolution).conv_norm_act(
        "conv1", make_divisible(STEM_WIDTH * width, groups), 3, stride=2, act="relu"
    )
    x = x.max_pool("maxpool", 3, 2, padding=1)
    for i, depth in enumerate(DEPTHS):
        c_out = make_divisible(stage_2 * 2**i * width, groups)
        for j in range(depth):
            stride = 2 if j == 0 else 1
            x = shuffle_unit_v1_on(
                x,
                make_divisible(c_out / BOTTLENECK_RATIO, groups),
                c_out,
                groups=groups,
                first_groups=1 if i == j == 0 else groups,
                shuffles=groups > 1,
                stride=stride,
                act="relu",
                names=places(f"stage{i + 2}.{j}", stride),
            )
    pooled(x).linear("fc", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {"shufflenet_v1": shufflenet_v1}
