"""ShuffleNetV2 (Ma et al., arXiv:1807.11164, Table 5 and Figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from costmodel.quantities import Count

from ._blocks import pooled, square
from ._feature_map import FeatureMap, Ledger
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


def unit_body(x: FeatureMap, name: str, c_out: Count, stride: int) -> FeatureMap:
    """1x1, depthwise 3x3, 1x1."""
    y = x.conv_norm(f"{name}.conv1", c_out, act="relu")
    y = y.conv_norm(f"{name}.depthwise", c_out, 3, stride=stride, groups=c_out)
    return y.conv_norm(f"{name}.conv2", c_out, act="relu")


def shuffle_unit(x: FeatureMap, name: str) -> FeatureMap:
    """Half of the channels pass by, half go through the body."""
    half = x.part(f"{name}/chunk", x.channels // 2)
    y = half.concat(f"{name}/cat", unit_body(half, f"{name}.body", half.channels, stride=1))
    return y.shuffle(f"{name}.shuffle", 2)


def downsampling_unit(x: FeatureMap, name: str, c_out: Count) -> FeatureMap:
    """Both branches see all channels."""
    side = x.conv_norm(f"{name}.branches.shortcut.depthwise", x.channels, 3, stride=2, groups=x.channels)
    side = side.conv_norm(f"{name}.branches.shortcut.conv", c_out // 2, act="relu")
    y = side.concat(f"{name}.branches/cat", unit_body(x, f"{name}.branches.body", c_out // 2, stride=2))
    return y.shuffle(f"{name}.shuffle", 2)


def shufflenet_v2(
    ledger: Ledger, *, width: Multiplier = 1.0, resolution: Count = 224, num_classes: Count = 1000
) -> None:
    """A convolution, a pool, three stages of units, a 1x1, a pool and a classifier."""
    *stage_widths, head = widths_at(width)
    x = square(ledger, resolution).conv_norm("conv1", STEM_WIDTH, 3, stride=2, act="relu")
    x = x.max_pool("maxpool", 3, 2, padding=1)
    for i, (depth, c_out) in enumerate(zip(DEPTHS, stage_widths, strict=True), start=2):
        x = downsampling_unit(x, f"stage{i}.0", c_out)
        for j in range(1, depth):
            x = shuffle_unit(x, f"stage{i}.{j}")
    pooled(x.conv_norm("conv5", head, act="relu")).linear("fc", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {"shufflenet_v2": shufflenet_v2}
