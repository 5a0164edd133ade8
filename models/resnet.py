"""ResNet with 18, 34, 50, 101 and 152 layers (He et al., arXiv:1512.03385, Table 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import nn

from ._blocks import ConvNormAct, Network, Residual, SqueezeExcitation, named, pooled_head
from .closed.resnet import BASIC_DEPTHS, BOTTLENECK_DEPTHS, BOTTLENECK_EXPANSION, STAGE_WIDTHS, STEM_WIDTH, Depths

BuildBlock: TypeAlias = Callable[[int, int, int], Residual]
"""A residual block from (c_in, the stage's width, stride)."""


def projection(c_in: int, c_out: int, stride: int) -> ConvNormAct | None:
    """Option B of the paper: a 1x1 shortcut where the shape changes, else None."""
    return None if c_in == c_out and stride == 1 else ConvNormAct(c_in, c_out, 1, stride=stride, act=None)


def basic_block(c_in: int, width: int, stride: int) -> Residual:
    """Two 3x3 convolutions: x (n, c_in, h, w) to y (n, width, ceil(h / stride), ceil(w / stride)). Figure 5, left."""
    body = named(conv1=ConvNormAct(c_in, width, stride=stride), conv2=ConvNormAct(width, width, act=None))
    return Residual(body, shortcut=projection(c_in, width, stride), act=nn.ReLU(inplace=True))


def bottleneck(
    c_in: int,
    width: int,
    stride: int,
    *,
    groups: int = 1,
    width_per_group: int = 64,
    stride_in_1x1: bool = False,
    se_reduction: int | None = None,
) -> Residual:
    """1x1 down, 3x3, 1x1 up: x (n, c_in, h, w) to y (n, 4 * width, ceil(h / stride), ceil(w / stride)).

    Source: arXiv:1512.03385, Figure 5, right. `groups` and `width_per_group`, the group's channels in conv2_x, make
    it ResNeXt's (arXiv:1611.05431, Figure 3c); `se_reduction` puts a squeeze-excitation before the addition
    (arXiv:1709.01507, Figure 3).
    """
    inner = width * width_per_group // 64 * groups
    c_out = width * BOTTLENECK_EXPANSION
    body = named(
        reduce=ConvNormAct(c_in, inner, 1, stride=stride if stride_in_1x1 else 1),
        conv=ConvNormAct(inner, inner, 3, stride=1 if stride_in_1x1 else stride, groups=groups),
        expand=ConvNormAct(inner, c_out, 1, act=None),
        se=None if se_reduction is None else SqueezeExcitation(c_out, c_out // se_reduction),
    )
    return Residual(body, shortcut=projection(c_in, c_out, stride), act=nn.ReLU(inplace=True))


class ResNet(Network):
    """x (n, 3, h, w) to logits (n, num_classes). `expansion` is a block's output channels over its stage's width."""

    def __init__(self, depths: Depths, block: BuildBlock, *, expansion: int, num_classes: int, resolution: int) -> None:
        stages: dict[str, nn.Module] = {
            "conv1": ConvNormAct(3, STEM_WIDTH, 7, stride=2),
            "maxpool": nn.MaxPool2d(3, 2, padding=1),
        }
        c_in = STEM_WIDTH
        for i, (depth, width) in enumerate(zip(depths, STAGE_WIDTHS, strict=True), start=1):
            blocks = nn.Sequential()
            for j in range(depth):
                blocks.append(block(c_in, width, 2 if i > 1 and j == 0 else 1))
                c_in = width * expansion
            stages[f"layer{i}"] = blocks
        stages |= pooled_head(fc=nn.Linear(c_in, num_classes))
        super().__init__(stages, (1, 3, resolution, resolution))


def bottleneck_resnet(
    depths: Depths,
    *,
    num_classes: int,
    resolution: int,
    groups: int = 1,
    width_per_group: int = 64,
    stride_in_1x1: bool = False,
    se_reduction: int | None = None,
) -> ResNet:
    """A ResNet of bottlenecks, and so ResNeXt and SE-ResNet too; arguments as in `bottleneck`."""

    def block(c_in: int, width: int, stride: int) -> Residual:
        return bottleneck(
            c_in,
            width,
            stride,
            groups=groups,
            width_per_group=width_per_group,
            stride_in_1x1=stride_in_1x1,
            se_reduction=se_reduction,
        )

    return ResNet(depths, block, expansion=BOTTLENECK_EXPANSION, num_classes=num_classes, resolution=resolution)


def resnet18(*, num_classes: int = 1000, resolution: int = 224) -> ResNet:
    """ResNet-18 for x (n, 3, resolution, resolution), of basic blocks with projection shortcuts.

    Source: He et al., arXiv:1512.03385, Table 1; parameters and MACs equal torchvision's `resnet18`.
    """
    depths = BASIC_DEPTHS["resnet18"]
    return ResNet(depths, basic_block, expansion=1, num_classes=num_classes, resolution=resolution)


def resnet34(*, num_classes: int = 1000, resolution: int = 224) -> ResNet:
    """ResNet-34; as `resnet18` otherwise."""
    depths = BASIC_DEPTHS["resnet34"]
    return ResNet(depths, basic_block, expansion=1, num_classes=num_classes, resolution=resolution)


def resnet50(*, stride_in_1x1: bool = False, num_classes: int = 1000, resolution: int = 224) -> ResNet:
    """ResNet-50 for x (n, 3, resolution, resolution), of bottlenecks.

    Source: He et al., arXiv:1512.03385, Table 1. Where a stage halves the size, the paper has the stride in the
    block's first 1x1 (`stride_in_1x1=True`); torchvision's `resnet50`, whose parameters and MACs the default equals,
    has it in the 3x3. Parameters are the same either way.
    """
    depths = BOTTLENECK_DEPTHS["resnet50"]
    return bottleneck_resnet(depths, stride_in_1x1=stride_in_1x1, num_classes=num_classes, resolution=resolution)


def resnet101(*, stride_in_1x1: bool = False, num_classes: int = 1000, resolution: int = 224) -> ResNet:
    """ResNet-101; as `resnet50` otherwise."""
    depths = BOTTLENECK_DEPTHS["resnet101"]
    return bottleneck_resnet(depths, stride_in_1x1=stride_in_1x1, num_classes=num_classes, resolution=resolution)


def resnet152(*, stride_in_1x1: bool = False, num_classes: int = 1000, resolution: int = 224) -> ResNet:
    """ResNet-152; as `resnet50` otherwise."""
    depths = BOTTLENECK_DEPTHS["resnet152"]
    return bottleneck_resnet(depths, stride_in_1x1=stride_in_1x1, num_classes=num_classes, resolution=resolution)
