"""Helpers of the claims: figures of a closed form, and profiles of traced modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from costmodel import models
from costmodel.profiling import Profile, profile

Spec: TypeAlias = tuple[str, Mapping[str, Any]]
"""A network's name and arguments."""

CLASSICS = (
    "alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "googlenet", "inception_v3", "inception_v4", "resnet18", "resnet34",
    "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d",
    "resnext101_64x4d", "se_resnet50", "xception", "mobilenet_v1", "mobilenet_v1_cifar", "mobilenet_v2",
    "mobilenet_v3_large", "mobilenet_v3_small", "shufflenet_v1", "shufflenet_v2", "efficientnet_b0", "efficientnet_b1",
    "efficientnet_b2", "efficientnet_b3", "efficientnet_b4", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7",
    "efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l", "ghostnet", "hybridsn",
)  # fmt: skip
"""The classic networks, where a claim speaks of those: named here, so that one more in ``costmodel.models`` changes no
finding."""


def figures(cost: Any, *names: str) -> dict[str, Any]:
    """The named totals of a closed form or a profile, by name."""
    return {name: getattr(cost, name) for name in names}


def traced(build: Callable[[], nn.Module], *shape: int, train: bool = False) -> Profile:
    """The profile of a module, built on the meta device, on one input of this shape."""
    with torch.device("meta"):
        module = build()
    return profile(module, shape, mode="train" if train else "eval")


@cache
def network(name: str, **arguments: Any) -> Profile:
    """The profile of one of the library's networks on its paper's input."""
    module = on_meta(name, **arguments)
    return profile(module, module.example_inputs)


@cache
def on_meta(name: str, **arguments: Any) -> Any:
    """One of the library's networks on the meta device; ``Any``, as claims reach its parts by name."""
    with torch.device("meta"):
        return models.build(name, **arguments)


def totals(of: Callable[..., Any], quantity: str, networks: Mapping[str, Spec]) -> dict[str, int]:
    """A quantity of several networks, by label: from a trace (``network``) or in closed form (``models.closed_form``).

    >>> totals(models.closed_form, "macs", {"V1, half as wide": ("mobilenet_v1", {"width": 0.5})})
    {'V1, half as wide': 149497088}
    """
    return {label: int(getattr(of(name, **arguments), quantity)) for label, (name, arguments) in networks.items()}


def output_shape(p: Profile) -> tuple[int, ...]:
    """The shape of the traced module's output."""
    return p.pricing.layers[-1].outputs[0].shape


def macs_by_kind(p: Profile) -> dict[str, int]:
    """MACs by kind of layer, of the kinds that have any."""
    sums: dict[str, int] = {}
    for layer in p.pricing.layers:
        if layer.work.macs:
            sums[layer.kind] = sums.get(layer.kind, 0) + int(layer.work.macs)
    return sums


def count_kinds(p: Profile) -> dict[str, int]:
    """The number of layers of each kind."""
    counts: dict[str, int] = {}
    for layer in p.pricing.layers:
        counts[layer.kind] = counts.get(layer.kind, 0) + 1
    return counts


def modules_of(module: nn.Module, *kinds: type[nn.Module]) -> list[Any]:
    """The submodules of the given classes, in order."""
    return [m for m in module.modules() if isinstance(m, kinds)]


def sample(*shape: int, low: int = -4, high: int = 5) -> Tensor:
    """Small whole numbers in double precision, the same at every call: their sums and products are exact."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(low, high, shape, generator=generator).double()
