"""VGG with 11, 13, 16 and 19 weight layers (Simonyan & Zisserman, arXiv:1409.1556, Table 1), without batch norm."""

from __future__ import annotations

from torch import nn

from ._blocks import Network, named, pooled_head
from .closed.vgg import DEPTHS, FEATURE_SIZE, HIDDEN, STAGE_WIDTHS


class VGG(Network):
    """x (n, 3, h, w) to logits (n, num_classes)."""

    def __init__(self, depths: tuple[int, ...], *, num_classes: int, resolution: int) -> None:
        features = nn.Sequential()
        c_in = 3
        for stage, (depth, c_out) in enumerate(zip(depths, STAGE_WIDTHS, strict=True), start=1):
            for i in range(1, depth + 1):
                features.add_module(f"conv{stage}_{i}", nn.Conv2d(c_in, c_out, 3, padding=1))
                features.add_module(f"relu{stage}_{i}", nn.ReLU(inplace=True))
                c_in = c_out
            features.add_module(f"pool{stage}", nn.MaxPool2d(2, 2))
        classifier = named(
            fc6=nn.Linear(c_in * FEATURE_SIZE**2, HIDDEN),
            relu6=nn.ReLU(inplace=True),
            drop6=nn.Dropout(),
            fc7=nn.Linear(HIDDEN, HIDDEN),
            relu7=nn.ReLU(inplace=True),
            drop7=nn.Dropout(),
            fc8=nn.Linear(HIDDEN, num_classes),
        )
        stages = {"features": features, **pooled_head(FEATURE_SIZE, classifier=classifier)}
        super().__init__(stages, (1, 3, resolution, resolution))


def vgg11(*, num_classes: int = 1000, resolution: int = 224) -> VGG:
    """VGG-11, column A of arXiv:1409.1556, Table 1, for x (n, 3, resolution, resolution).

    Layer for layer torchvision's `vgg11`, with its adaptive pool before the classifier (the identity at 224).
    """
    return VGG(DEPTHS["vgg11"], num_classes=num_classes, resolution=resolution)


def vgg13(*, num_classes: int = 1000, resolution: int = 224) -> VGG:
    """VGG-13, column B of arXiv:1409.1556, Table 1; as `vgg11` otherwise."""
    return VGG(DEPTHS["vgg13"], num_classes=num_classes, resolution=resolution)


def vgg16(*, num_classes: int = 1000, resolution: int = 224) -> VGG:
    """VGG-16, column D of arXiv:1409.1556, Table 1; as `vgg11` otherwise."""
    return VGG(DEPTHS["vgg16"], num_classes=num_classes, resolution=resolution)


def vgg19(*, num_classes: int = 1000, resolution: int = 224) -> VGG:
    """VGG-19, column E of arXiv:1409.1556, Table 1; as `vgg11` otherwise."""
    return VGG(DEPTHS["vgg19"], num_classes=num_classes, resolution=resolution)
