"""Inception-v4 (Szegedy et al., arXiv:1602.07261, Figures 3 to 9), in the rows of `inception_v3`."""

from __future__ import annotations

from ._blocks import Network
from .closed.inception_v4 import FIGURE_9
from .inception_v3 import build_stages


class InceptionV4(Network):
    """x (n, 3, h, w) to logits (n, num_classes)."""

    def __init__(self, *, num_classes: int, resolution: int) -> None:
        stages = build_stages(FIGURE_9, dropout=0.2, num_classes=num_classes)
        super().__init__(stages, (1, 3, resolution, resolution))


def inception_v4(*, num_classes: int = 1000, resolution: int = 299) -> InceptionV4:
    """Inception-v4 for x (n, 3, resolution, resolution).

    Source: Szegedy et al., arXiv:1602.07261, Figures 3 to 9; convolution for convolution timm's `inception_v4`.
    """
    return InceptionV4(num_classes=num_classes, resolution=resolution)
