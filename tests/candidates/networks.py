"""Models that the tests of sweeps build, also in other processes: where those find them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from torch import nn


def small(depth: int, width: int = 8) -> nn.Module:
    """Convolutions of 3x3 on 3 channels; a depth of 3 has an error of the user's own."""
    if depth == 3:
        raise RuntimeError("three is too many")
    layers: list[nn.Module] = []
    channels = 3
    for _ in range(depth):
        layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=False))
        channels = width
    return nn.Sequential(*layers)


def small_macs(depth: int, width: int, size: int) -> int:
    """By hand: 9 taps at each position, from 3 channels to width, then from width to width."""
    return 9 * size * size * (3 * width + (depth - 1) * width * width)


def slow(depth: int, width: int = 8, folder: str = "") -> nn.Module:
    """The same after a while; the first candidate of a width of 13 takes its process with it."""
    time.sleep(0.05)
    marker = Path(folder) / "killed"
    if width == 13 and not marker.exists():
        marker.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return small(depth, width)


def deadly(depth: int) -> nn.Module:
    """A depth of 2 takes its process with it, each time."""
    if depth == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return small(depth)
