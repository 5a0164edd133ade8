"""SE-ResNet-50 (Hu et al., arXiv:1709.01507, Table 1): ResNet-50 with a squeeze-excitation in each block."""

from __future__ import annotations

from .closed.se_resnet import DEPTHS, REDUCTION
from .resnet import ResNet, bottleneck_resnet


def se_resnet50(*, stride_in_1x1: bool = False, num_classes: int = 1000, resolution: int = 224) -> ResNet:
    """SE-ResNet-50 for x (n, 3, resolution, resolution).

    Source: Hu et al., arXiv:1709.01507, Table 1. The paper's ResNet-50 has the stride in the first 1x1 of a stage
    (`stride_in_1x1=True`, timm's `legacy_seresnet50`); the default has it in the 3x3, as timm's `seresnet50`, whose
    parameters and MACs it equals.
    """
    return bottleneck_resnet(
        DEPTHS,
        stride_in_1x1=stride_in_1x1,
        se_reduction=REDUCTION,
        num_classes=num_classes,
        resolution=resolution,
    )
