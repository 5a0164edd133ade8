"""Whole networks in training: the step that is traced, and the closed form, which share nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import costmodel
import costmodel.models as models

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
