"""HybridSN (Roy et al., arXiv:1902.06701, Table I) for hyperspectral images, as note 000 writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from costmodel.formulas.feature_map import FeatureMap, Style, Walk
from costmodel.quantities import Count

CONVS_3D = ((8, (7, 3, 3)), (16, (5, 3, 3)), (32, (3, 3, 3)))
"""Output channels and kernel (bands, height, width) of the 3-d convolutions, none of them padded."""

CONV_2D = 64
"""Output channels of the 3x3 convolution over all bands' maps, not padded."""

HIDDEN = (256, 128)

WINDOW = 25
BANDS = 30


def check_window(window: Count, bands: Count) -> None:
    """The input has room for the kernels."""
    if (isinstance(bands, int) and bands < 13) or (isinstance(window, int) and window < 9):
        raise ValueError(
            f"hybridsn needs at least 13 bands and a window of 9, got bands={bands}, window={window}: "
            "its unpadded kernels take away 12 bands and 8 pixels"
        )


STYLE = Style(act_name="{name}.relu")


def conv_norm_relu(x: FeatureMap, name: str, c_out: int, kernel: int | tuple[int, ...]) -> FeatureMap:
    """A convolution with bias and without padding, batch norm, ReLU."""
    return x.conv_norm_act(name, c_out, kernel, padding=0, bias=True, act="relu")


def hybridsn(walk: Walk, *, window: Count = WINDOW, bands: Count = BANDS, num_classes: Count = 16) -> None:
    """Three 3-d convolutions, a 2-d one over the joined bands, and three fully connected layers."""
    check_window(window, bands)
    x = replace(walk, style=STYLE).image(1, bands, window, window)
    for i, (c_out, kernel) in enumerate(CONVS_3D, start=1):
        x = conv_norm_relu(x, f"conv{i}", c_out, kernel)
    x = x.flatten("join_bands", axes=1)
    x = conv_norm_relu(x, "conv4", CONV_2D, 3).flatten("flatten")
    for i, features in enumerate(HIDDEN, start=1):
        x = x.linear(f"classifier.fc{i}", features).act(f"classifier.relu{i}", "relu").dropout(f"classifier.drop{i}")
    x.linear("classifier.fc3", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {"hybridsn": hybridsn}
