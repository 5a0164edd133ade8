"""EfficientNetV2 S, M and L (Tan & Le, arXiv:2104.00298, Table 4)."""

from __future__ import annotations

from functools import partial

from torch import nn

from ._blocks import ConvNormAct, SkipSequential
from .closed._rounding import make_divisible
from .closed.efficientnet_v2 import EPS, HEAD_WIDTH, L, M, S, Stage
from .efficientnet import BuiltStage, EfficientNet, mbconv


def fused_mbconv(c_in: int, c_out: int, *, expansion: int, stride: int, eps: float) -> SkipSequential:
    """MBConv with its first 1x1 and its depthwise merged into one dense 3x3; without expansion, that 3x3 alone.

    Source: arXiv:2104.00298, Figure 2. x is (n, c_in, h, w), y is (n, c_out, ceil(h / stride), ceil(w / stride)).
    """
    skip = stride == 1 and c_in == c_out
    if expansion == 1:
        return SkipSequential({"conv": ConvNormAct(c_in, c_out, 3, stride=stride, act=nn.SiLU, eps=eps)}, skip=skip)
    expanded = make_divisible(c_in * expansion)
    modules = {
        "expand": ConvNormAct(c_in, expanded, 3, stride=stride, act=nn.SiLU, eps=eps),
        "project": ConvNormAct(expanded, c_out, 1, act=None, eps=eps),
    }
    return SkipSequential(modules, skip=skip)


def build(table: tuple[Stage, ...], *, dropout: float, num_classes: int, resolution: int) -> EfficientNet:
    """The network of one table; its first convolution has as many channels as its first stage."""
    stages = [
        BuiltStage(
            partial(fused_mbconv, expansion=row.expansion)
            if row.fused
            else partial(mbconv, expansion=row.expansion, kernel=3),
            row.c_out,
            row.stride,
            row.depth,
        )
        for row in table
    ]
    return EfficientNet(
        table[0].c_out,
        stages,
        HEAD_WIDTH,
        dropout=dropout,
        eps=EPS,
        num_classes=num_classes,
        resolution=resolution,
    )


def efficientnet_v2_s(*, num_classes: int = 1000, resolution: int = 384) -> EfficientNet:
    """EfficientNetV2-S for x (n, 3, resolution, resolution); 384 is the paper's size at inference.

    Source: Tan & Le, arXiv:2104.00298, Table 4. Parameters and MACs equal torchvision's `efficientnet_v2_s`;
    stochastic depth, which has neither, is left out.
    """
    return build(S, dropout=0.2, num_classes=num_classes, resolution=resolution)


def efficientnet_v2_m(*, num_classes: int = 1000, resolution: int = 480) -> EfficientNet:
    """EfficientNetV2-M (480x480 at inference); as `efficientnet_v2_s` otherwise."""
    return build(M, dropout=0.3, num_classes=num_classes, resolution=resolution)


def efficientnet_v2_l(*, num_classes: int = 1000, resolution: int = 480) -> EfficientNet:
    """EfficientNetV2-L (480x480 at inference); as `efficientnet_v2_s` otherwise."""
    return build(L, dropout=0.4, num_classes=num_classes, resolution=resolution)
