"""ShuffleNet (Zhang et al., arXiv:1707.01083, Table 1 and Figure 2)."""

from __future__ import annotations

from torch import nn

from ._blocks import Branches, ChannelShuffle, ConvNormAct, Network, Residual, named, pooled_head
from .closed._rounding import make_divisible
from .closed.shufflenet_v1 import BOTTLENECK_RATIO, DEPTHS, STEM_WIDTH, stage_2_width


def unit_body(c_in: int, inner: int, c_out: int, *, stride: int, groups: int, first_groups: int) -> nn.Sequential:
    """Grouped 1x1, channel shuffle, depthwise 3x3, grouped 1x1; neither of the last two has an activation."""
    return named(
        reduce=ConvNormAct(c_in, inner, 1, groups=first_groups),
        shuffle=ChannelShuffle(groups) if groups > 1 else None,
        depthwise=ConvNormAct(inner, inner, 3, stride=stride, groups=inner, act=None),
        expand=ConvNormAct(inner, c_out, 1, groups=groups, act=None),
    )


def shuffle_unit(c_in: int, c_out: int, *, stride: int, groups: int, first_groups: int) -> nn.Module:
    """x (n, c_in, h, w) to y (n, c_out, ceil(h / stride), ceil(w / stride)).

    Source: arXiv:1707.01083, Figure 2(b), and for stride 2 Figure 2(c): the input, average-pooled, is joined to the
    body's output instead of added, so the body makes only the other c_out - c_in channels. `first_groups` is 1 in the
    network's first unit, whose input has few channels, and else `groups`.
    """
    inner = make_divisible(c_out / BOTTLENECK_RATIO, groups)
    made = c_out if stride == 1 else c_out - c_in
    body = unit_body(c_in, inner, made, stride=stride, groups=groups, first_groups=first_groups)
    if stride == 1:
        return Residual(body, act=nn.ReLU(inplace=True))
    pool = nn.AvgPool2d(3, stride, padding=1)
    return named(branches=Branches(pool=pool, body=body), relu=nn.ReLU(inplace=True))


class ShuffleNetV1(Network):
    """x (n, 3, h, w) to logits (n, num_classes)."""

    def __init__(self, *, groups: int, width: float, num_classes: int, resolution: int) -> None:
        c_in = make_divisible(STEM_WIDTH * width, groups)
        stages: dict[str, nn.Module] = {
            "conv1": ConvNormAct(3, c_in, 3, stride=2),
            "maxpool": nn.MaxPool2d(3, 2, padding=1),
        }
        for i, depth in enumerate(DEPTHS):
            c_out = make_divisible(stage_2_width(groups) * 2**i * width, groups)
            units = nn.Sequential()
            for j in range(depth):
                first_groups = 1 if i == j == 0 else groups
                stride = 2 if j == 0 else 1
                units.append(shuffle_unit(c_in, c_out, stride=stride, groups=groups, first_groups=first_groups))
                c_in = c_out
            stages[f"stage{i + 2}"] = units
        stages |= pooled_head(fc=nn.Linear(c_in, num_classes))
        super().__init__(stages, (1, 3, resolution, resolution))


def shufflenet_v1(
    *, groups: int = 3, width: float = 1.0, resolution: int = 224, num_classes: int = 1000
) -> ShuffleNetV1:
    """ShuffleNet for x (n, 3, resolution, resolution), with 1, 2, 3, 4 or 8 groups.

    Source: Zhang et al., arXiv:1707.01083, Table 1; `width` is the paper's "ShuffleNet s x", which scales every
    channel count. The paper does not say how those are rounded: here to the nearest multiple of `groups` (so that all
    1x1 convolutions can be grouped), which changes nothing at width 1. Neither torchvision nor timm has the network;
    the authors' PyTorch code differs at widths other than 1 in its first convolution, and puts the shuffle after the
    depthwise convolution, where the paper has it before.
    """
    return ShuffleNetV1(groups=groups, width=width, num_classes=num_classes, resolution=resolution)
