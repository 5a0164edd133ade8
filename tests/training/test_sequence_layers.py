"""The cross-check of steps of recurrent and attention layers, as networks call them."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

import costmodel


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize(("layers", "bidirectional", "batch_first"), [*product((1, 2), (False, True), (False, True))])
def test_recurrent_layers(kind: type[nn.RNNBase], layers: int, bidirectional: bool, batch_first: bool) -> None:
    """What each direction keeps of the input, in either layout."""
    model = kind(16, 32, layers, bidirectional=bidirectional, batch_first=batch_first)
    found = costmodel.training_step(model, (4, 7, 16), loss=lambda y: y[0].pow(2).sum(), optimizer=None).crosscheck()
    # The workspace of the oneDNN of torch 2.6 has two states more (tests/training/module_database.txt).
    others = {"saved bytes"} if kind is nn.LSTM and torch.__version__.startswith("2.6") else set()
    assert {c.quantity for c in found.mismatches} <= others, found.mismatches
    assert found.checked


@pytest.mark.parametrize("kind", [nn.TransformerEncoderLayer, nn.TransformerDecoderLayer])
@pytest.mark.parametrize(("dropout", "batch_first"), [*product((0.0, 0.1), (False, True))])
def test_attention(kind: type[nn.Module], dropout: float, batch_first: bool) -> None:
    """Fused, and by products where weights are dropped."""
    model = kind(32, 4, 64, dropout=dropout, batch_first=batch_first)
    shapes = ((2, 9, 32), (2, 7, 32)) if batch_first else ((9, 2, 32), (7, 2, 32))
    given = shapes[0] if kind is nn.TransformerEncoderLayer else shapes
    found = costmodel.training_step(model, given, loss=lambda y: y.pow(2).sum(), optimizer=None).crosscheck()
    assert found.ok, found.mismatches


FORWARD = {"macs", "flops", "memory_access"}


def compared(found: costmodel.CrossCheck, kind: type[nn.Module]) -> set[str]:
    """The quantities that were derived twice of layers of one type."""
    return {c.quantity for c in found.comparisons if c.type == kind.__name__}


class Attending(nn.Module):
    """Attention between two linear layers, of a sequence as it comes or with its first axes exchanged."""

    def __init__(self, *, transposed: bool, way: str, need_weights: bool, **options: Any) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(8, 8), nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 4, **options).requires_grad_(way != "frozen")
        self._transposed, self._way, self._need_weights = transposed, way, need_weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of itself, under a causal mask where weights are not asked for."""
        x = self.before(x)
        x = x.transpose(0, 1) if self._transposed else x
        length = x.shape[1 if self.attention.batch_first else 0]
        mask = None if self._need_weights else torch.zeros(length, length, device=x.device)
        how = {"need_weights": self._need_weights, "attn_mask": mask, "is_causal": mask is not None}
        with torch.set_grad_enabled(self._way != "no grad"):
            y = self.attention(x, x, x, **how)[0]
        return self.after(y)


@pytest.mark.parametrize("way", ["learnt", "frozen", "no grad"])
@pytest.mark.parametrize(("need_weights", "dropout"), [*product((False, True), (0.0, 0.1))])
@pytest.mark.parametrize(("batch_first", "transposed"), [*product((False, True), (False, True))])
def test_the_forward_of_attention(
    batch_first: bool, transposed: bool, need_weights: bool, dropout: float, way: str
) -> None:
    """By products, by one kernel, under a causal mask; of inputs that lie in either order, learnt or frozen."""
    options = {"batch_first": batch_first, "dropout": dropout, "bias": way != "no grad"}
    model = Attending(transposed=transposed, way=way, need_weights=need_weights, **options)
    if way == "no grad":
        model.attention.requires_grad_(False)
    found = costmodel.training_step(model, (2, 5, 8), optimizer=None).crosscheck()
    assert found.ok, found.mismatches
    assert compared(found, nn.MultiheadAttention) >= FORWARD


class Followed(nn.Module):
    """Attention, whose result is used in one of several ways."""

    def __init__(self, after: str, **options: Any) -> None:
        super().__init__()
        self.attention, self.linear, self.factor = nn.MultiheadAttention(8, 4, **options), nn.Linear(8, 8), 0.5
        self._after = after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the loss squares."""
        y = self.attention(x, x, x)[0]
        match self._after:
            case "product":
                return y * self.factor
            case "linear":
                return self.linear(y)
            case "linear, transposed":
                return self.linear(y.transpose(0, 1))
        return y


@pytest.mark.parametrize("after", ["sum", "loss", "product", "linear", "linear, transposed"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_how_the_gradient_of_attention_lies_in_memory(batch_first: bool, after: str) -> None:
    """Where the batch comes first, it is copied into the order of the products, unless it has come in that."""
    model = Followed(after, batch_first=batch_first)
    power = 1 if after == "sum" else 2  # the gradient of a sum is one number, expanded
    step = costmodel.training_step(model, (2, 5, 8), loss=lambda y: (y if power == 1 else y**2).sum(), optimizer=None)
    found = step.crosscheck()
    assert found.ok, found.mismatches
    attention = next(layer for layer in step.step_layers if layer.name == "attention")
    copied = [op.call for op in attention.backward if op.call.op == "aten.clone.default"]
    first = [call for call in copied if call.outputs[0].shape in ((5, 2, 8), (10, 8)) and batch_first]
    assert bool(first) == (batch_first and after == "linear")


class Narrowed(nn.Module):
    """Attention to narrower keys, which are values as well."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.attention = nn.Linear(8, 6), nn.MultiheadAttention(8, 4, kdim=6, vdim=6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of each token to those."""
        keys = self.narrow(x)
        y: torch.Tensor = self.attention(x, keys, keys)[0]
        return y


@pytest.mark.parametrize(("model", "shape"), [
    (Narrowed(), (5, 2, 8)), (nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 4, 16)), (5, 8)),
    (nn.TransformerDecoderLayer(8, 4, 16), ((5, 8), (3, 8))),
])  # fmt: skip
def test_one_tensor_as_several_inputs_of_attention(model: nn.Module, shape: Any) -> None:
    """It is kept once, also where each is projected by itself: by weights of their own, or without a batch."""
    found = costmodel.training_step(model, shape, loss=lambda y: y.exp().sum(), optimizer=None).crosscheck()
    assert found.ok, found.mismatches
    assert "saved bytes" in compared(found, nn.MultiheadAttention)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_transformer_that_is_frozen_in_part(dropout: float) -> None:
    """Its forward is compared as a whole, though gradients are asked of some of its layers alone."""
    layer = nn.TransformerEncoderLayer(8, 4, 16, dropout=dropout, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    model.layers[0].requires_grad_(False)
    found = costmodel.training_step(model, (2, 5, 8), loss=lambda y: y.pow(2).sum(), optimizer=None).crosscheck()
    assert found.ok, found.mismatches
    for kind in (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention):
        assert compared(found, kind) >= FORWARD


def test_a_layer_that_is_called_twice() -> None:
    """Each call makes a mask of its own size."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.dropout = nn.Linear(8, 8), nn.Dropout()

        def forward(self, x: torch.Tensor) -> Any:
            return self.dropout(self.linear(self.dropout(x)[:1]))

    found = costmodel.training_step(Twice(), (4, 8), optimizer=None, loss=lambda y: y.pow(2).sum()).crosscheck()
    assert found.ok, found.mismatches
    moved = [c.traced for c in found.comparisons if c.type == "Dropout" and c.quantity == "memory_access"]
    assert moved == [6 * 32, 6 * 8]
