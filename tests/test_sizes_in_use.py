"""The sizes that people bring: a model of 100,000 ops, Llama 3.1 405B, a batch of a trillion. Work is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import costmodel
from costmodel import Input
from costmodel.receptive_field import flow

HIDDEN, FEATURES, HEADS, KEYS, HEAD, VOCABULARY = 16384, 53248, 128, 8, 128, 128256
"""Llama 3.1 405B (arXiv:2407.21783, table 3)."""
TOKENS = 8192
PARAMS = 405_853_388_800
"""Of Llama 3.1 405B: huggingface.co/meta-llama/Llama-3.1-405B."""


class Block(nn.Module):
    """A decoder block of Llama: grouped queries, rotary positions, a gated feed-forward network."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.RMSNorm(HIDDEN), nn.RMSNorm(HIDDEN)
        self.q, self.o = (nn.Linear(HIDDEN, HIDDEN, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(HIDDEN, KEYS * HEAD, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(HIDDEN, FEATURES, bias=False) for _ in range(2))
        self.down = nn.Linear(FEATURES, HIDDEN, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Attention, then the network, each on what is normed and beside it."""
        y = self.before(x)
        q, k, v = (f(y).unflatten(-1, (-1, HEAD)).transpose(1, 2) for f in (self.q, self.k, self.v))
        q, k = (t * cos + torch.cat([-t[..., HEAD // 2 :], t[..., : HEAD // 2]], -1) * sin for t in (q, k))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(y.transpose(1, 2).flatten(2))
        y = self.between(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    """The network, with its head."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, HIDDEN)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.norm, self.head = nn.RMSNorm(HIDDEN), nn.Linear(HIDDEN, VOCABULARY, bias=False)
        self.register_buffer("cos", torch.empty(TOKENS, HEAD))
        self.register_buffer("sin", torch.empty(TOKENS, HEAD))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of each token."""
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(self.norm(x))


def llama(blocks: int) -> costmodel.Profile:
    """A profile of so many blocks, on meta tensors."""
    with torch.device("meta"):
        model = Llama(blocks)
    return costmodel.profile(model, Input((1, TOKENS), torch.int64))


def test_llama_405b_has_its_published_size_and_is_a_screen() -> None:
    """Parameters as published, a MAC for each of them and token, and two products of tokens x tokens for each head."""
    p = llama(126)
    assert p.params == PARAMS
    multiplied = PARAMS - VOCABULARY * HIDDEN - 253 * HIDDEN  # without the embedding and the norms
    assert p.macs == TOKENS * multiplied + 126 * 2 * TOKENS**2 * HIDDEN
    assert p.is_exact
    assert len(p.layers) > 126 * 9
    assert len(str(p).splitlines()) <= 60


def test_each_block_of_llama_405b_takes_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields are composed for the first blocks alone, and no table has more entries than there are tokens."""
    entries: list[int] = []

    def counted(name: str) -> None:
        original: Callable[..., Any] = getattr(flow, name)

        def composed(*a: Any, **k: Any) -> Any:
            found = original(*a, **k)
            entries.extend(path.low.size for path in found)
            return found

        monkeypatch.setattr(flow, name, composed)

    counted("compose")
    counted("same_pieces")
    found = []
    for blocks in (8, 126):
        entries.clear()
        assert llama(blocks).layers.receptive_field.iloc[-1] == (TOKENS,)
        found.append(len(entries))
    assert found[1] == found[0]
    assert max(entries) == TOKENS


class Additions(nn.Module):
    """``count`` ops outside any leaf, every fourth in place."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Adds 1 again and again."""
        for i in range(self.count):
            x = x + 1 if i % 4 else x.add_(1)
        return x


def test_a_model_of_100_000_ops() -> None:
    """Every total, by hand: each addition reads four numbers and writes four; fused, only the first and the last do."""
    p = costmodel.profile(Additions(100_000), (1, 4))
    assert (p.flops, p.memory_access, p.memory_access_bytes) == (400_000, 800_000, 3_200_000)
    assert len(p.fusion.kernels) == 1
    assert p.fused_memory_access == 8 + 4  # the input is changed by the first op, and stays
    assert p.is_exact
    assert p.peak_memory == 2 * 4 * 4 + 4 * 4  # the input, one that is read and one that is written


def test_a_batch_of_a_trillion() -> None:
    """Every figure is an exact int, and what it is for one sample and for each further one, by the first two."""
    trillion = 10**12
    one, two, many = (costmodel.profile("resnet18", (n, 3, 224, 224)) for n in (1, 2, trillion))
    assert many.macs == trillion * 1_814_073_344  # torchvision, ResNet18_Weights: 1.814 G
    for name in costmodel.measures.MEASURES:
        first, second, found = (p.total(name) for p in (one, two, many))
        if first is None or second is None:
            assert found is None
            continue
        assert type(found) is int
        assert found == first + (trillion - 1) * (second - first)
    assert one.layers.receptive_field.tolist() == many.layers.receptive_field.tolist()
    assert all(type(n) is int for n in many.layers["macs"])
    assert many.crosscheck().ok
