"""GhostNet (Han et al., arXiv:1911.11907, Table 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._blocks import Activation, ConvNormAct, Network, Residual, SqueezeExcitation, named
from .closed._rounding import make_divisible
from .closed.ghostnet import CHEAP_KERNEL, DIVISOR, HEAD_WIDTH, HIDDEN, RATIO, STEM_WIDTH, TABLE_1, GBneck


class GhostModule(nn.Module):
    """A 1x1 to ceil(c_out / ratio) maps, cheap ones made from each, all joined and cut to c_out.

    x is (n, c_in, h, w), y is (n, c_out, h, w). Source: arXiv:1911.11907, section 3.1 and the code of note 001.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        ratio: int = RATIO,
        cheap_kernel: int = CHEAP_KERNEL,
        act: Activation | None = nn.ReLU,
    ) -> None:
        super().__init__()
        primary = -(-c_out // ratio)
        self.c_out = c_out
        self.primary = ConvNormAct(c_in, primary, 1, act=act)
        self.cheap = ConvNormAct(primary, primary * (ratio - 1), cheap_kernel, groups=primary, act=act)

    def forward(self, x: Tensor) -> Tensor:
        primary = self.primary(x)
        return torch.cat([primary, self.cheap(primary)], dim=1)[:, : self.c_out]


def depthwise_conv(channels: int, kernel: int, stride: int) -> ConvNormAct:
    """One filter per channel, and batch norm, without activation."""
    return ConvNormAct(channels, channels, kernel, stride=stride, groups=channels, act=None)


def ghost_bottleneck(c_in: int, expanded: int, c_out: int, row: GBneck) -> Residual:
    """Ghost module up, a depthwise convolution where the stride is 2, SE, Ghost module down (linear), a shortcut.

    x is (n, c_in, h, w), y is (n, c_out, ceil(h / stride), ceil(w / stride)). Source: arXiv:1911.11907, Figure 3.
    """
    kernel, stride = row.kernel, row.stride
    body = named(
        ghost1=GhostModule(c_in, expanded),
        depthwise=depthwise_conv(expanded, kernel, stride) if stride > 1 else None,
        se=SqueezeExcitation(expanded, make_divisible(expanded / 4, DIVISOR), gate=nn.Hardsigmoid) if row.se else None,
        ghost2=GhostModule(expanded, c_out, act=None),
    )
    if stride == 1 and c_in == c_out:
        return Residual(body)
    shortcut = named(
        depthwise=depthwise_conv(c_in, kernel, stride),
        pointwise=ConvNormAct(c_in, c_out, 1, act=None),
    )
    return Residual(body, shortcut=shortcut)


class GhostNet(Network):
    """x (n, 3, h, w) to logits (n, num_classes)."""

    def __init__(self, *, width: float, num_classes: int, resolution: int) -> None:
        c_in = make_divisible(STEM_WIDTH * width, DIVISOR)
        features = nn.Sequential(ConvNormAct(3, c_in, 3, stride=2))
        for row in TABLE_1:
            c_out = make_divisible(row.c_out * width, DIVISOR)
            features.append(ghost_bottleneck(c_in, make_divisible(row.expanded * width, DIVISOR), c_out, row))
            c_in = c_out
        head = make_divisible(HEAD_WIDTH * width, DIVISOR)
        features.append(ConvNormAct(c_in, head, 1))
        stages = {
            "features": features,
            "avgpool": nn.AdaptiveAvgPool2d(1),
            "conv_head": named(conv=nn.Conv2d(head, HIDDEN, 1), relu=nn.ReLU(inplace=True)),
            "flatten": nn.Flatten(),
            "classifier": named(dropout=nn.Dropout(0.2), fc=nn.Linear(HIDDEN, num_classes)),
        }
        super().__init__(stages, (1, 3, resolution, resolution))


def ghostnet(*, width: float = 1.0, resolution: int = 224, num_classes: int = 1000) -> GhostNet:
    """GhostNet for x (n, 3, resolution, resolution).

    Source: Han et al., arXiv:1911.11907, Table 1; `width` is the paper's alpha (0.5, 1 and 1.3). Parameters and MACs
    equal timm's `ghostnet_050`, `ghostnet_100` and `ghostnet_130`. The gate is timm's and the authors' hard sigmoid;
    note 001 clamps to [0, 1] without it, and has linear layers for the SE's 1x1 convolutions: the costs are the same.
    """
    return GhostNet(width=width, num_classes=num_classes, resolution=resolution)
