"""ResNeXt-50 and ResNeXt-101 (Xie et al., arXiv:1611.05431): ResNet's bottlenecks with a grouped 3x3."""

from __future__ import annotations

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
