"""The cross-check of a step where it is what lies around a layer that changes what its backward pass does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import costmodel


class Scores(nn.Module):
    """Products of two layers' outputs, one of them transposed: its gradient comes transposed, and is copied."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        return (self.query(x) @ self.key(x).transpose(1, 2)).softmax(-1)


class Unused(nn.Module):
    """The loss needs the first layer's output alone; the second's is returned, the third's detached."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Any:
        """Two tensors."""
        y = self.second(x)
        return self.first(x + self.third(y).detach()), y


class Positions(nn.Module):
    """An embedding that is given a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ids", torch.arange(5))
        self.embedding = nn.Embedding(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        """The input and the embedded positions."""
        return x + self.embedding(self.ids)


class FirstToken(nn.Module):
    """A layer that is given a part of a tensor: its bias is added apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        """The first token's."""
        return self.layer(x[:, :1])


class WrittenOver(nn.Module):
    """Activations in place of products: one with a bias is a view to autograd, one without is none."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(8, 8, bias=False), nn.ReLU(inplace=True), nn.Linear(8, 8), nn.SiLU(inplace=True)
        )  # fmt: skip
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """In several dimensions."""
        y: Tensor = self.layers(x.view(self.shape))
        return y


class LastPool(nn.Module):
    """The mean of images in the layout of channels last, whose gradient comes in the other."""

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.positions = positions
        self.conv, self.pool, self.norm = nn.Conv2d(2, 8, 1), nn.AdaptiveAvgPool2d(1), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        """Of images of so many positions a side."""
        y = self.conv(x[:, :2, :1, None].expand(2, 2, self.positions, self.positions).contiguous())
        return self.norm(self.pool(y.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)).flatten(1))


@pytest.mark.parametrize(
    "model",
    [
        Scores(),
        Unused(),
        Positions(),
        FirstToken(),
        LastPool(3),
        LastPool(1),
        WrittenOver(2, 5, 8),
        WrittenOver(1, 2, 5, 8),
        WrittenOver(10, 8),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_lies_around_a_layer_is_none_of_its_own(model: nn.Module) -> None:
    """Both wings agree."""
    loss = (lambda y: y[0].sum()) if isinstance(model, Unused) else None
    found = costmodel.training_step(model, (2, 5, 8), loss=loss).crosscheck()
    assert found.ok, found.mismatches
    assert found.checked


@pytest.mark.parametrize("layer", [nn.GroupNorm(2, 4), nn.InstanceNorm1d(4), nn.BatchNorm1d(4), nn.Conv1d(4, 4, 3)])
def test_an_expanded_gradient_that_is_copied_first(layer: nn.Module) -> None:
    """As that of a sum, which a formula has whole."""
    model = nn.Sequential(nn.Conv1d(4, 4, 1), layer)
    found = costmodel.training_step(model, (2, 4, 8), loss=lambda y: y.sum()).crosscheck()
    assert found.ok, found.mismatches


def test_sparse_gradients_have_no_update_in_closed_form() -> None:
    """How many rows an update touches depends on values."""
    model = nn.Embedding(10, 8, sparse=True)
    found = costmodel.training_step(model, costmodel.Input((2, 3), "int64"), optimizer="sgd").crosscheck()
    assert found.ok, found.mismatches
