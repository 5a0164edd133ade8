"""Recurrent layers in a training step: both wings agree, and autograd really keeps as many bytes."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import costmodel

LAYERS = [nn.LSTM, nn.GRU, nn.RNN]
OLDER_ONEDNN = torch.__version__.startswith("2.6.")
"""Whether an LSTM's workspace is that of oneDNN 3.5, of which there is no formula."""
SHAPES = [(4, 7, 16), (1, 7, 16), (4, 1, 16), (7, 16)]


def kept_bytes(layer: nn.Module, x: torch.Tensor) -> int:
    """What autograd keeps of a real call, parameters apart."""
    own = {p.untyped_storage().data_ptr() for p in layer.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(x)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_what_is_kept(kind: type[nn.Module], batch_first: bool) -> None:
    """Of a batch that comes first, the product of each direction copies the input; oneDNN's LSTM copies it once."""
    for shape, layers, both, bias in itertools.product(SHAPES, (1, 2), (False, True), (False, True)):
        options = {"num_layers": layers, "bidirectional": both, "bias": bias, "batch_first": batch_first}
        layer = kind(16, 8, **options)
        step = costmodel.training_step(layer, shape, loss=lambda y: y[0].sum(), optimizer=None)
        checked = [c for c in step.crosscheck().comparisons if c.quantity == "saved bytes"]
        if kind is not nn.LSTM or not OLDER_ONEDNN:
            assert [c.closed_form for c in checked] == [c.traced for c in checked], (shape, options)
        assert [c.traced for c in checked] == [kept_bytes(layer, torch.ones(shape))], (shape, options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", LAYERS)
def test_in_other_dtypes(kind: type[nn.Module], dtype: torch.dtype) -> None:
    """oneDNN has no LSTM in double precision, and none that is trained in half: these run step by step."""
    for layers, both, bias in itertools.product((1, 2), (False, True), (False, True)):
        layer = kind(16, 8, num_layers=layers, bidirectional=both, bias=bias).to(dtype)
        given = costmodel.Input((4, 7, 16), dtype)
        step = costmodel.training_step(layer, given, loss=lambda y: y[0].sum(), optimizer=None)
        crosscheck = step.crosscheck()
        if dtype is not torch.bfloat16 or kind is not nn.LSTM or not OLDER_ONEDNN:
            assert crosscheck.ok, crosscheck.mismatches
        traced = [c.traced for c in crosscheck.comparisons if c.quantity == "saved bytes"]
        assert traced == [kept_bytes(layer, torch.ones(4, 7, 16, dtype=dtype))]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_lstm_under_autocast(dtype: torch.dtype) -> None:
    """What decides whether oneDNN computes the layer at once is the input's dtype, before autocast casts it."""
    step = costmodel.training_step(nn.LSTM(5, 7), (4, 3, 5), loss=lambda y: y[0].float().sum(), autocast=dtype)
    assert step.crosscheck().ok, step.crosscheck().mismatches
