"""The peak of a forward and its backward on meta is a real run's, to the byte: recurrent, attention, autocast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from itertools import accumulate
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.live_memory import allocations, peak
from tests.trace.test_backward import Traced

pytestmark = pytest.mark.usefixtures("one_thread")  # more threads have more workspaces


class InAutocast(nn.Module):
    """A module called in a block of autocast of its own, or in none; of several outputs the first."""

    def __init__(self, module: nn.Module, *, autocast: bool) -> None:
        super().__init__()
        self.module, self.autocast = module, autocast

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16) if self.autocast else nullcontext():
            y = self.module(x)
        return y[0] if isinstance(y, tuple) else y


class Masked(nn.Module):
    """Two layers of attention with a mask, by matrix products where it has dropout."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout, self.layers = dropout, nn.ModuleList(nn.Linear(64, 192) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.zeros(40, 40, device=x.device)
        for layer in self.layers:
            q, k, v = layer(x).view(4, 40, 3, 4, 16).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, mask.to(q.dtype), dropout_p=self.dropout)
            x = y.transpose(1, 2).reshape(x.shape)
        return x


def encoder(dropout: float) -> nn.Module:
    """A transformer of two layers."""
    layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=dropout, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def convolutions() -> nn.Module:
    """Two convolutions with batch norms, and a classifier."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


SEQUENCE, TOKENS, IMAGES = (20, 8, 64), (4, 40, 64), (4, 3, 32, 32)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "LSTM": (lambda: nn.LSTM(64, 128, 2), SEQUENCE),
    "LSTM of two directions": (
        lambda: nn.LSTM(64, 128, 2, bidirectional=True, dropout=0.5, batch_first=True), SEQUENCE,
    ),
    "GRU": (lambda: nn.GRU(64, 128), SEQUENCE),
    "RNN": (lambda: nn.RNN(64, 128, bidirectional=True), SEQUENCE),
    "transformer": (lambda: encoder(0.0), TOKENS),
    "transformer with dropout": (lambda: encoder(0.1), TOKENS),
    "masked attention": (lambda: Masked(0.0), TOKENS),
    "masked attention with dropout": (lambda: Masked(0.1), TOKENS),
    "convolutions": (convolutions, IMAGES),
}  # fmt: skip


def loss(y: Tensor) -> None:
    """A loss, and its backward."""
    y.float().square().sum().backward()  # type: ignore[no-untyped-call]  # torch has not annotated it


def traced_peak(traced: Traced) -> int:
    """The most bytes live at once, without parameters, buffers and the input."""
    changes: Counter[int] = Counter()
    for storage in traced.log.storages():
        if storage.role not in ("parameter", "buffer", "input"):
            changes[storage.allocated_at] += storage.nbytes
            if storage.freed_after is not None:
                changes[storage.freed_after + 1] -= storage.nbytes
    return max(accumulate(changes[at] for at in sorted(changes)))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_peak_of_forward_and_backward(name: str, autocast: bool) -> None:
    """What autograd keeps, casts of weights that end with their block, oneDNN's workspaces: the allocator's peak."""
    make, shape = NETWORKS[name]
    if "LSTM" in name and autocast and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return  # torch refuses it
    model, x = InAutocast(make(), autocast=autocast), torch.randn(shape, requires_grad=True)

    def run() -> Any:
        with torch.enable_grad():
            y = model(x)
            loss(y)

    expected = peak(allocations(run))
    assert traced_peak(Traced(lambda: InAutocast(make(), autocast=autocast), loss, shape)) == expected
