"""Inception-v4 (Szegedy et al., arXiv:1602.07261, Figures 3 to 9), in the rows of `inception_v3`."""

from __future__ import annotations

from ._blocks import Network
from ._published import Published
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


PUBLISHED = (
    Published(
        name="inception_v4",
        params_printed="48 M",
        macs_printed="13 G",
        quoted_as="FLOPs",
        source="Tan & Le, arXiv:1905.11946, Table 2",
        note="The Inception-v4 paper itself gives no figure.",
        why=(
            "Not explained: neither running statistics (42.7 M with them) nor an auxiliary classifier like that of "
            "Inception-v3 (about 3.4 M) make up 48 M, and 12.25 G would print as 12 G."
        ),
    ),
    Published(
        name="inception_v4",
        params_printed="42.7 M",
        macs_printed="12.3 G",
        quoted_as="GMACs",
        source="timm, model card of inception_v4.tf_in1k",
    ),
)
