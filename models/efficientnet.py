"""EfficientNet-B0 to B7 (Tan & Le, arXiv:1905.11946, Table 1), and the network that EfficientNetV2 shares with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from ._blocks import ConvNormAct, InvertedResidual, Network, SqueezeExcitation, named, pooled_head
from .closed._rounding import make_divisible
from .closed.efficientnet import HEAD_EXPANSION, SCALES, STEM_WIDTH, TABLE_1


def mbconv(c_in: int, c_out: int, *, expansion: int, kernel: int, stride: int, eps: float) -> InvertedResidual:
    """An inverted residual with SE, whose inner layer has a quarter of the channels that *enter the block*.

    x is (n, c_in, h, w), y is (n, c_out, ceil(h / stride), ceil(w / stride)).
    """
    expanded = make_divisible(c_in * expansion)
    se = SqueezeExcitation(expanded, max(1, c_in // 4), act=nn.SiLU)
    return InvertedResidual(c_in, expanded, c_out, kernel=kernel, stride=stride, act=nn.SiLU, se=se, eps=eps)


@dataclass(frozen=True)
class BuiltStage:
    """A stage as the network needs it: how to build a block from (c_in, c_out, stride), and the table's figures."""

    block: Callable[..., nn.Module]
    c_out: int
    stride: int
    depth: int


class EfficientNet(Network):
    """x (n, 3, h, w) to logits (n, num_classes)."""

    def __init__(
        self,
        stem_width: int,
        stages: Sequence[BuiltStage],
        head_width: int,
        *,
        dropout: float,
        eps: float,
        num_classes: int,
        resolution: int,
    ) -> None:
        c_in = stem_width
        features = nn.Sequential(ConvNormAct(3, c_in, 3, stride=2, act=nn.SiLU, eps=eps))
        for stage in stages:
            blocks = nn.Sequential()
            for i in range(stage.depth):
                blocks.append(stage.block(c_in, stage.c_out, stride=stage.stride if i == 0 else 1, eps=eps))
                c_in = stage.c_out
            features.append(blocks)
        features.append(ConvNormAct(c_in, head_width, 1, act=nn.SiLU, eps=eps))
        classifier = named(dropout=nn.Dropout(dropout, inplace=True), fc=nn.Linear(head_width, num_classes))
        network = {"features": features, **pooled_head(classifier=classifier)}
        super().__init__(network, (1, 3, resolution, resolution))


def build(name: str, *, num_classes: int, resolution: int | None) -> EfficientNet:
    """B0 scaled: channels rounded to multiples of 8, depths rounded up."""
    scale = SCALES[name]
    stages = [
        BuiltStage(
            partial(mbconv, expansion=row.expansion, kernel=row.kernel),
            make_divisible(row.c_out * scale.width),
            row.stride,
            math.ceil(row.depth * scale.depth),
        )
        for row in TABLE_1
    ]
    return EfficientNet(
        make_divisible(STEM_WIDTH * scale.width),
        stages,
        HEAD_EXPANSION * stages[-1].c_out,
        dropout=scale.dropout,
        eps=scale.eps,
        num_classes=num_classes,
        resolution=scale.resolution if resolution is None else resolution,
    )


def efficientnet_b0(*, num_classes: int = 1000, resolution: int | None = None) -> EfficientNet:
    """EfficientNet-B0 for x (n, 3, resolution, resolution), by default the paper's resolution for the variant.

    Source: Tan & Le, arXiv:1905.11946, Table 1. Parameters and MACs equal torchvision's `efficientnet_b0`;
    stochastic depth, which has neither, is left out. The other seven are the same network under `SCALES`.
    """
    return build("efficientnet_b0", num_classes=num_classes, resolution=resolution)


def efficientnet_b1(*, num_classes: int = 1000, resolution: int | None = None) -> EfficientNet:
    """EfficientNet-B1 (240x240); as `efficientnet_b0` otherwise."""
    return build("efficientnet_b1", num_classes=num_classes, resolution=resolution)


def efficientnet_b2(*, num_classes: int = 1000, resolution: int | None = None) -> EfficientNet:
    """EfficientNet-B2 (260x260); as `efficientnet_b0` otherwise."""
    return build("efficientnet_b2", num_classes=num_classes, resolution=resolution)


def efficientnet_b3(*, num_classes: int = 1000, resolution: int | None = None) -> EfficientNet:
    """EfficientNet-B3 (300x300); as `efficientnet_b0` otherwise."""
    return build("efficientnet_b3", num_classes=num_classes, resolution=resolution)


def efficientnet_b4(*, num_classes: int = 1000, resolution: int | None = None) -> EfficientNet:
    """EfficientNet-B4 (380x380); as `efficientnet_b0` otherwise."""
    return build("efficientnet_b4", num_classes=num_classes, resolution=resolution)


def efficientnet_b5(*, num_classes: int = 1000, resolution: int | None = None) -> EfficientNet:
    """EfficientNet-B5 (456x456); as `efficientnet_b0` otherwise."""
    return build("efficientnet_b5", num_classes=num_classes, resolution=resolution)


def efficientnet_b6(*, num_classes: int = 1000, resolution: int | None = None) -> EfficientNet:
    """EfficientNet-B6 (528x528); as `efficientnet_b0` otherwise."""
    return build("efficientnet_b6", num_classes=num_classes, resolution=resolution)


def efficientnet_b7(*, num_classes: int = 1000, resolution: int | None = None) -> EfficientNet:
    """EfficientNet-B7 (600x600); as `efficientnet_b0` otherwise."""
    return build("efficientnet_b7", num_classes=num_classes, resolution=resolution)
