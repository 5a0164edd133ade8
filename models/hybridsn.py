"""HybridSN (Roy et al., arXiv:1902.06701, Table I) for hyperspectral images, as note 000 writes it."""

from __future__ import annotations

from torch import nn

from ._blocks import Network, named
from .closed.hybridsn import BANDS, CONV_2D, CONVS_3D, HIDDEN, WINDOW, check_window


class HybridSN(Network):
    """x (n, 1, bands, window, window) to logits (n, num_classes)."""

    def __init__(self, *, window: int, bands: int, num_classes: int) -> None:
        stages: dict[str, nn.Module] = {}
        c_in, depth, size = 1, bands, window
        for i, (c_out, kernel) in enumerate(CONVS_3D, start=1):
            stages[f"conv{i}"] = named(
                conv=nn.Conv3d(c_in, c_out, kernel), norm=nn.BatchNorm3d(c_out), relu=nn.ReLU(inplace=True)
            )
            c_in, depth, size = c_out, depth - kernel[0] + 1, size - kernel[1] + 1
        stages["join_bands"] = nn.Flatten(1, 2)
        stages["conv4"] = named(
            conv=nn.Conv2d(c_in * depth, CONV_2D, 3), norm=nn.BatchNorm2d(CONV_2D), relu=nn.ReLU(inplace=True)
        )
        stages["flatten"] = nn.Flatten()
        fc1, fc2 = HIDDEN
        stages["classifier"] = named(
            fc1=nn.Linear(CONV_2D * (size - 2) ** 2, fc1),
            relu1=nn.ReLU(inplace=True),
            drop1=nn.Dropout(0.4),
            fc2=nn.Linear(fc1, fc2),
            relu2=nn.ReLU(inplace=True),
            drop2=nn.Dropout(0.4),
            fc3=nn.Linear(fc2, num_classes),
        )
        super().__init__(stages, (1, 1, bands, window, window))


def hybridsn(*, window: int = WINDOW, bands: int = BANDS, num_classes: int = 16) -> HybridSN:
    """HybridSN for x (n, 1, bands, window, window): 3-d convolutions, then a 2-d one over the joined bands.

    Source: Roy et al., arXiv:1902.06701, Table I. Note 000 puts a batch norm after each convolution, which the paper
    does not have: 240 parameters more than its 5,122,176. `window` and `bands` change the layers, not only the input.
    """
    check_window(window, bands)
    return HybridSN(window=window, bands=bands, num_classes=num_classes)
