"""MobileNetV2 (Sandler et al., arXiv:1801.04381, Table 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from costmodel.formulas.blocks import inverted_residual_on
from costmodel.formulas.feature_map import Walk
from costmodel.quantities import Count

from ._blocks import pooled, square, within
from ._rounding import Multiplier, at_least_one, make_divisible


@dataclass(frozen=True)
class Stage:
    """A line of Table 2, in the paper's letters: n blocks of expansion t to c channels, the first of stride s."""

    t: int
    c: int
    n: int
    s: int


STEM_WIDTH = 32

TABLE_2 = (
    Stage(t=1, c=16, n=1, s=1),
    Stage(t=6, c=24, n=2, s=2),
    Stage(t=6, c=32, n=3, s=2),
    Stage(t=6, c=64, n=4, s=2),
    Stage(t=6, c=96, n=3, s=1),
    Stage(t=6, c=160, n=3, s=2),
    Stage(t=6, c=320, n=1, s=1),
)

HEAD_WIDTH = 1280
"""Channels of the last 1x1, which a width multiplier below 1 leaves as they are."""


def mobilenet_v2(walk: Walk, *, width: Multiplier = 1.0, resolution: Count = 224, num_classes: Count = 1000) -> None:
    """A convolution, the inverted residuals of Table 2, a 1x1, a pool and a classifier."""
    x = square(walk, resolution)
    x = x.conv_norm_act("features.0", make_divisible(STEM_WIDTH * width), 3, stride=2, act="relu6")
    place = 1
    for stage in TABLE_2:
        c_out = make_divisible(stage.c * width)
        for i in range(stage.n):
            x = inverted_residual_on(
                x,
                x.channels * stage.t,
                c_out,
                kernel=3,
                stride=stage.s if i == 0 else 1,
                act="relu6",
                names=within(f"features.{place}", add="/add_"),
            )
            place += 1
    x = x.conv_norm_act(f"features.{place}", make_divisible(HEAD_WIDTH * at_least_one(width)), act="relu6")
    pooled(x).dropout("classifier.dropout").linear("classifier.fc", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {"mobilenet_v2": mobilenet_v2}
