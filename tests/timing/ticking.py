"""Modules whose forward moves a clock of the tests' own by a known time, so that times are exact."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

DEVICE = """
[own]
title = "A device of the tests"
peak.float32.value = 1000.0
peak.float32.source = "made up"
bandwidth.value = 1e6
bandwidth.source = "made up"
"""
"""1,000 FLOP/s and a million bytes/s: with few bytes a FLOP, a layer waits for arithmetic."""


class Clock:
    """What the times are read from."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


class Tick(nn.Module):
    """A linear layer of 3 x 2 whose calls take the given seconds in turn, from the first after ``start``."""

    def __init__(self, *seconds: float) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2, bias=False)
        self.seconds = seconds
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        CLOCK.now += self.seconds[self.calls % len(self.seconds)]
        self.calls += 1
        return nn.functional.linear(x, self.linear.weight)


class Between(nn.Module):
    """Layers one after the other on the same input, and seconds before each that are outside of all."""

    def __init__(self, layers: Sequence[nn.Module], pause: float) -> None:
        super().__init__()
        self.layers, self.pause = nn.ModuleList(layers), pause

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for layer in self.layers:
            CLOCK.now += self.pause
            found.append(layer(x))
        return found
