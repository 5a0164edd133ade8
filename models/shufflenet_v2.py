"""ShuffleNetV2 (Ma et al., arXiv:1807.11164, Table 5 and Figure 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._blocks import Branches, ChannelShuffle, ConvNormAct, Network, named, pooled_head
from .closed.shufflenet_v2 import DEPTHS, STEM_WIDTH, widths_at


def unit_body(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    """1x1, depthwise 3x3, 1x1; the depthwise has no activation."""
    return named(
        conv1=ConvNormAct(c_in, c_out, 1),
        depthwise=ConvNormAct(c_out, c_out, 3, stride=stride, groups=c_out, act=None),
        conv2=ConvNormAct(c_out, c_out, 1),
    )


class ShuffleUnit(nn.Module):
    """Half of the channels pass by, half go through the body: x and y are (n, channels, h, w). Figure 3(c)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = unit_body(channels // 2, channels // 2, stride=1)
        self.shuffle = ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        passing, entering = x.chunk(2, dim=1)
        y: Tensor = self.shuffle(torch.cat([passing, self.body(entering)], dim=1))
        return y


def downsampling_unit(c_in: int, c_out: int) -> nn.Sequential:
    """Both branches see all of x (n, c_in, h, w); y is (n, c_out, ceil(h / 2), ceil(w / 2)). Figure 3(d)."""
    shortcut = named(
        depthwise=ConvNormAct(c_in, c_in, 3, stride=2, groups=c_in, act=None),
        conv=ConvNormAct(c_in, c_out // 2, 1),
    )
    body = unit_body(c_in, c_out // 2, stride=2)
    return named(branches=Branches(shortcut=shortcut, body=body), shuffle=ChannelShuffle(2))


class ShuffleNetV2(Network):
    """x (n, 3, h, w) to logits (n, num_classes)."""

    def __init__(self, *, width: float, num_classes: int, resolution: int) -> None:
        *stage_widths, head = widths_at(width)
        c_in = STEM_WIDTH
        stages: dict[str, nn.Module] = {
            "conv1": ConvNormAct(3, c_in, 3, stride=2),
            "maxpool": nn.MaxPool2d(3, 2, padding=1),
        }
        for i, (depth, c_out) in enumerate(zip(DEPTHS, stage_widths, strict=True), start=2):
            units = [ShuffleUnit(c_out) for _ in range(depth - 1)]
            stages[f"stage{i}"] = nn.Sequential(downsampling_unit(c_in, c_out), *units)
            c_in = c_out
        stages["conv5"] = ConvNormAct(c_in, head, 1)
        stages |= pooled_head(fc=nn.Linear(head, num_classes))
        super().__init__(stages, (1, 3, resolution, resolution))


def shufflenet_v2(*, width: float = 1.0, resolution: int = 224, num_classes: int = 1000) -> ShuffleNetV2:
    """ShuffleNetV2 for x (n, 3, resolution, resolution), at width 0.5, 1, 1.5 or 2.

    Source: Ma et al., arXiv:1807.11164, Table 5 (2x has 244 channels in stage 2, as the paper's second version and
    all code). Parameters and MACs equal torchvision's `shufflenet_v2_x0_5` to `shufflenet_v2_x2_0`.
    """
    return ShuffleNetV2(width=width, num_classes=num_classes, resolution=resolution)
