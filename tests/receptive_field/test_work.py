"""What receptive fields take: counted in tables and compositions, as times depend on the machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # as everybody writes it

from costmodel import profile
from costmodel.receptive_field import Fields, flow


class Blocks(nn.Module):
    """Blocks of windowed attention, all alike."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.mix = nn.ModuleList(nn.Linear(4, 4) for _ in range(blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attends within windows of four tokens."""
        b, n, c = x.shape
        for mix in self.mix:
            t = x.view(b * n // 4, 4, c)
            x = x + mix(F.scaled_dot_product_attention(t, t, t)).view(b, n, c)
        return x


@pytest.fixture
def compositions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The compositions and reshapes of fields that were done."""
    done: list[str] = []

    def counted(name: str) -> None:
        original: Callable[..., Any] = getattr(flow, name)
        monkeypatch.setattr(flow, name, lambda *a, **k: (done.append(name), original(*a, **k))[1])

    counted("compose")
    counted("reshape_field")
    return done


def test_blocks_that_see_the_same_are_composed_once(compositions: list[str]) -> None:
    """What an op makes of fields that an op like it has read before is not computed again."""
    counts = []
    for blocks in (4, 40):
        compositions.clear()
        found = Fields(profile(Blocks(blocks), (2, 16, 4)).pricing)
        assert found.at(f"mix.{blocks - 1}").size == (4,)
        counts.append(len(compositions))
    assert counts[1] == counts[0] > 0


def test_a_field_is_dropped_after_its_last_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many layers there are, the tables of few tensors are kept at a time."""
    held = []
    step = flow.Flow._step
    monkeypatch.setattr(flow.Flow, "_step", lambda self, op: (held.append(len(self._now)), step(self, op))[1])
    model = nn.Sequential(*[nn.Conv1d(2, 2, 3, padding=1) for _ in range(100)])
    fields = Fields(profile(model, (1, 2, 16)).pricing)
    assert fields.at("99").size == (201,)
    assert len(held) == 100
    assert max(held) <= 8
