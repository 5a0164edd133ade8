"""Receptive fields of what attends: patches, tokens, class tokens, windows plain and shifted."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from costmodel import profile
from tests.receptive_field._oracle import check


class Tokens(nn.Module):
    """Patches, a class token, one encoder layer, a head on the class token."""

    def __init__(self, attention: str = "fused") -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.zeros(1, 1, 8))
        self.qkv, self.mix, self.head, self.attention = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 2), attention

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = self.patch(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.token.expand(len(t), -1, -1), t], 1)
        q, k, v = self.qkv(t).reshape(len(t), -1, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        if self.attention == "fused":
            y = F.scaled_dot_product_attention(q, k, v)
        elif self.attention == "written out":
            y = (q @ k.transpose(-2, -1) * 0.5).softmax(-1) @ v
        else:
            y = q.softmax(-1) @ (k.softmax(-2).transpose(-2, -1) @ v)
        t = t + self.mix(y.transpose(1, 2).reshape(len(t), -1, 8))
        return self.head(t[:, 0])


@pytest.mark.parametrize("attention", ["fused", "written out", "linear"])
def test_attention_sees_all_tokens(attention: str) -> None:
    """Patches are local, their attention and all that follows global, and none of it a gate."""
    p = profile(Tokens(attention), (1, 3, 16, 24))
    assert p.receptive_field().layer == "patch"
    assert p.receptive_field().size == (4, 4)
    for layer in ("mix", "head"):
        told = p.receptive_field(layer)
        assert (told.size, told.is_global, told.gates) == ((16, 24), True, (False, False))
    assert p.receptive_field("mix").stride == (4, 4)
    # Token 1 + 6 row + column: the patch (2, 3) is token 16.
    assert p.receptive_field("qkv", (16,)).seen == ((8, 11), (12, 15))
    assert p.receptive_field("qkv", (0,)).seen == (None, None)
    assert check(Tokens(attention), (1, 3, 16, 24), names=["patch", "qkv", "mix", "head"], at_most=99) > 50


class Windows(nn.Module):
    """Attention of two heads within windows of ``size`` x ``size``, rolled by ``shift`` and back, as in Swin."""

    def __init__(self, size: int, shift: int = 0, *, fused: bool = True) -> None:
        super().__init__()
        self.size, self.shift, self.fused = size, shift, fused
        self.patch, self.qkv, self.out = nn.Conv2d(3, 4, 2, 2), nn.Linear(4, 12), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).permute(0, 2, 3, 1)
        b, h, w, c = x.shape
        n = self.size
        y = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        t = y.view(b, h // n, n, w // n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, n * n, c)
        q, k, v = self.qkv(t).reshape(len(t), n * n, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        t = F.scaled_dot_product_attention(q, k, v) if self.fused else (q @ k.transpose(-2, -1)).softmax(-1) @ v
        t = t.transpose(1, 2).reshape(-1, n * n, c)
        y = t.view(b, h // n, w // n, n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return self.out((x + torch.roll(y, (self.shift, self.shift), (1, 2))).permute(0, 3, 1, 2))


@pytest.mark.parametrize("fused", [True, False])
def test_windowed_attention_sees_its_windows(fused: bool) -> None:
    """Windows of 3 tokens of 2 pixels: 6 pixels, the same for every token of a window; stride that of the tokens."""
    p = profile(Windows(3, fused=fused), (1, 3, 24, 36))
    told = p.receptive_field("out")
    assert (told.size, told.stride, told.is_global) == ((6, 6), (2, 2), False)
    assert p.receptive_field().layer == "out"
    assert [p.receptive_field("out", (i, 4)).seen for i in range(4)] == [((0, 5), (6, 11))] * 3 + [((6, 11), (6, 11))]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("shift", [0, 1])
def test_windows_rolled_or_not_are_what_the_poison_finds(shift: int, fused: bool) -> None:
    """Every position of plain and of shifted windows, those across the wrap included."""
    assert check(Windows(3, shift, fused=fused), (1, 3, 24, 36), names=["patch", "out"], at_most=99) > 300


def test_the_table_of_layers_has_both_columns() -> None:
    """A tuple per axis in every row that depends on the input; None where nothing does."""
    rows = profile(Tokens(), (1, 3, 16, 24)).layers.set_index("name")
    assert rows.loc["patch", "receptive_field"] == (4, 4)
    assert rows.loc["patch", "stride"] == (4, 4)
    assert rows.loc["expand", "receptive_field"] is None
    assert rows.loc["head", "receptive_field"] == (16, 24)
    assert rows.loc["head", "stride"] == (None, None)


def test_patches_cut_out_by_unfold() -> None:
    """Overlapping patches of 4 x 6, 2 and 3 apart and padded, as tokens: each sees its own, in both directions."""
    net = nn.Sequential(nn.Unfold((4, 6), stride=(2, 3), padding=(1, 2)), nn.Conv1d(72, 4, 1))
    told = profile(net, (1, 3, 12, 18)).receptive_field("1")
    assert (told.size, told.stride, told.start, told.is_global) == ((4, 6), (2, 3), (-1, -2), False)
    assert check(net, (1, 3, 12, 18), names=["1"], at_most=99) > 50
