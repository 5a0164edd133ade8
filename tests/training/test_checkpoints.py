"""Layers that run again for ``torch.utils.checkpoint``: what autograd keeps of the forward that it differentiates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import costmodel


class Again(nn.Module):
    """A layer, and one that a checkpoint runs again."""

    def __init__(self, first: nn.Module, inner: nn.Module, *, use_reentrant: bool | None) -> None:
        super().__init__()
        self.first, self.inner, self.use_reentrant = first, inner, use_reentrant

    def run(self, x: Tensor) -> Any:
        """What the checkpoint is of."""
        return self.inner(x)

    def forward(self, x: Tensor) -> Any:
        """The output of the second; without a checkpoint for ``None``."""
        if self.use_reentrant is None:
            return self.run(self.first(x))
        return checkpoint(self.run, self.first(x), use_reentrant=self.use_reentrant)


def products() -> nn.Module:
    """Two, with ReLU between them."""
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))


def images() -> nn.Module:
    """Layers that keep masks, indices and statistics, and one that writes over what it is given."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(),
        nn.Linear(36, 4),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[bool | None], nn.Module], tuple[int, ...]]] = {
    "products": (lambda way: Again(nn.Linear(8, 8), products(), use_reentrant=way), (2, 8)),
    "images": (lambda way: Again(nn.Conv2d(3, 3, 1), images(), use_reentrant=way), (2, 3, 8, 8)),
    "encoder": (
        lambda way: Again(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), use_reentrant=way),
        (2, 5, 8),
    ),
    "in another": (
        lambda way: Again(
            nn.Linear(8, 8), Again(nn.Linear(8, 8), products(), use_reentrant=way), use_reentrant=way
        ),
        (2, 8),
    ),
    "in another of the other kind": (
        lambda way: Again(
            nn.Linear(8, 8), Again(nn.Linear(8, 8), products(), use_reentrant=way is False), use_reentrant=way
        ),
        (2, 8),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # of the inner one, which does not run yet
@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("network", NETWORKS)
def test_layers_that_run_again_are_derived_twice(network: str, steps: int, *, use_reentrant: bool) -> None:
    """All of a layer: its forward, its backward pass, and what is kept for it when it runs again."""
    make, shape = NETWORKS[network]
    step = costmodel.training_step(make(use_reentrant), shape, steps=steps, optimizer="sgd")
    found = step.crosscheck()
    assert found.ok, found.mismatches
    assert not found.unreached
    plain = costmodel.training_step(make(None), shape, steps=steps, optimizer="sgd").crosscheck()
    assert [(c.name, c.quantity) for c in found.comparisons] == [(c.name, c.quantity) for c in plain.comparisons]


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("network", NETWORKS)
def test_layers_that_run_again_under_autocast_are_derived_twice(network: str) -> None:
    """No tensor of the library's own is taken to be kept by the layer in which a block of autocast begins."""
    make, shape = NETWORKS[network]
    found = costmodel.training_step(make(False), shape, autocast="bfloat16").crosscheck()
    assert found.ok, found.mismatches


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_what_is_kept_when_a_layer_runs_again(*, use_reentrant: bool) -> None:
    """The inputs of both products, of which one is ReLU's output: 2 x 8 and 2 x 16 numbers of 4 bytes.

    ReLU's output is a saved activation in the backward pass alone: nothing is kept of it before.
    """
    step = costmodel.training_step(Again(nn.Linear(8, 8), products(), use_reentrant=use_reentrant), (2, 8))
    kept = {c.name: c.traced for c in step.crosscheck().comparisons if c.quantity == "saved bytes"}
    assert kept == {"first": 64, "inner.0": 64, "inner.1": 128, "inner.2": 128}
    assert step.saved_bytes == 2 * 64
    in_backward = step.curve[step.curve["phase"] == "backward"]["saved activations"]
    assert in_backward.max() == 64 + 128


def test_hooks_of_ones_own_are_as_they_were() -> None:
    """What notes saved tensors in the backward pass is gone afterwards, and changes nobody's hooks."""
    enter = torch.autograd.graph.saved_tensors_hooks.__enter__
    costmodel.training_step(Again(nn.Linear(8, 8), products(), use_reentrant=False), (2, 8))
    assert torch.autograd.graph.saved_tensors_hooks.__enter__ is enter
