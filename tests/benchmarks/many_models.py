"""Profile models that all differ in one process: python -m tests.benchmarks.many_models [--models 2000].

Each is of a class of its own, refers to itself, and has other channels, kernels and inputs. Printed ten times:
milliseconds of CPU for one profile (the median since the last line), the memory of the process, and the entries of each
cache. None of them may grow with the number of models.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from torch import Tensor, nn

import costmodel
from tests.test_caches import sizes


def network(n: int) -> nn.Module:
    """Eight blocks of a convolution, a norm and an activation."""

    class Block(nn.Module):
        def __init__(self, channels: int, more: int, kernel: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(channels, channels + more, kernel, padding=kernel // 2)
            self.norm, self.act = nn.BatchNorm2d(channels + more), nn.ReLU()
            self.back = nn.Conv2d(channels + more, channels, 1)
            self.itself = [self]

        def forward(self, x: Tensor) -> Tensor:
            return x + self.back(self.act(self.norm(self.conv(x))))

    channels = 8 + n % 61
    blocks = [Block(channels, 1 + (7 * n + i) % 97, 1 + 2 * (n % 3)) for i in range(8)]
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10 + n)
    return nn.Sequential(nn.Conv2d(3, channels, 3, stride=2), *blocks, *head)


def resident() -> float:
    """Megabytes of memory that the process has now, on Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> None:
    """Profiles and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=2000)
    models = parser.parse_args().models
    took = []
    for n in range(1, models + 1):
        model = network(n)
        start = time.process_time()
        _ = costmodel.profile(model, (1 + n % 3, 3, 64 + n % 200, 64)).macs
        took.append(time.process_time() - start)
        if n % max(models // 10, 1) == 0:
            print(f"{n:6} models: {statistics.median(took) * 1e3:.1f} ms, {resident():,.0f} MB, {sizes()}", flush=True)
            took.clear()


if __name__ == "__main__":
    main()
