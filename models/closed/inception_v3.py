"""Inception-v3 (Szegedy et al., arXiv:1512.00567), and the rows in which Inception networks are written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from costmodel.formulas.feature_map import FeatureMap, Walk
from costmodel.quantities import Count

from ._blocks import auxiliary, pooled, square


@dataclass(frozen=True)
class Conv:
    """A convolution with batch norm and ReLU, padded by half its kernel, or not at all."""

    c_out: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    padded: bool = True


@dataclass(frozen=True)
class MaxPool:
    """A 3x3 max pool of stride 2, not padded."""


@dataclass(frozen=True)
class AvgPool:
    """A padded 3x3 average pool of stride 1; `counts_padding` says whether zeros of the padding enter the mean."""

    counts_padding: bool


@dataclass(frozen=True)
class Split:
    """Branches that read the same input, joined along channels."""

    branches: tuple[tuple[Row, ...], ...]


Row: TypeAlias = Conv | MaxPool | AvgPool | Split

AVG = AvgPool(counts_padding=True)


def shrink(c_out: int) -> Conv:
    """The 3x3 convolution of stride 2, not padded, that ends a branch of a grid reduction."""
    return Conv(c_out, 3, 2, padded=False)


def inception_a(pool: int) -> Split:
    """Figure 5 of the paper, with one 5x5 kept, on the 35x35 grid."""
    return Split(
        (
            (Conv(64),),
            (Conv(48), Conv(64, 5)),
            (Conv(64), Conv(96, 3), Conv(96, 3)),
            (AVG, Conv(pool)),
        )
    )


def inception_b(inner: int) -> Split:
    """Figure 6 of the paper with n = 7, on the 17x17 grid."""
    return Split(
        (
            (Conv(192),),
            (Conv(inner), Conv(inner, (1, 7)), Conv(192, (7, 1))),
            (Conv(inner), Conv(inner, (7, 1)), Conv(inner, (1, 7)), Conv(inner, (7, 1)), Conv(192, (1, 7))),
            (AVG, Conv(192)),
        )
    )


def fan_out(c_out: int) -> Split:
    """A 1x3 and a 3x1 side by side."""
    return Split(((Conv(c_out, (1, 3)),), (Conv(c_out, (3, 1)),)))


INCEPTION_C = Split(
    (
        (Conv(320),),
        (Conv(384), fan_out(384)),
        (Conv(448), Conv(384, 3), fan_out(384)),
        (AVG, Conv(192)),
    )
)
"""Figure 7 of the paper, on the 8x8 grid."""

REDUCTION_A = Split(((shrink(384),), (Conv(64), Conv(96, 3), shrink(96)), (MaxPool(),)))
REDUCTION_B = Split(
    (
        (Conv(192), shrink(320)),
        (Conv(192), Conv(192, (1, 7)), Conv(192, (7, 1)), shrink(192)),
        (MaxPool(),),
    )
)

TABLE_1: dict[str, Row] = {
    "conv1": Conv(32, 3, 2, padded=False),
    "conv2": Conv(32, 3, padded=False),
    "conv3": Conv(64, 3),
    "pool1": MaxPool(),
    "conv4": Conv(80, 1),
    "conv5": Conv(192, 3, padded=False),
    "pool2": MaxPool(),
    "mixed_a1": inception_a(32),
    "mixed_a2": inception_a(64),
    "mixed_a3": inception_a(64),
    "reduction_a": REDUCTION_A,
    "mixed_b1": inception_b(128),
    "mixed_b2": inception_b(160),
    "mixed_b3": inception_b(160),
    "mixed_b4": inception_b(192),
    "reduction_b": REDUCTION_B,
    "mixed_c1": INCEPTION_C,
    "mixed_c2": INCEPTION_C,
}
"""The network before its global pooling, in the order of Table 1 and with the widths of the authors' released code."""

AUXILIARY_STAGE = "mixed_b4"
AUXILIARY_INPUT = 768


def apply(x: FeatureMap, name: str, row: Row) -> FeatureMap:
    """The map after one row."""
    match row:
        case Conv():
            padding = None if row.padded else 0
            return x.conv_norm_act(name, row.c_out, row.kernel, act="relu", stride=row.stride, padding=padding)
        case MaxPool():
            return x.max_pool(name, 3, 2)
        case AvgPool():
            return x.avg_pool(name, 3, 1, padding=1)
        case Split():
            ends = [apply_branch(x, f"{name}.branch{i}", rows) for i, rows in enumerate(row.branches, start=1)]
            return ends[0].concat(f"{name}/cat", *ends[1:])


def apply_branch(x: FeatureMap, name: str, rows: tuple[Row, ...]) -> FeatureMap:
    """The map after the rows in order, which are numbered unless there is only one."""
    for i, row in enumerate(rows):
        x = apply(x, name if len(rows) == 1 else f"{name}.{i}", row)
    return x


def auxiliary_classifier(name: str, num_classes: Count, x: FeatureMap) -> FeatureMap:
    """A pool, 1x1, 5x5, a pool over all that is left, and a fully connected layer."""
    x = x.avg_pool(f"{name}.avgpool", 5, 3).conv_norm_act(f"{name}.conv1", 128, act="relu")
    x = x.conv_norm_act(f"{name}.conv2", 768, 5, padding=0, act="relu").adaptive_avg_pool(f"{name}.pool")
    return x.flatten(f"{name}.flatten").linear(f"{name}.fc", num_classes)


def inception_v3(walk: Walk, *, aux: bool = False, num_classes: Count = 1000, resolution: Count = 299) -> None:
    """The rows of Table 1; an auxiliary classifier where it is asked for."""
    x = square(walk, resolution)
    for name, row in TABLE_1.items():
        x = apply(x, name, row)
        if aux and name == AUXILIARY_STAGE:
            auxiliary(partial(auxiliary_classifier, f"auxiliary.{name}", num_classes), x, size=17)
    pooled(x).dropout("dropout").linear("fc", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {"inception_v3": inception_v3}
