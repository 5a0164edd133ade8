"""ShuffleNet (Zhang et al., arXiv:1707.01083, Table 1 and Figure 2)."""

from __future__ import annotations

from torch import nn

from ._blocks import Branches, ChannelShuffle, ConvNormAct, Network, Residual, named, pooled_head
from ._published import Published
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


def _table_1(groups: int, macs: str, why: str = "") -> Published:
    return Published(
        name="shufflenet_v1",
        variant={"groups": groups},
        macs_printed=macs,
        quoted_as="FLOPs",
        source="Zhang et al., arXiv:1707.01083, Table 1 (complexity)",
        why=why,
    )


def _table_2(width: float, macs: str, why: str) -> Published:
    return Published(
        name="shufflenet_v1",
        variant={"groups": 3, "width": width},
        macs_printed=macs,
        quoted_as="FLOPs",
        source="Zhang et al., arXiv:1707.01083, Table 2 (complexity)",
        note="One figure for every number of groups.",
        why=why,
    )


def _authors_code(groups: int, width: float, macs: str, params: str, why: str = "") -> Published:
    return Published(
        name="shufflenet_v1",
        variant={"groups": groups, "width": width},
        params_printed=params,
        macs_printed=macs,
        quoted_as="FLOPs",
        source="megvii-model/ShuffleNet-Series, ShuffleNetV1/README.md",
        note="The page of the authors' released code; the paper gives no parameters.",
        why=why,
    )


_STEM_OF_24 = "The authors' code keeps 24 channels in the first convolution, here scaled to 36: with 24 it is {}."

PUBLISHED = (
    _table_1(1, "143 M"),
    _table_1(2, "140 M"),
    _table_1(3, "137 M"),
    _table_1(4, "133 M", why="The classifier (1.09 M) is left out, as in the whole table: 133.25 M."),
    _table_1(8, "137 M"),
    _table_2(0.5, "38 M", why="Two digits: 37.6 M."),
    _table_2(0.25, "13 M", why="The first convolution may not be scaled to 6 channels: with 12 it is 13.3 M."),
    _authors_code(3, 0.5, "38 M", "0.7 M", why="Rounding: 37.6 M and 0.72 M."),
    _authors_code(8, 0.5, "40 M", "1.0 M", why="Rounding: 40.5 M (40.47) and 1.01 M."),
    _authors_code(3, 1.0, "138 M", "1.9 M", why="Two digits: 1.87 M."),
    _authors_code(8, 1.0, "138 M", "2.4 M", why="Two digits: 2.43 M."),
    _authors_code(3, 1.5, "292 M", "3.4 M", why=_STEM_OF_24.format("292.4 M")),
    _authors_code(8, 1.5, "290 M", "4.3 M", why=_STEM_OF_24.format("290.2 M")),
    _authors_code(3, 2.0, "524 M", "5.4 M"),
    _authors_code(8, 2.0, "522 M", "6.5 M"),
)
