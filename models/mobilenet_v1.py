"""MobileNetV1 (Howard et al., arXiv:1704.04861, Table 1), and the small one that note 002 trains on CIFAR-10."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ._blocks import ConvNormAct, Network, named
from .closed._rounding import make_divisible
from .closed.mobilenet_v1 import CIFAR, STEM_WIDTH, TABLE_1, Separable


def separable(c_in: int, row: Separable) -> nn.Sequential:
    """x (n, c_in, h, w) to y (n, row.c_out, ceil(h / stride), ceil(w / stride)). Source: arXiv:1704.04861, Figure 3."""
    return named(
        depthwise=ConvNormAct(c_in, c_in, 3, stride=row.stride, groups=c_in),
        pointwise=ConvNormAct(c_in, row.c_out, 1),
    )


class MobileNetV1(Network):
    """x (n, 3, h, w) to logits (n, num_classes): a first convolution, separable convolutions, a pool, a classifier."""

    def __init__(
        self, stem: ConvNormAct, rows: Sequence[Separable], pool: nn.Module, *, num_classes: int, resolution: int
    ) -> None:
        features = nn.Sequential(stem)
        c_in = stem.conv.out_channels
        for row in rows:
            features.append(separable(c_in, row))
            c_in = row.c_out
        stages = {"features": features, "avgpool": pool, "flatten": nn.Flatten(), "fc": nn.Linear(c_in, num_classes)}
        super().__init__(stages, (1, 3, resolution, resolution))


def _widened(rows: Sequence[Separable], width: float) -> list[Separable]:
    return [Separable(make_divisible(row.c_out * width), row.stride) for row in rows]


def mobilenet_v1(*, width: float = 1.0, resolution: int = 224, num_classes: int = 1000) -> MobileNetV1:
    """MobileNetV1 for x (n, 3, resolution, resolution).

    Source: Howard et al., arXiv:1704.04861, Table 1; `width` is the paper's alpha and `resolution` / 224 its rho.
    Channels are rounded to multiples of 8, which changes nothing at the paper's widths (1, 0.75, 0.5, 0.25).
    Parameters and MACs equal timm's `mobilenetv1_100`, which has ReLU6 for the paper's ReLU.
    """
    stem = ConvNormAct(3, make_divisible(STEM_WIDTH * width), 3, stride=2)
    return MobileNetV1(
        stem, _widened(TABLE_1, width), nn.AdaptiveAvgPool2d(1), num_classes=num_classes, resolution=resolution
    )


def mobilenet_v1_cifar(*, width: float = 1.0, num_classes: int = 10, resolution: int = 32) -> MobileNetV1:
    """The network of note 002 for x (n, 3, 32, 32), which the note calls MobileNet V1.

    It is not the paper's: eight separable convolutions instead of thirteen, of at most 512 channels, a first
    convolution of stride 1 with bias, and a 2x2 average pool, so that the input must be 32x32 (up to 47x47).
    `width` multiplies the channels, as the paper's alpha does; the note has only 1.
    """
    stem = ConvNormAct(3, make_divisible(STEM_WIDTH * width), 3, bias=True)
    return MobileNetV1(stem, _widened(CIFAR, width), nn.AvgPool2d(2), num_classes=num_classes, resolution=resolution)
