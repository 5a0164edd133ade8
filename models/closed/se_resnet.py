"""SE-ResNet-50 (Hu et al., arXiv:1709.01507, Table 1): ResNet-50 with a squeeze-excitation in each block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from costmodel.formulas.feature_map import Walk
from costmodel.quantities import Count

from .resnet import BOTTLENECK_DEPTHS, bottleneck, network

DEPTHS = BOTTLENECK_DEPTHS["resnet50"]
REDUCTION = 16
"""The paper's r: a squeeze-excitation's inner layer has 1/16 of the block's output channels."""


def se_resnet50(walk: Walk, *, stride_in_1x1: bool = False, num_classes: Count = 1000, resolution: Count = 224) -> None:
    """ResNet's walk with a squeeze-excitation in each bottleneck."""
    block = partial(bottleneck, stride_in_1x1=stride_in_1x1, se_reduction=REDUCTION)
    network(walk, DEPTHS, block, num_classes=num_classes, resolution=resolution)


NETWORKS: Mapping[str, Callable[..., None]] = {"se_resnet50": se_resnet50}
