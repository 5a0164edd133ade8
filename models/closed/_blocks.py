"""What several networks share: the image that goes in, the head, and the names that their modules give to layers."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.formulas.efficient_blocks import squeeze_excitation_on
from costmodel.formulas.feature_map import FeatureMap, Names, Walk
from costmodel.quantities import Count


def square(walk: Walk, resolution: Count, channels: Count = 3) -> FeatureMap:
    """An image of resolution x resolution, or of (height, width)."""
    size = resolution if isinstance(resolution, tuple) else (resolution, resolution)
    return walk.image(channels, *size)


def pooled(x: FeatureMap, size: int = 1) -> FeatureMap:
    """An average pool to size x size, flattened."""
    return x.adaptive_avg_pool("avgpool", size).flatten("flatten")


def auxiliary(head: Callable[[FeatureMap], object], x: FeatureMap, *, size: int) -> None:
    """A head that runs on ``x`` in training only. Elsewhere its parameters count, for an input of size x size."""
    head(x if x.walk.training else x.walk.idle().image(x.channels, size, size))


def within(block: str, **places: str) -> Names:
    """The names of a block's layers in a network: layer ``expand`` of ``features.3`` is ``features.3.expand``.

    ``places`` names the layers that lie deeper in the block's module, and the operations between modules.

    >>> names = within("layer1.0", conv1=".body.conv1", add="/add_")
    >>> names("conv1"), names("add"), names("shortcut")
    ('layer1.0.body.conv1', 'layer1.0/add_', 'layer1.0.shortcut')
    """
    return lambda layer: block + places.get(layer, f".{layer}")


def squeeze_excitation(
    x: FeatureMap, name: str, squeezed: Count, *, act: str = "relu", gate: str = "sigmoid"
) -> FeatureMap:
    """A squeeze-excitation of 1x1 convolutions, as the module of that name."""
    places = {"squeeze": ".pool", f"reduce_{act}": ".act", gate: ".gate", "scale": "/mul"}
    return squeeze_excitation_on(x, squeezed, act=act, gate=gate, names=within(name, **places))
