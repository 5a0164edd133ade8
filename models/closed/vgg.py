"""VGG with 11, 13, 16 and 19 weight layers (Simonyan & Zisserman, arXiv:1409.1556, Table 1), without batch norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from costmodel.formulas.feature_map import Walk
from costmodel.quantities import Count

from ._blocks import pooled, square

STAGE_WIDTHS = (64, 128, 256, 512, 512)
"""Channels of the five stages; each ends in a 2x2 max pool of stride 2."""

DEPTHS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""3x3 convolutions per stage: columns A, B, D and E of Table 1."""

FEATURE_SIZE = 7
HIDDEN = 4096


def vgg(depths: tuple[int, ...], walk: Walk, *, num_classes: Count = 1000, resolution: Count = 224) -> None:
    """Stages of 3x3 convolutions, each ended by a pool, then three fully connected layers."""
    x = square(walk, resolution)
    for stage, (depth, c_out) in enumerate(zip(depths, STAGE_WIDTHS, strict=True), start=1):
        for i in range(1, depth + 1):
            x = x.conv(f"features.conv{stage}_{i}", c_out, 3, bias=True).act(f"features.relu{stage}_{i}", "relu")
        x = x.max_pool(f"features.pool{stage}", 2, 2)
    x = pooled(x, FEATURE_SIZE)
    for i in (6, 7):
        x = x.linear(f"classifier.fc{i}", HIDDEN).act(f"classifier.relu{i}", "relu").dropout(f"classifier.drop{i}")
    x.linear("classifier.fc8", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {name: partial(vgg, depths) for name, depths in DEPTHS.items()}
