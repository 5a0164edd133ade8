"""GoogLeNet, Inception v1 (Szegedy et al., arXiv:1409.4842, Table 1 and Figure 3)."""

from __future__ import annotations

from torch import nn

from ._blocks import Branches, SupervisedNetwork, named, pooled_head
from .closed.googlenet import (
    AUXILIARY_HIDDEN,
    AUXILIARY_INPUTS,
    AUXILIARY_SIZE,
    AUXILIARY_WIDTH,
    STEM_OUT,
    STEM_WIDTH,
    TABLE_1,
    Inception,
)


def conv_relu(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution with bias, then ReLU, padded by half the kernel."""
    conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2)
    return named(conv=conv, relu=nn.ReLU(inplace=True))


def max_pool() -> nn.MaxPool2d:
    """The 3x3 max pool that halves the size; odd leftovers are pooled too, so 112 gives 56, then 28, 14 and 7."""
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def inception(c_in: int, row: Inception) -> Branches:
    """x (n, c_in, h, w) to y (n, row.c_out, h, w). Source: arXiv:1409.4842, Figure 2(b)."""
    return Branches(
        branch1=conv_relu(c_in, row.conv1, 1),
        branch3=named(reduce=conv_relu(c_in, row.reduce3, 1), conv=conv_relu(row.reduce3, row.conv3, 3)),
        branch5=named(reduce=conv_relu(c_in, row.reduce5, 1), conv=conv_relu(row.reduce5, row.conv5, 5)),
        branch_pool=named(pool=nn.MaxPool2d(3, 1, padding=1), project=conv_relu(c_in, row.pool_project, 1)),
    )


def auxiliary_classifier(c_in: int, num_classes: int) -> nn.Sequential:
    """x (n, c_in, 14, 14) to logits (n, num_classes). Source: arXiv:1409.4842, section 5."""
    return named(
        avgpool=nn.AvgPool2d(5, 3),
        conv=conv_relu(c_in, AUXILIARY_WIDTH, 1),
        flatten=nn.Flatten(),
        fc1=nn.Linear(AUXILIARY_WIDTH * AUXILIARY_SIZE**2, AUXILIARY_HIDDEN),
        relu=nn.ReLU(inplace=True),
        dropout=nn.Dropout(0.7),
        fc2=nn.Linear(AUXILIARY_HIDDEN, num_classes),
    )


class GoogLeNet(SupervisedNetwork):
    """x (n, 3, h, w) to logits (n, num_classes); with `aux`, in train mode, to (logits, logits of 4a, logits of 4d)."""

    def __init__(self, *, aux: bool, num_classes: int, resolution: int) -> None:
        stages: dict[str, nn.Module] = {
            "conv1": conv_relu(3, STEM_WIDTH, 7, stride=2),
            "pool1": max_pool(),
            "norm1": nn.LocalResponseNorm(5),
            "conv2_reduce": conv_relu(STEM_WIDTH, STEM_WIDTH, 1),
            "conv2": conv_relu(STEM_WIDTH, STEM_OUT, 3),
            "norm2": nn.LocalResponseNorm(5),
        }
        c_in = STEM_OUT
        for i, modules in enumerate(TABLE_1, start=2):
            stages[f"pool{i}"] = max_pool()
            for row in modules:
                stages[f"inception_{row.name}"] = inception(c_in, row)
                c_in = row.c_out
        stages |= pooled_head(dropout=nn.Dropout(0.4), fc=nn.Linear(c_in, num_classes))
        inputs = AUXILIARY_INPUTS if aux else {}
        heads = {name: auxiliary_classifier(channels, num_classes) for name, channels in inputs.items()}
        super().__init__(stages, (1, 3, resolution, resolution), auxiliary=heads)


def googlenet(*, aux: bool = False, num_classes: int = 1000, resolution: int = 224) -> GoogLeNet:
    """GoogLeNet for x (n, 3, resolution, resolution), with or without its two auxiliary classifiers.

    Source: Szegedy et al., arXiv:1409.4842, Table 1. The paper's network, not torchvision's `googlenet`, which has
    batch norm where this has biases and local response normalisation, 3x3 kernels in its 5x5 branches (a known bug,
    pytorch/vision issue 906), a 2x2 pool before 5a, and an adaptive pool in its auxiliary classifiers. In train mode
    the auxiliary classifiers need an input of 224x224, as the paper's first fully connected layer does.
    """
    return GoogLeNet(aux=aux, num_classes=num_classes, resolution=resolution)
