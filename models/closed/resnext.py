"""ResNeXt-50 and ResNeXt-101 (Xie et al., arXiv:1611.05431): ResNet's bottlenecks with a grouped 3x3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from costmodel.formulas.feature_map import Walk
from costmodel.quantities import Count

from .resnet import BOTTLENECK_DEPTHS, Depths, bottleneck, network


@dataclass(frozen=True)
class Template:
    """Blocks per stage, the paper's cardinality C, and d: channels of one group in conv2_x (they double by stage)."""

    depths: Depths
    groups: int
    width_per_group: int


TEMPLATES = {
    "resnext50_32x4d": Template(BOTTLENECK_DEPTHS["resnet50"], 32, 4),
    "resnext101_32x4d": Template(BOTTLENECK_DEPTHS["resnet101"], 32, 4),
    "resnext101_32x8d": Template(BOTTLENECK_DEPTHS["resnet101"], 32, 8),
    "resnext101_64x4d": Template(BOTTLENECK_DEPTHS["resnet101"], 64, 4),
}


def resnext(template: Template, walk: Walk, *, num_classes: Count = 1000, resolution: Count = 224) -> None:
    """ResNet's walk with grouped bottlenecks."""
    block = partial(bottleneck, groups=template.groups, width_per_group=template.width_per_group)
    network(walk, template.depths, block, num_classes=num_classes, resolution=resolution)


NETWORKS: Mapping[str, Callable[..., None]] = {name: partial(resnext, template) for name, template in TEMPLATES.items()}
