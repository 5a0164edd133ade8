"""MobileNetV1 (Howard et al., arXiv:1704.04861, Table 1), and the small one that note 002 trains on CIFAR-10."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from costmodel.formulas.blocks import depthwise_separable_on
from costmodel.formulas.feature_map import FeatureMap, Walk
from costmodel.quantities import Count

from ._blocks import pooled, square, within
from ._rounding import Multiplier, make_divisible


@dataclass(frozen=True)
class Separable:
    """A depthwise 3x3 of this stride and a 1x1 to c_out, each with batch norm and ReLU."""

    c_out: int
    stride: int


STEM_WIDTH = 32

TABLE_1 = (
    Separable(64, 1),
    Separable(128, 2),
    Separable(128, 1),
    Separable(256, 2),
    Separable(256, 1),
    Separable(512, 2),
    *(Separable(512, 1) for _ in range(5)),
    Separable(1024, 2),
    Separable(1024, 1),
)
"""After a 3x3 convolution of stride 2. Table 1 prints s2 for the last depthwise too; its sizes (7 to 7) say s1."""

CIFAR = (
    Separable(32, 1),
    Separable(64, 2),
    Separable(64, 1),
    Separable(128, 2),
    Separable(128, 1),
    Separable(256, 2),
    Separable(256, 1),
    Separable(512, 2),
)
"""After a 3x3 convolution of stride 1, with bias. Source: the code of note 002."""


def separable(x: FeatureMap, name: str, c_out: Count, stride: int) -> FeatureMap:
    """A depthwise 3x3 and a 1x1, each with batch norm and ReLU."""
    return depthwise_separable_on(x, c_out, stride=stride, act="relu", names=within(name))


def mobilenet_v1(walk: Walk, *, width: Multiplier = 1.0, resolution: Count = 224, num_classes: Count = 1000) -> None:
    """A convolution, the separable ones of Table 1, a pool and a classifier."""
    x = square(walk, resolution)
    x = x.conv_norm_act("features.0", make_divisible(STEM_WIDTH * width), 3, stride=2, act="relu")
    for i, row in enumerate(TABLE_1, start=1):
        x = separable(x, f"features.{i}", make_divisible(row.c_out * width), row.stride)
    pooled(x).linear("fc", num_classes)


def mobilenet_v1_cifar(walk: Walk, *, width: Multiplier = 1.0, num_classes: Count = 10, resolution: Count = 32) -> None:
    """A convolution of stride 1, eight separable ones, a 2x2 pool and a classifier for what is then one position."""
    x = square(walk, resolution)
    x = x.conv_norm_act("features.0", make_divisible(STEM_WIDTH * width), 3, bias=True, act="relu")
    for i, row in enumerate(CIFAR, start=1):
        x = separable(x, f"features.{i}", make_divisible(row.c_out * width), row.stride)
    x.avg_pool("avgpool", 2, 2).flatten("flatten").linear("fc", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v1_cifar": mobilenet_v1_cifar,
}
