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


class Tokens(Blocks):
    """The same from tokens, which are then the axis that is followed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gives each token four features first."""
        return super().forward(x[:, :, None].expand(-1, -1, 4))


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


@pytest.mark.parametrize(("model", "shape"), [(Blocks, (2, 16, 4)), (Tokens, (1, 8192))])
def test_blocks_that_see_the_same_are_composed_once(
    compositions: list[str], model: type[Blocks], shape: tuple[int, ...]
) -> None:
    """What an op makes of fields that an op like it has read before is not computed again."""
    counts = []
    for blocks in (4, 40):
        compositions.clear()
        found = Fields(profile(model(blocks), shape).pricing)
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


class Rotary(nn.Module):
    """Blocks that turn features in pairs, as rotary position embeddings do: two halves, exchanged and joined again."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.mix = nn.ModuleList(nn.Conv1d(8, 8, 3, padding=1) for _ in range(blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolves, and adds the features turned."""
        for mix in self.mix:
            y = mix(x)
            x = y + torch.cat([-y[:, 4:], y[:, :4]], 1)
        return x


def test_pieces_that_see_the_same_are_joined_without_a_table_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves of the features that depend on the same positions need no table of features x positions."""
    entries: list[int] = []
    compose = flow.compose
    monkeypatch.setattr(
        flow, "compose", lambda *a, **k: (found := compose(*a, **k), entries.extend(p.low.size for p in found))[0]
    )
    fields = Fields(profile(Rotary(5), (1, 8, 64)).pricing)
    assert fields.at("mix.4").size == (11,)
    assert fields.at("cat#5").size == (11,)
    assert max(entries) == 64


class Halves(nn.Module):
    """A tensor's channels joined with others of the same shape."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Every layer's output, one after the other."""
        return torch.cat([layer(x) for layer in self.layers], 1)


@pytest.mark.parametrize(
    ("second", "sizes"),
    [(nn.Conv1d(4, 4, 3, padding=1), [3, 3]), (nn.Conv1d(4, 4, 5, padding=2), [3, 5]), (nn.Identity(), [3, 1])],
)
def test_each_channel_of_joined_pieces_sees_what_its_piece_sees(second: nn.Module, sizes: list[int]) -> None:
    """Whether the pieces depend on the same or not: a grouped convolution after them reads one piece in each group."""
    model = nn.Sequential(Halves(nn.Conv1d(4, 4, 3, padding=1), second), nn.Conv1d(8, 2, 1, groups=2))
    fields = Fields(profile(model, (1, 4, 32)).pricing)
    paths = fields._nominal[fields._key(fields.pricing.layers[-1])][0]
    widths = [[int((p.high - p.low)[0, c * (p.low.shape[1] > 1)].max()) + 1 for p in paths] for c in range(2)]
    assert [max(of_channel) for of_channel in widths] == sizes
