"""Inputs of no elements, and inputs larger than any memory."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel.errors import InputError
from costmodel.receptive_field import UnknownLayerError, paths
from tests.robustness.everything import look_at_everything

ENCODER = {"d_model": 8, "nhead": 2, "dim_feedforward": 16, "batch_first": True}

EMPTY: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "conv": (lambda: nn.Conv2d(6, 9, 3), (0, 6, 8, 8)),
    "linear, no rows": (lambda: nn.Linear(4, 4), (0, 4)),
    "linear, no features": (lambda: nn.Linear(0, 4), (1, 0)),
    "linear, no outputs": (lambda: nn.Linear(4, 0), (1, 4)),
    "no elements, one dimension": (lambda: nn.ReLU(), (0,)),
    "no positions": (lambda: nn.Conv1d(2, 2, 3, padding=2), (1, 2, 0)),
    "identity": (lambda: nn.Identity(), (1, 3)),
    "no layers": (lambda: nn.Sequential(), (1, 3)),
    "max pool": (lambda: nn.MaxPool2d(2), (0, 3, 8, 8)),
    "batch norm": (lambda: nn.BatchNorm2d(3), (0, 3, 8, 8)),
    "instance norm": (lambda: nn.InstanceNorm2d(3), (0, 3, 4, 4)),
    "layer norm": (lambda: nn.LayerNorm(4), (0, 4)),
    "group norm": (lambda: nn.GroupNorm(1, 4), (0, 4, 3)),
    "rms norm": (lambda: nn.RMSNorm(4), (0, 4)),
    "encoder, no batch": (lambda: nn.TransformerEncoderLayer(**ENCODER), (0, 5, 8)),
    "encoder, no tokens": (lambda: nn.TransformerEncoderLayer(**ENCODER), (2, 0, 8)),
    "upsample": (lambda: nn.Upsample(scale_factor=2), (0, 3, 8, 8)),
    "lstm": (lambda: nn.LSTM(4, 4), (3, 0, 4)),
    "embedding": (lambda: nn.Embedding(3, 4), costmodel.Input((0, 3), torch.int64)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 4, 2), (0, 4, 3, 3)),
    "softmax": (lambda: nn.Softmax(-1), (0, 4)),
    "conv, no outputs": (lambda: nn.Conv2d(4, 0, 1), (1, 4, 8, 8)),
    "conv, no inputs": (lambda: nn.Conv2d(0, 4, 1), (1, 0, 8, 8)),
    "flatten": (lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(256, 2)), (0, 3, 8, 8)),
}


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("name", EMPTY)
def test_empty_tensors_have_every_view(name: str) -> None:
    """Where torch runs the model on no elements, every table, analysis, format and figure of its profile exists."""
    make, inputs = EMPTY[name]
    look_at_everything(costmodel.profile(make(), inputs))


class WithCache(nn.Module):
    """A convolution, and a cache that is empty at first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3)

    def forward(self, cache: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([cache, self.conv(x)], 2)


def test_an_empty_input_beside_another_is_not_what_fields_refer_to() -> None:
    """Receptive fields refer to the first input that has elements."""
    p = costmodel.profile(WithCache(), ((1, 2, 0), (1, 2, 9)))
    assert p.receptive_field("conv").size == (3,)


def test_a_model_without_positions_says_why_it_has_no_field() -> None:
    """The error names the reason: there are no elements."""
    with pytest.raises(UnknownLayerError, match="no input has positions along an axis: each is empty"):
        costmodel.profile(nn.Conv2d(3, 3, 3), (0, 3, 8, 8)).receptive_field()


def test_inputs_larger_than_any_memory_are_profiled() -> None:
    """10**16 pixels: exact counts by the formula, every view, and no receptive field."""
    started = time.monotonic()
    p = costmodel.profile(nn.Conv2d(3, 8, 3), (1, 3, 10**8, 10**8))
    assert p.macs == 8 * 3 * 9 * (10**8 - 2) ** 2
    assert p.layers.receptive_field.tolist() == [None]
    with pytest.raises(UnknownLayerError, match="the input has 100,000,000 positions along an axis"):
        p.receptive_field()
    look_at_everything(p)
    assert time.monotonic() - started < 60


def test_a_field_whose_table_would_be_too_large_is_an_upper_bound_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flattened rows and columns need a table of both; without room for it, the whole image is the bound."""
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(2), nn.ReLU())
    exact = costmodel.profile(model, (1, 1, 40, 40)).receptive_field("2")
    assert exact.size == (3, 3)
    monkeypatch.setattr(paths, "MAX_ENTRIES", 1000)  # 38 * 38 are more
    bound = costmodel.profile(model, (1, 1, 40, 40)).receptive_field("2")
    assert bound.size == (40, 40)
    assert "entries are not made" in bound.notes[0]


@pytest.mark.parametrize("shape", [(10**30, 4), (10**18, 10**18, 4), (2**62,), (2**63, 4)], ids=str)
def test_shapes_that_torch_cannot_make_are_one_clear_error(shape: tuple[int, ...]) -> None:
    """A tensor of 2**63 bytes and more is refused with its shape, in one line."""
    with pytest.raises(
        InputError, match=f"^{re.escape(f'torch makes no torch.float32 tensor of shape {shape}: ')}"
    ) as e:
        costmodel.profile(nn.ReLU(), shape)
    assert "\n" not in str(e.value)
    assert "pass a smaller shape" in str(e.value)
