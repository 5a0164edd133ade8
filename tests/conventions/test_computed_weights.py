"""Layers whose weights or biases are computed, by norms, parametrisations and pruning: each tool's own number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import costmodel
from costmodel.conventions.tool import ToolFailsError
from tests.conventions.live import LIVE
from tests.conventions.small import tensors
from tests.conventions.test_networks import INSTALLED


class Half(nn.Module):
    """A parametrisation."""

    def forward(self, x: Tensor) -> Tensor:
        return x / 2


def halved(layer: nn.Module, name: str) -> nn.Module:
    """The layer with a parametrised tensor."""
    return parametrize.register_parametrization(layer, name, Half())


LAYERS: dict[str, tuple[Callable[[], nn.Module], str, str, Any]] = {
    "linear": (lambda: nn.Linear(8, 4), "weight", "bias", (2, 5, 8)),
    "conv": (lambda: nn.Conv2d(4, 8, 3, groups=2), "weight", "bias", (2, 4, 6, 6)),
    "transposed conv": (lambda: nn.ConvTranspose2d(4, 8, 3, stride=2), "weight", "bias", (2, 4, 5, 5)),
    "lstm": (lambda: nn.LSTM(8, 6, num_layers=2), "weight_hh_l0", "bias_ih_l1", (5, 2, 8)),
    "gru cell": (lambda: nn.GRUCell(8, 6), "weight_ih", "bias_hh", (2, 8)),
    "layer norm": (lambda: nn.LayerNorm(8), "weight", "bias", (2, 5, 8)),
    "attention": (lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True), "in_proj_weight", "bias_k", [(5, 2, 8)] * 3),
}
"""Each with the names of a weight and of a bias, and its inputs."""

CHANGES: dict[str, Callable[[nn.Module, str, str], Any]] = {
    "weight norm, old": lambda m, w, b: nn.utils.weight_norm(m, w),
    "weight norm": lambda m, w, b: parametrizations.weight_norm(m, w),
    "spectral norm, old": lambda m, w, b: nn.utils.spectral_norm(m, w),
    "spectral norm": lambda m, w, b: parametrizations.spectral_norm(m, w),
    "parametrised weight": lambda m, w, b: halved(m, w),
    "parametrised bias": lambda m, w, b: halved(m, b),
    "pruned weight": lambda m, w, b: prune.random_unstructured(m, w, 0.5),
    "pruned bias": lambda m, w, b: prune.random_unstructured(m, b, 0.5),
    "both pruned": lambda m, w, b: [prune.random_unstructured(m, name, 0.25) for name in (w, b)],
    "spectral norm, old, and pruned bias": lambda m, w, b: prune.l1_unstructured(nn.utils.spectral_norm(m, w), b, 0.5),
    "weight norm, old, of a pruned direction": lambda m, w, b: prune.l1_unstructured(
        nn.utils.weight_norm(m, w), f"{w}_v", 0.5
    ),
    "spectral norm removed": lambda m, w, b: nn.utils.remove_spectral_norm(nn.utils.spectral_norm(m, w), w),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::torch.jit.TracerWarning")
def test_a_computed_weight(layer: str, change: str) -> None:
    """Each tool's total and parameters, to the integer; where it raises, so is said."""
    make, weight, bias, inputs = LAYERS[layer]

    def made() -> nn.Module:
        model = make()
        CHANGES[change](model, weight, bias)
        return model.eval()

    model = made()
    p = costmodel.profile(model, inputs)
    for tool in INSTALLED:
        try:
            printed = LIVE[tool](made(), tensors(inputs))
        except Exception:
            with pytest.raises(ToolFailsError):
                p.counted_as(tool)
            continue
        found = p.counted_as(tool)
        assert (found.total, found.params) == printed, tool
        assert p.macs + found.difference["amount"].sum() == found.total, tool


def test_a_layer_holds_a_pruned_bias() -> None:
    """ptflops counts 1 an output for a bias, masked or not."""
    model = nn.Linear(4, 3)
    prune.l1_unstructured(model, "bias", 0.5)
    found = costmodel.profile(model, (1, 4)).counted_as("ptflops")
    assert found.total == 4 * 3 + 3


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchinfo_knows_masks_and_no_norms() -> None:
    """A masked weight counts once a sample; that of the old spectral norm is taken for a recurrent layer's."""
    normed, pruned = nn.utils.spectral_norm(nn.Linear(8, 4)), prune.ln_structured(nn.Linear(8, 4), "weight", 0.5, 2, 0)
    counted = [costmodel.profile(m, (2, 8)).counted_as("torchinfo").total for m in (normed, pruned)]
    assert counted == [2 * 4 * (8 * 4) + 2 * 4, 2 * (2 * 8) + 2 * 4]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_constant_that_requires_a_gradient() -> None:
    """torch's tracer takes no such constant, in a run on real tensors either; so fvcore fails on it."""

    class Computed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = nn.Parameter(torch.ones(8, 8))
            self.weight = self.own * 2

        def forward(self, x: Tensor) -> Any:
            return x @ self.weight

    model = Computed()
    with pytest.raises(RuntimeError, match="requires grad as a constant"):
        LIVE["fvcore"](model, (torch.ones(2, 8),))
    for execution in ("meta", "real"):
        with pytest.raises(ToolFailsError, match="requires grad as a constant"):
            costmodel.profile(model, (2, 8), execution=execution).counted_as("fvcore")  # type: ignore[arg-type]
