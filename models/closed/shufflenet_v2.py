"""ShuffleNetV2 (Ma et al., arXiv:1807.11164, Table 5 and Figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from costmodel.formulas.efficient_blocks import shuffle_unit_v2_on
from costmodel.formulas.feature_map import FeatureMap, Walk
from costmodel.quantities import Count

from ._blocks import pooled, square, within
from ._rounding import Multiplier, least

STEM_WIDTH = 24

TABLE_5 = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
"""Output channels of stages 2, 3 and 4 and of conv5, by width."""

DEPTHS = (4, 8, 4)
"""Units in stages 2, 3 and 4; the first of each has stride 2."""


def widths_at(width: Multiplier) -> tuple[Count, ...]:
    """The table's row for a width; for an array of widths, an array in each column."""
    if least(sum(width == w for w in TABLE_5)) < 1:
        valid = ", ".join(f"{w:g}" for w in TABLE_5)
        raise ValueError(f"shufflenet_v2 has no width={width}; Table 5 of the paper has widths {valid}")
    return tuple(
        sum((width == w) * channels for w, channels in zip(TABLE_5, column, strict=True))
        for column in zip(*TABLE_5.values(), strict=True)
    )


def shuffle_unit(x: FeatureMap, name: str) -> FeatureMap:
    """Half of the channels pass by, half go through the body."""
    body = {"reduce": ".body.conv1", "depthwise": ".body.depthwise", "expand": ".body.conv2"}
    names = within(name, **body, split="/chunk", concat="/cat")
    return shuffle_unit_v2_on(x, x.channels, stride=1, act="relu", names=names)


def downsampling_unit(x: FeatureMap, name: str, c_out: Count) -> FeatureMap:
    """Both branches see all channels."""
    names = within(
        name,
        reduce=".branches.body.conv1",
        depthwise=".branches.body.depthwise",
        expand=".branches.body.conv2",
        side_depthwise=".branches.shortcut.depthwise",
        side_pointwise=".branches.shortcut.conv",
        concat=".branches/cat",
    )
    return shuffle_unit_v2_on(x, c_out, stride=2, act="relu", names=names)


def shufflenet_v2(walk: Walk, *, width: Multiplier = 1.0, resolution: Count = 224, num_classes: Count = 1000) -> None:
    """A convolution, a pool, three stages of units, a 1x1, a pool and a classifier."""
    *stage_widths, head = widths_at(width)
    x = square(walk, resolution).conv_norm_act("conv1", STEM_WIDTH, 3, stride=2, act="relu")
    x = x.max_pool("maxpool", 3, 2, padding=1)
    for i, (depth, c_out) in enumerate(zip(DEPTHS, stage_widths, strict=True), start=2):
        x = downsampling_unit(x, f"stage{i}.0", c_out)
        for j in range(1, depth):
            x = shuffle_unit(x, f"stage{i}.{j}")
    pooled(x.conv_norm_act("conv5", head, act="relu")).linear("fc", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {"shufflenet_v2": shufflenet_v2}
