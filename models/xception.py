"""Xception (Chollet, arXiv:1610.02357, Figure 5)."""

from __future__ import annotations

from torch import nn

from ._blocks import ConvNormAct, Network, Residual, named, pooled_head
from .closed.xception import EXIT, FIGURE_5, STEM, Block


def separable_conv(c_in: int, c_out: int) -> nn.Sequential:
    """3x3 depthwise, then 1x1, nothing between them, then batch norm: (n, c_in, h, w) to (n, c_out, h, w)."""
    return named(
        depthwise=nn.Conv2d(c_in, c_in, 3, padding=1, groups=c_in, bias=False),
        pointwise=nn.Conv2d(c_in, c_out, 1, bias=False),
        norm=nn.BatchNorm2d(c_out),
    )


def xception_block(c_in: int, row: Block, *, relu_first: bool) -> Residual:
    """ReLU and separable convolution in turn, then a max pool where the stride is 2; a 1x1 shortcut or the identity.

    x is (n, c_in, h, w), y is (n, row.widths[-1], ceil(h / stride), ceil(w / stride)).
    """
    body = nn.Sequential()
    channels = c_in
    for i, width in enumerate(row.widths, start=1):
        if i > 1 or relu_first:
            # The first ReLU reads the block's input, which the shortcut still needs: not in place.
            body.add_module(f"relu{i}", nn.ReLU(inplace=i > 1))
        body.add_module(f"conv{i}", separable_conv(channels, width))
        channels = width
    if row.stride > 1:
        body.add_module("pool", nn.MaxPool2d(3, row.stride, padding=1))
    changes_shape = row.stride > 1 or channels != c_in
    shortcut = ConvNormAct(c_in, channels, 1, stride=row.stride, act=None) if changes_shape else None
    return Residual(body, shortcut=shortcut)


class Xception(Network):
    """x (n, 3, h, w) to logits (n, num_classes)."""

    def __init__(self, *, num_classes: int, resolution: int) -> None:
        stages: dict[str, nn.Module] = {
            "conv1": ConvNormAct(3, STEM[0], 3, stride=2, padding=0),
            "conv2": ConvNormAct(STEM[0], STEM[1], 3, padding=0),
        }
        c_in = STEM[1]
        for i, row in enumerate(FIGURE_5, start=1):
            stages[f"block{i}"] = xception_block(c_in, row, relu_first=i > 1)
            c_in = row.widths[-1]
        for i, width in enumerate(EXIT, start=3):
            stages[f"conv{i}"] = separable_conv(c_in, width)
            stages[f"relu{i}"] = nn.ReLU(inplace=True)
            c_in = width
        stages |= pooled_head(fc=nn.Linear(c_in, num_classes))
        super().__init__(stages, (1, 3, resolution, resolution))


def xception(*, num_classes: int = 1000, resolution: int = 299) -> Xception:
    """Xception for x (n, 3, resolution, resolution).

    Source: Chollet, arXiv:1610.02357, Figure 5; parameters and MACs equal timm's `legacy_xception`.
    """
    return Xception(num_classes=num_classes, resolution=resolution)
