"""Print what other counters say of small models whose MACs are known: python -m tests.benchmarks.other_counters.

The figures are those of the table in docs/counters.md. Counters that are not installed are left out. Each runs in an
interpreter of its own, for some of them patch torch.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.benchmarks.counters import COUNTERS


class Functional(nn.Module):
    """A convolution and a matrix product that no module stands for: 36 · 8 · 27 + 8 · 8 MACs."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(torch.randn(8, 3, 3, 3)), nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.w).mean((2, 3)) @ self.v


class Attention(nn.Module):
    """A linear layer and attention in one kernel, of 16 positions: 16 · 64 + 2 · 16 · 16 · 8 MACs."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Linear(8, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q = self.p(x)
        return F.scaled_dot_product_attention(q, q, q)


def training() -> nn.Module:
    """A convolution and a batch norm, in training: 36 · 8 · 27 MACs, and running statistics to keep."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()).train()


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "conv + bias": (lambda: nn.Conv2d(3, 8, 3), (1, 3, 8, 8), 7776),
    "conv + norm, training": (training, (1, 3, 8, 8), 7776),
    "F.conv2d, @": (Functional, (1, 3, 8, 8), 7840),
    "fused attention": (Attention, (1, 1, 16, 8), 5120),
    "LSTM": (lambda: nn.LSTM(8, 8, batch_first=True, bias=False), (1, 16, 8), 8192),
    "transposed, 2 groups": (lambda: nn.ConvTranspose2d(8, 8, 3, groups=2, bias=False), (1, 8, 6, 6), 10368),
}
"""Models, the shapes of their inputs, and their MACs."""


def state(model: nn.Module) -> tuple[Any, ...]:
    """What of a model should be as before: values, training flags, hooks, attributes."""
    values = {name: value.tolist() for name, value in model.state_dict().items()}
    modules = list(model.modules())
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules]
    return values, [m.training for m in modules], hooks, [sorted(vars(m)) for m in modules]


def tell(counter: str) -> None:
    """Print one counter's figures, with a mark where the model is not as it was before."""
    warnings.simplefilter("ignore")
    package, count = COUNTERS[counter]
    cells = []
    for make, shape, _ in CASES.values():
        model = make()
        before = state(model)
        try:
            said = str(count(model, torch.randn(shape)))
        except Exception as error:
            said = type(error).__name__
        cells.append(said + ("" if state(model) == before else " !"))
    print(f"{counter + ' ' + version(package):36}" + "".join(f"{cell:>22}" for cell in cells))


def main() -> None:
    """Print the table: a row a counter, a column a model."""
    if len(sys.argv) > 1:
        tell(sys.argv[1])
        return
    print(f"{'':36}" + "".join(f"{case:>22}" for case in CASES))
    print(f"{'MACs':36}" + "".join(f"{macs:>22}" for _, _, macs in CASES.values()))
    for counter, (package, _) in COUNTERS.items():
        try:
            version(package)
        except PackageNotFoundError:
            continue
        sys.stdout.flush()
        told = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.other_counters", counter],
            capture_output=True,
            text=True,
            check=False,
        )
        print(told.stdout.splitlines()[-1] if told.stdout else f"{counter}: {told.stderr.splitlines()[-1]}")
    print("! the model is not as it was before")


if __name__ == "__main__":
    main()
