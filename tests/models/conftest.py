"""A counter of parameters and MACs that shares nothing with the library: hooks on convolutions and linear layers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import costmodel.models


class Totals(NamedTuple):
    params: int
    macs: int


def count(network: nn.Module, shape: tuple[int, ...]) -> Totals:
    """Parameters, and the MACs of one forward in eval mode, of a network on the meta device."""
    macs = 0

    def add(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal macs
        assert isinstance(layer.weight, Tensor)
        macs += output.numel() * math.prod(layer.weight.shape[1:])

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            module.register_forward_hook(add)
    with torch.no_grad():
        network.eval()(torch.empty(shape, device="meta"))
    return Totals(sum(p.numel() for p in network.parameters()), macs)


@pytest.fixture(scope="session")
def totals() -> Callable[..., Totals]:
    """`totals(name, **arguments)`: the counts of one of the project's networks at its own input."""

    @functools.cache
    def of(name: str, **arguments: Any) -> Totals:
        with torch.device("meta"):
            network = costmodel.models.build(name, **arguments)
        return count(network, network.example_inputs)

    return of


@pytest.fixture(scope="session")
def totals_of_other() -> Callable[..., Totals]:
    """`totals_of_other(build, shape)`: the counts of a network that another library builds."""

    def of(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> Totals:
        with torch.device("meta"):
            network = build()
        return count(network, shape)

    return of
