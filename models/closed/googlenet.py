"""GoogLeNet, Inception v1 (Szegedy et al., arXiv:1409.4842, Table 1 and Figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from costmodel.formulas.blocks import inception_module_on
from costmodel.formulas.feature_map import FeatureMap, Style, Walk
from costmodel.quantities import Count

from ._blocks import auxiliary, pooled, square, within


@dataclass(frozen=True)
class Inception:
    """One row of Table 1: the output channels of an Inception module's six convolutions."""

    name: str
    conv1: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    pool_project: int

    @property
    def c_out(self) -> int:
        return self.conv1 + self.conv3 + self.conv5 + self.pool_project


STEM_WIDTH = 64
STEM_OUT = 192

TABLE_1 = (
    (Inception("3a", 64, 96, 128, 16, 32, 32), Inception("3b", 128, 128, 192, 32, 96, 64)),
    (
        Inception("4a", 192, 96, 208, 16, 48, 64),
        Inception("4b", 160, 112, 224, 24, 64, 64),
        Inception("4c", 128, 128, 256, 24, 64, 64),
        Inception("4d", 112, 144, 288, 32, 64, 64),
        Inception("4e", 256, 160, 320, 32, 128, 128),
    ),
    (Inception("5a", 256, 160, 320, 32, 128, 128), Inception("5b", 384, 192, 384, 48, 128, 128)),
)
"""The Inception modules by stage; a 3x3 max pool of stride 2 stands between the stages."""

AUXILIARY_INPUTS = {"inception_4a": 512, "inception_4d": 528}
"""Channels that the auxiliary classifiers read, by the module they read from."""

AUXILIARY_WIDTH = 128
AUXILIARY_HIDDEN = 1024
AUXILIARY_SIZE = 4
"""A 5x5 average pool of stride 3 leaves 4x4 of the 14x14 that both auxiliary classifiers see at 224."""


STYLE = Style(norm=False, act_name="{name}.relu")
"""Convolutions have a bias and no batch norm."""


def inception(x: FeatureMap, name: str, row: Inception) -> FeatureMap:
    """A module of Table 1."""
    return inception_module_on(
        x,
        c1=row.conv1,
        c3_reduce=row.reduce3,
        c3=row.conv3,
        c5_reduce=row.reduce5,
        c5=row.conv5,
        pool_proj=row.pool_project,
        act="relu",
        names=within(
            name,
            conv1=".branch1",
            conv3_reduce=".branch3.reduce",
            conv3=".branch3.conv",
            conv5_reduce=".branch5.reduce",
            conv5=".branch5.conv",
            pool=".branch_pool.pool",
            pool_proj=".branch_pool.project",
            concat="/cat",
        ),
    )


def auxiliary_classifier(name: str, num_classes: Count, x: FeatureMap) -> FeatureMap:
    """A pool, 1x1, and two fully connected layers."""
    x = x.avg_pool(f"{name}.avgpool", 5, 3).conv_norm_act(f"{name}.conv", AUXILIARY_WIDTH, act="relu")
    x = (
        x.flatten(f"{name}.flatten")
        .linear(f"{name}.fc1", AUXILIARY_HIDDEN)
        .act(f"{name}.relu", "relu")
        .dropout(f"{name}.dropout")
    )
    return x.linear(f"{name}.fc2", num_classes)


def googlenet(walk: Walk, *, aux: bool = False, num_classes: Count = 1000, resolution: Count = 224) -> None:
    """Nine Inception modules after a stem; two auxiliary classifiers where they are asked for."""
    walk = replace(walk, style=STYLE)
    x = square(walk, resolution).conv_norm_act("conv1", STEM_WIDTH, 7, stride=2, act="relu")
    x = x.max_pool("pool1", 3, 2, ceil_mode=True).local_response_norm("norm1", 5)
    x = x.conv_norm_act("conv2_reduce", STEM_WIDTH, act="relu").conv_norm_act("conv2", STEM_OUT, 3, act="relu")
    x = x.local_response_norm("norm2", 5)
    for i, modules in enumerate(TABLE_1, start=2):
        x = x.max_pool(f"pool{i}", 3, 2, ceil_mode=True)
        for row in modules:
            name = f"inception_{row.name}"
            x = inception(x, name, row)
            if aux and name in AUXILIARY_INPUTS:
                auxiliary(partial(auxiliary_classifier, f"auxiliary.{name}", num_classes), x, size=14)
    pooled(x).dropout("dropout").linear("fc", num_classes)


NETWORKS: Mapping[str, Callable[..., None]] = {"googlenet": googlenet}
