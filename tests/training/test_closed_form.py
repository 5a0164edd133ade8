"""Whole networks in training: the step that is traced, and the closed form, which share nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import costmodel
import costmodel.models as models
from tests.test_backward_of_layers import LAYERS

NETWORKS = [names[0] for names in models.FAMILIES.values()]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_is_the_closed_form(name: str) -> None:
    """Work and traffic of the forward, products of the backward pass, bytes kept; each layer is derived twice."""
    with torch.device("meta"):
        network = models.build(name)
    step = costmodel.training_step(network, (2, *network.example_inputs[1:]), optimizer=None)
    form = models.closed_form(name, batch=2, training=True)
    for quantity in ("macs", "flops", "memory_access"):
        assert getattr(step.forward, quantity) == getattr(form, f"forward_{quantity}")
    assert step.backward.macs == form.backward_macs
    assert step.saved_bytes == form.saved_bytes
    assert step.crosscheck().mismatches == []


@pytest.mark.parametrize("act", [nn.ReLU, nn.SiLU])
def test_a_layer_that_writes_over_a_view_has_copies_around_its_gradient(act: type[nn.Module]) -> None:
    """Autograd takes the gradient of the whole apart; after a layer that makes a tensor of its own it does not."""
    for before in (nn.Flatten(), nn.Conv2d(4, 4, 1)):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), before, act(inplace=True), nn.Flatten(), nn.Linear(4 * 36, 5))
        step = costmodel.training_step(model, (2, 3, 8, 8), optimizer=None)
        check = step.crosscheck()
        assert check.mismatches == []
        moved = {c.name: c.traced for c in check.comparisons if c.quantity == "backward memory access"}
        around = 9 * 2 * 4 * 36 if isinstance(before, nn.Flatten) else 0
        assert moved["2"] == 3 * 2 * 4 * 36 + around


class _Scaled(nn.Module):
    """A layer whose inputs need a gradient: a learnt number was multiplied with each."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.scale = layer, nn.Parameter(torch.ones(()))

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.layer(*(x * self.scale if x.is_floating_point() else x for x in inputs))


def _squares(y: torch.Tensor) -> torch.Tensor:
    return (y * y).sum()


@pytest.mark.parametrize("loss", [None, _squares], ids=["sum", "squares"])
@pytest.mark.parametrize(("layer", "shapes"), LAYERS, ids=lambda value: type(value).__name__)
def test_each_layer_of_a_step_is_derived_twice(layer: nn.Module, shapes: tuple[Any, ...], loss: Any) -> None:
    """Forward and backward agree, whatever arrives at the layer: one number for all elements, or one for each."""
    if getattr(layer, "return_indices", False):
        loss = None  # the indices are no part of it
    elif isinstance(layer, nn.MaxUnpool2d):
        loss = _squares  # before it gathers from a gradient that is one number for all, torch up to 2.13 copies that
    tensors = [shape if isinstance(shape, torch.Tensor) else torch.randn(shape) for shape in shapes]
    step = costmodel.training_step(_Scaled(layer), tuple(tensors), loss=loss, optimizer=None)
    assert step.crosscheck().mismatches == []
    assert step.is_exact
