"""The cross-check of steps of recurrent and attention layers, as networks call them."""

from __future__ import annotations

from itertools import product

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
