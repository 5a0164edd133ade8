"""Inception-v4 (Szegedy et al., arXiv:1602.07261, Figures 3 to 9), in the rows of `inception_v3`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from costmodel.formulas.feature_map import Walk
from costmodel.quantities import Count

from ._blocks import pooled, square
from .inception_v3 import AvgPool, Conv, MaxPool, Row, Split, apply, fan_out, shrink

AVG = AvgPool(counts_padding=False)

STEM_POOL_OR_CONV = Split(((MaxPool(),), (shrink(96),)))
STEM_FACTORISED = Split(
    (
        (Conv(64), Conv(96, 3, padded=False)),
        (Conv(64), Conv(64, (1, 7)), Conv(64, (7, 1)), Conv(96, 3, padded=False)),
    )
)
STEM_CONV_OR_POOL = Split(((shrink(192),), (MaxPool(),)))

INCEPTION_A = Split(
    (
        (Conv(96),),
        (Conv(64), Conv(96, 3)),
        (Conv(64), Conv(96, 3), Conv(96, 3)),
        (AVG, Conv(96)),
    )
)
REDUCTION_A = Split(((shrink(384),), (Conv(192), Conv(224, 3), shrink(256)), (MaxPool(),)))
INCEPTION_B = Split(
    (
        (Conv(384),),
        (Conv(192), Conv(224, (1, 7)), Conv(256, (7, 1))),
        (Conv(192), Conv(192, (7, 1)), Conv(224, (1, 7)), Conv(224, (7, 1)), Conv(256, (1, 7))),
        (AVG, Conv(128)),
    )
)
REDUCTION_B = Split(
    (
        (Conv(192), shrink(192)),
        (Conv(256), Conv(256, (1, 7)), Conv(320, (7, 1)), shrink(320)),
        (MaxPool(),),
    )
)
INCEPTION_C = Split(
    (
        (Conv(256),),
        (Conv(384), fan_out(256)),
        (Conv(384), Conv(448, (3, 1)), Conv(512, (1, 3)), fan_out(256)),
        (AVG, Conv(256)),
    )
)

FIGURE_9: dict[str, Row] = {
    "conv1": Conv(32, 3, 2, padded=False),
    "conv2": Conv(32, 3, padded=False),
    "conv3": Conv(64, 3),
    "stem1": STEM_POOL_OR_CONV,
    "stem2": STEM_FACTORISED,
    "stem3": STEM_CONV_OR_POOL,
    **{f"inception_a{i}": INCEPTION_A for i in range(1, 5)},
    "reduction_a": REDUCTION_A,
    **{f"inception_b{i}": INCEPTION_B for i in range(1, 8)},
    "reduction_b": REDUCTION_B,
    **{f"inception_c{i}": INCEPTION_C for i in range(1, 4)},
}
"""The network before its global pooling."""


def inception_v4(walk: Walk, *, num_classes: Count = 1000, resolution: Count = 299) -> None:
    """The rows of Figure 9."""
    x = square(walk, resolution)
    for name, row in FIGURE_9.items():
        x = apply(x, name, row)
    pooled(x).dropout("dropout").linear("fc", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {"inception_v4": inception_v4}
