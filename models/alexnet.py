"""AlexNet, in the single-tower layout of "One weird trick" (Krizhevsky, arXiv:1404.5997, section 5)."""

from __future__ import annotations

from torch import nn

from ._blocks import Network, named, pooled_head
from .closed.alexnet import CONVS, FEATURE_SIZE, HIDDEN


class AlexNet(Network):
    """x (n, 3, h, w) to logits (n, num_classes)."""

    def __init__(self, *, num_classes: int, resolution: int) -> None:
        features = nn.Sequential()
        c_in = 3
        for i, row in enumerate(CONVS, start=1):
            features.add_module(f"conv{i}", nn.Conv2d(c_in, row.c_out, row.kernel, row.stride, row.padding))
            features.add_module(f"relu{i}", nn.ReLU(inplace=True))
            if row.pool:
                features.add_module(f"pool{i}", nn.MaxPool2d(3, 2))
            c_in = row.c_out
        classifier = named(
            drop6=nn.Dropout(),
            fc6=nn.Linear(c_in * FEATURE_SIZE**2, HIDDEN),
            relu6=nn.ReLU(inplace=True),
            drop7=nn.Dropout(),
            fc7=nn.Linear(HIDDEN, HIDDEN),
            relu7=nn.ReLU(inplace=True),
            fc8=nn.Linear(HIDDEN, num_classes),
        )
        stages = {"features": features, **pooled_head(FEATURE_SIZE, classifier=classifier)}
        super().__init__(stages, (1, 3, resolution, resolution))


def alexnet(*, num_classes: int = 1000, resolution: int = 224) -> AlexNet:
    """AlexNet for x (n, 3, resolution, resolution).

    Source: Krizhevsky, arXiv:1404.5997. Layer for layer torchvision's `alexnet`, with its adaptive pool before the
    classifier (which leaves 6x6 features as they are at 224). The network of 2012 (NIPS) differs: 96-256-384-384-256
    filters on two GPUs, with layers 2, 4 and 5 in two groups, and local response normalisation.
    """
    return AlexNet(num_classes=num_classes, resolution=resolution)
