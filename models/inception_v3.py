"""Inception-v3 (Szegedy et al., arXiv:1512.00567), and the rows in which Inception networks are written down."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ._blocks import Branches, ConvNormAct, SupervisedNetwork, named, pooled_head
from .closed.inception_v3 import AUXILIARY_INPUT, AUXILIARY_STAGE, TABLE_1, AvgPool, Conv, MaxPool, Row, Split


def build_row(row: Row, c_in: int) -> tuple[nn.Module, int]:
    """The module of one row, and how many channels leave it."""
    match row:
        case Conv():
            padding = None if row.padded else 0
            conv = ConvNormAct(c_in, row.c_out, row.kernel, stride=row.stride, padding=padding, eps=1e-3)
            return conv, row.c_out
        case MaxPool():
            return nn.MaxPool2d(3, 2), c_in
        case AvgPool():
            return nn.AvgPool2d(3, 1, padding=1, count_include_pad=row.counts_padding), c_in
        case Split():
            built = [build_branch(branch, c_in) for branch in row.branches]
            branches = {f"branch{i}": module for i, (module, _) in enumerate(built, start=1)}
            return Branches(**branches), sum(c_out for _, c_out in built)


def build_branch(rows: Sequence[Row], c_in: int) -> tuple[nn.Module, int]:
    """The rows in order, and how many channels leave the last; a single row is not wrapped."""
    modules = []
    for row in rows:
        module, c_in = build_row(row, c_in)
        modules.append(module)
    return (modules[0] if len(modules) == 1 else nn.Sequential(*modules)), c_in


def build_stages(table: dict[str, Row], *, dropout: float, num_classes: int) -> dict[str, nn.Module]:
    """Every stage of an Inception network by name, from images (n, 3, h, w) to logits (n, num_classes)."""
    stages: dict[str, nn.Module] = {}
    channels = 3
    for name, row in table.items():
        stages[name], channels = build_row(row, channels)
    return stages | pooled_head(dropout=nn.Dropout(dropout), fc=nn.Linear(channels, num_classes))


def auxiliary_classifier(c_in: int, num_classes: int) -> nn.Sequential:
    """x (n, c_in, 17, 17) to logits (n, num_classes)."""
    return named(
        avgpool=nn.AvgPool2d(5, 3),
        conv1=ConvNormAct(c_in, 128, 1, eps=1e-3),
        conv2=ConvNormAct(128, 768, 5, padding=0, eps=1e-3),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(768, num_classes),
    )


class InceptionV3(SupervisedNetwork):
    """x (n, 3, h, w) to logits (n, num_classes); with `aux`, in train mode, to (logits, auxiliary logits)."""

    def __init__(self, *, aux: bool, num_classes: int, resolution: int) -> None:
        stages = build_stages(TABLE_1, dropout=0.5, num_classes=num_classes)
        heads = {AUXILIARY_STAGE: auxiliary_classifier(AUXILIARY_INPUT, num_classes)} if aux else {}
        super().__init__(stages, (1, 3, resolution, resolution), auxiliary=heads)


def inception_v3(*, aux: bool = False, num_classes: int = 1000, resolution: int = 299) -> InceptionV3:
    """Inception-v3 for x (n, 3, resolution, resolution), with or without its auxiliary classifier.

    Source: Szegedy et al., arXiv:1512.00567, Table 1. The paper gives the grid sizes only; the widths, the 1x1 to 80
    in the stem and the 5x5 on the 35x35 grid are those of the authors' released code, which torchvision's
    `inception_v3` ports too: parameters and MACs equal torchvision's (`aux` is its `aux_logits`).
    """
    return InceptionV3(aux=aux, num_classes=num_classes, resolution=resolution)
