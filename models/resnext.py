"""ResNeXt-50 and ResNeXt-101 (Xie et al., arXiv:1611.05431): ResNet's bottlenecks with a grouped 3x3."""

from __future__ import annotations

from ._published import Published
from .closed.resnext import TEMPLATES
from .resnet import ResNet, bottleneck_resnet


def build(name: str, *, num_classes: int, resolution: int) -> ResNet:
    """The network of one template."""
    template = TEMPLATES[name]
    return bottleneck_resnet(
        template.depths,
        groups=template.groups,
        width_per_group=template.width_per_group,
        num_classes=num_classes,
        resolution=resolution,
    )


def resnext50_32x4d(*, num_classes: int = 1000, resolution: int = 224) -> ResNet:
    """ResNeXt-50 (32x4d) for x (n, 3, resolution, resolution).

    Source: Xie et al., arXiv:1611.05431, Table 1; parameters and MACs equal torchvision's `resnext50_32x4d`.
    """
    return build("resnext50_32x4d", num_classes=num_classes, resolution=resolution)


def resnext101_32x4d(*, num_classes: int = 1000, resolution: int = 224) -> ResNet:
    """ResNeXt-101 (32x4d). Source: arXiv:1611.05431, Table 3; parameters and MACs equal timm's `resnext101_32x4d`."""
    return build("resnext101_32x4d", num_classes=num_classes, resolution=resolution)


def resnext101_32x8d(*, num_classes: int = 1000, resolution: int = 224) -> ResNet:
    """ResNeXt-101 (32x8d), a width of arXiv:1805.00932; parameters and MACs equal torchvision's `resnext101_32x8d`."""
    return build("resnext101_32x8d", num_classes=num_classes, resolution=resolution)


def resnext101_64x4d(*, num_classes: int = 1000, resolution: int = 224) -> ResNet:
    """ResNeXt-101 (64x4d). Source: arXiv:1611.05431, Table 4; equal to torchvision's `resnext101_64x4d`."""
    return build("resnext101_64x4d", num_classes=num_classes, resolution=resolution)


PUBLISHED = (
    Published(
        name="resnext50_32x4d",
        params_printed="25.0 M",
        macs_printed="4.2 G",
        quoted_as="FLOPs",
        source="Xie et al., arXiv:1611.05431, Table 1",
    ),
    Published(
        name="resnext50_32x4d",
        macs_printed="4.24 G",
        quoted_as="GFLOPs",
        source="Hu et al., arXiv:1709.01507, Table 2",
    ),
    Published(
        name="resnext101_32x4d",
        macs_printed="7.99 G",
        quoted_as="GFLOPs",
        source="Hu et al., arXiv:1709.01507, Table 2",
    ),
    Published(
        name="resnext101_32x8d",
        params_printed="88 M",
        macs_printed="16 G",
        quoted_as="FLOPs",
        source="PyTorch Hub, facebookresearch/WSL-Images",
        note="The models of Mahajan et al., arXiv:1805.00932.",
        why="Two digits: 16.41 G.",
    ),
    Published(
        name="resnext101_64x4d",
        params_printed="84 M",
        macs_printed="32 G",
        quoted_as="FLOPs",
        source="Tan & Le, arXiv:1905.11946, Table 2",
        note="The figure that is quoted most.",
        why="Counted on 320x320 input, where this network takes 31.5 G; at 224x224 it is half of that.",
    ),
)
