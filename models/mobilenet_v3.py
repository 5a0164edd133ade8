"""MobileNetV3 large and small (Howard et al., arXiv:1905.02244, Tables 1 and 2)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ._blocks import ConvNormAct, InvertedResidual, Network, SqueezeExcitation, named, pooled_head
from .closed._rounding import make_divisible
from .closed.mobilenet_v3 import EPS, HEAD_EXPANSION, LARGE, LARGE_HIDDEN, SMALL, SMALL_HIDDEN, STEM_WIDTH, Bneck


def bneck(c_in: int, c_out: int, row: Bneck, expansion: float) -> InvertedResidual:
    """One line of the table on c_in channels; the SE's inner layer has a quarter of the expanded ones, rounded to 8."""
    expanded = make_divisible(c_in * expansion)
    se = SqueezeExcitation(expanded, make_divisible(expanded // 4), gate=nn.Hardsigmoid) if row.se else None
    act = nn.Hardswish if row.hard_swish else nn.ReLU
    return InvertedResidual(c_in, expanded, c_out, kernel=row.kernel, stride=row.stride, act=act, se=se, eps=EPS)


class MobileNetV3(Network):
    """x (n, 3, h, w) to logits (n, num_classes)."""

    def __init__(self, rows: Sequence[Bneck], hidden: int, *, width: float, num_classes: int, resolution: int) -> None:
        c_in = make_divisible(STEM_WIDTH * width)
        features = nn.Sequential(ConvNormAct(3, c_in, 3, stride=2, act=nn.Hardswish, eps=EPS))
        table_c_in = STEM_WIDTH
        for row in rows:
            c_out = make_divisible(row.c_out * width)
            features.append(bneck(c_in, c_out, row, row.expanded / table_c_in))
            c_in, table_c_in = c_out, row.c_out
        head = c_in * HEAD_EXPANSION
        features.append(ConvNormAct(c_in, head, 1, act=nn.Hardswish, eps=EPS))
        hidden = make_divisible(hidden * max(1.0, width))
        classifier = named(
            fc1=nn.Linear(head, hidden),
            act=nn.Hardswish(inplace=True),
            dropout=nn.Dropout(0.2),
            fc2=nn.Linear(hidden, num_classes),
        )
        stages = {"features": features, **pooled_head(classifier=classifier)}
        super().__init__(stages, (1, 3, resolution, resolution))


def mobilenet_v3_large(*, width: float = 1.0, resolution: int = 224, num_classes: int = 1000) -> MobileNetV3:
    """MobileNetV3-Large for x (n, 3, resolution, resolution).

    Source: Howard et al., arXiv:1905.02244, Table 1. Parameters and MACs equal torchvision's `mobilenet_v3_large` at
    width 1, and timm's `mobilenetv3_large_075` at 0.75. Other widths follow timm and the authors' code, which scale
    input and output channels, keep the table's ratio of expanded to input channels, and leave the classifier's hidden
    layer at 1280 below width 1; torchvision's `width_mult` scales expanded channels and hidden layer by themselves.
    """
    return MobileNetV3(LARGE, LARGE_HIDDEN, width=width, num_classes=num_classes, resolution=resolution)


def mobilenet_v3_small(*, width: float = 1.0, resolution: int = 224, num_classes: int = 1000) -> MobileNetV3:
    """MobileNetV3-Small. Source: arXiv:1905.02244, Table 2; as `mobilenet_v3_large` otherwise (hidden layer: 1024)."""
    return MobileNetV3(SMALL, SMALL_HIDDEN, width=width, num_classes=num_classes, resolution=resolution)
