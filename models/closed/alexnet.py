"""AlexNet, in the single-tower layout of "One weird trick" (Krizhevsky, arXiv:1404.5997, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from costmodel.formulas.feature_map import Walk
from costmodel.quantities import Count

from ._blocks import pooled, square


@dataclass(frozen=True)
class Conv:
    """A convolution with bias and ReLU, and whether a 3x3 max pool of stride 2 follows it."""

    c_out: int
    kernel: int
    stride: int
    padding: int
    pool: bool


CONVS = (
    Conv(64, 11, 4, 2, pool=True),
    Conv(192, 5, 1, 2, pool=True),
    Conv(384, 3, 1, 1, pool=False),
    Conv(256, 3, 1, 1, pool=False),
    Conv(256, 3, 1, 1, pool=True),
)
FEATURE_SIZE = 6
HIDDEN = 4096


def alexnet(walk: Walk, *, num_classes: Count = 1000, resolution: Count = 224) -> None:
    """Convolutions and pools, then three fully connected layers."""
    x = square(walk, resolution)
    for i, row in enumerate(CONVS, start=1):
        x = x.conv(f"features.conv{i}", row.c_out, row.kernel, stride=row.stride, padding=row.padding, bias=True).act(
            f"features.relu{i}", "relu"
        )
        if row.pool:
            x = x.max_pool(f"features.pool{i}", 3, 2)
    x = pooled(x, FEATURE_SIZE)
    for i in (6, 7):
        x = x.dropout(f"classifier.drop{i}").linear(f"classifier.fc{i}", HIDDEN).act(f"classifier.relu{i}", "relu")
    x.linear("classifier.fc8", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {"alexnet": alexnet}
