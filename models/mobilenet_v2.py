"""MobileNetV2 (Sandler et al., arXiv:1801.04381, Table 2)."""

from __future__ import annotations

from torch import nn

from ._blocks import ConvNormAct, InvertedResidual, Network, named, pooled_head
from .closed._rounding import make_divisible
from .closed.mobilenet_v2 import HEAD_WIDTH, STEM_WIDTH, TABLE_2


class MobileNetV2(Network):
    """x (n, 3, h, w) to logits (n, num_classes)."""

    def __init__(self, *, width: float, num_classes: int, resolution: int) -> None:
        c_in = make_divisible(STEM_WIDTH * width)
        features = nn.Sequential(ConvNormAct(3, c_in, 3, stride=2, act=nn.ReLU6))
        for stage in TABLE_2:
            c_out = make_divisible(stage.c * width)
            for i in range(stage.n):
                stride = stage.s if i == 0 else 1
                features.append(InvertedResidual(c_in, c_in * stage.t, c_out, kernel=3, stride=stride, act=nn.ReLU6))
                c_in = c_out
        head = make_divisible(HEAD_WIDTH * max(1.0, width))
        features.append(ConvNormAct(c_in, head, 1, act=nn.ReLU6))
        classifier = named(dropout=nn.Dropout(0.2), fc=nn.Linear(head, num_classes))
        stages = {"features": features, **pooled_head(classifier=classifier)}
        super().__init__(stages, (1, 3, resolution, resolution))


def mobilenet_v2(*, width: float = 1.0, resolution: int = 224, num_classes: int = 1000) -> MobileNetV2:
    """MobileNetV2 for x (n, 3, resolution, resolution).

    Source: Sandler et al., arXiv:1801.04381, Table 2; `width` is the paper's width multiplier, rounded as in the
    authors' code. Parameters and MACs equal torchvision's `mobilenet_v2` (its `width_mult`) at every width.
    """
    return MobileNetV2(width=width, num_classes=num_classes, resolution=resolution)
