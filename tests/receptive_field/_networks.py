"""Small networks that Hypothesis draws: chains and branches of everything that moves a position along an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # as everybody writes it

CHANNELS = 4


class Step(nn.Module):
    """A function as a module, so that a hook sees what it returns."""

    def __init__(self, name: str, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.told, self.function = name, function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return self.told


class Joined(nn.Module):
    """Branches on the same input, cropped to the shortest, added or concatenated (and mixed by a 1x1).

    Branches whose lengths differ by more than ``crop`` are refused.
    """

    def __init__(self, branches: list[nn.Module], how: str, crop: int) -> None:
        super().__init__()
        self.branches, self.how, self.crop = nn.ModuleList(branches), how, crop
        self.mix = nn.Conv1d(CHANNELS * len(branches), CHANNELS, 1)
        self.out = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ys = [branch(x) for branch in self.branches]
        n = min(y.shape[-1] for y in ys)
        if max(y.shape[-1] for y in ys) > n + self.crop:
            raise ValueError("the branches differ by too much")
        ys = [y[..., :n] for y in ys]
        if self.how == "add":
            y = ys[0]
            for other in ys[1:]:
                y = y + other
            return self.out(y)
        if self.how == "part of cat":
            return self.out(torch.cat(ys, 1)[:, 2 : 2 + CHANNELS])
        return self.out(self.mix(torch.cat(ys, 1)))


@st.composite
def windows(draw: st.DrawFn) -> nn.Module:
    """Convolutions and poolings."""
    k, s, d, p = draw(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 4)))
    groups = draw(st.sampled_from([1, 1, 2, CHANNELS]))
    match draw(st.sampled_from(["conv", "conv", "transposed", "max", "average", "unpadded"])):
        case "conv":
            return nn.Conv1d(CHANNELS, CHANNELS, k, s, p, d, groups)
        case "unpadded":
            return nn.Conv1d(CHANNELS, CHANNELS, k, s, 0, d, groups)
        case "transposed":
            extra = draw(st.integers(0, max(s, d) - 1))
            return nn.ConvTranspose1d(CHANNELS, CHANNELS, k, s, p, extra, groups, dilation=d)
        case "max":
            return nn.MaxPool1d(k, s, min(p, k // 2), d, ceil_mode=draw(st.booleans()))
        case _:
            return nn.AvgPool1d(k, s, min(p, k // 2), ceil_mode=draw(st.booleans()))


def _even_odd(x: torch.Tensor) -> torch.Tensor:
    n = x.shape[-1] // 2 * 2
    return torch.cat([x[..., 0:n:2], x[..., 1:n:2]], 1)[:, 1 : 1 + CHANNELS]


def _written(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[..., 1:3] = x[..., :1]
    y[:, :2].mul_(2.0)
    y.view(y.shape[0], -1).add_(1.0)
    return y


def _depth_to_space(x: torch.Tensor) -> torch.Tensor:
    b, c, n = x.shape
    return x.view(b, c // 2, 2, n).transpose(2, 3).reshape(b, c // 2, 2 * n).repeat(1, 2, 1)


def _shuffled(x: torch.Tensor) -> torch.Tensor:
    b, c, n = x.shape
    return x.view(b, 2, c // 2, n).transpose(1, 2).reshape(b, c, n)


def _tokens(x: torch.Tensor) -> torch.Tensor:
    b, c, n = x.shape
    tokens = F.layer_norm(x.flatten(2).transpose(1, 2), (c,))
    return torch.cat([tokens[:, :1] * 0.5, tokens], 1)[:, 1:].permute(0, 2, 1).reshape(b, c, n)


def _within_windows(x: torch.Tensor) -> torch.Tensor:
    b, c, n = x.shape
    t = x[..., : n // 2 * 2].reshape(b, c, n // 2, 2).permute(0, 2, 3, 1).reshape(b * (n // 2), 2, c)
    y = F.scaled_dot_product_attention(t, t, t)
    return y.view(b, n // 2, 2, c).permute(0, 3, 1, 2).reshape(b, c, n // 2 * 2)


MOVES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu,
    "relu_": lambda x: torch.relu_(x.clone()),
    "upsampled x2": lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
    "upsampled x3": lambda x: F.interpolate(x, scale_factor=3, mode="nearest"),
    "resized to 13": lambda x: F.interpolate(x, size=13, mode="nearest"),
    "every second": lambda x: x[..., ::2],
    "from the third": lambda x: x[..., 2:],
    "without the last": lambda x: x[..., :-1],
    "rolled": lambda x: torch.roll(x, 2, -1),
    "flipped": lambda x: x.flip(-1),
    "padded": lambda x: F.pad(x, (2, 1)),
    "cropped": lambda x: F.pad(x, (-1, -1)),
    "mirrored": lambda x: F.pad(x, (2, 1), mode="reflect"),
    "edge": lambda x: F.pad(x, (2, 3), mode="replicate"),
    "circular": lambda x: F.pad(x, (1, 2), mode="circular"),
    "adaptive": lambda x: F.adaptive_avg_pool1d(x, 5),
    "halves swapped": lambda x: torch.cat([x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]], -1),
    "repeated": lambda x: x.repeat(1, 1, 2),
    "even and odd": _even_odd,
    "written in place": _written,
    "depth to space": _depth_to_space,
    "shuffled": _shuffled,
    "tokens": _tokens,
    "within windows": _within_windows,
}


UNBOUNDED = (
    "relu", "upsampled x2", "upsampled x3", "every second", "from the third", "padded", "cropped", "mirrored",
    "circular", "even and odd", "depth to space", "shuffled",
)  # fmt: skip
"""The moves that do the same wherever an axis ends."""


@st.composite
def steps(draw: st.DrawFn, moves: Sequence[str]) -> nn.Module:
    """One step: a window twice out of three, or a move."""
    if draw(st.integers(0, 2)):
        return draw(windows())
    name = draw(st.sampled_from(moves))
    return Step(name, MOVES[name])


@st.composite
def networks(
    draw: st.DrawFn, *, moves: Sequence[str] = tuple(MOVES), length: int | None = None, crop: int = 1000, most: int = 20
) -> tuple[nn.Sequential, int]:
    """A network and the length of its input; whatever does not fit is left out.

    Branches are cropped by ``crop`` positions at most, and no feature map is shorter than the input by a factor
    of more than ``most``.
    """
    length = length or draw(st.integers(6, 20))
    longest = 2 * length + 10
    x = torch.zeros(1, CHANNELS, length)
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 5))):
        layer = draw(steps(moves))
        if draw(st.integers(0, 3)) == 0:
            other = nn.Sequential(*draw(st.lists(steps(moves), max_size=2)))
            layer = Joined([layer, other], draw(st.sampled_from(["add", "cat", "part of cat"])), crop)
        try:
            with torch.no_grad():
                y = layer(x)
        except (RuntimeError, ValueError):
            continue
        if length <= most * y.shape[-1] and y.shape[-1] <= longest and y.shape[1] == CHANNELS:
            layers.append(layer)
            x = y
    return nn.Sequential(*layers), length
