"""How long a training step takes to trace, against a profile of its forward.

    python tests/benchmarks/training_step.py [--rounds 9] [--batch 2] [model ...]

Every round runs each contender once, in turn, in this process; the table shows medians, and how many times the
forward's profile they are. An update by AdamW is a dozen operations for each parameter where torch goes from one to the
next, as on a CPU; two updates are traced, as the first makes the optimizer's state.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.optim import AdamW

import costmodel


def vit_b_16() -> nn.Module:
    """A ViT-B/16 of torch's own layers (Dosovitskiy et al., arXiv:2010.11929, table 1), for want of torchvision."""

    class ViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 768, 16, stride=16)
            self.token = nn.Parameter(torch.zeros(1, 1, 768))
            self.position = nn.Parameter(torch.zeros(1, 197, 768))
            layer = nn.TransformerEncoderLayer(768, 12, 3072, 0.0, "gelu", batch_first=True, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 12, nn.LayerNorm(768), enable_nested_tensor=False)
            self.head = nn.Linear(768, 1000)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
            return self.head(self.encoder(x)[:, 0])

    return ViT()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": costmodel.models.resnet50,
    "mobilenet_v3_large": costmodel.models.mobilenet_v3_large,
    "vit_b_16": vit_b_16,
}
CONTENDERS: dict[str, Any] = {
    "no update": None,
    "SGD": "sgd",
    "AdamW, foreach": partial(AdamW, foreach=True),
    "AdamW": "adamw",
}


def seconds(run: Callable[[], Any]) -> float:
    """What one call takes of the processor: a trace waits for nothing but other processes."""
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--batch", type=int, default=2)
    arguments.add_argument("models", nargs="*", default=list(NETWORKS))
    given = arguments.parse_args()
    table = Table("network", "forward's profile", *(f"step, {name}" for name in CONTENDERS))
    for name in given.models:
        model, shape = NETWORKS[name](), (given.batch, 3, 224, 224)
        runs: list[Callable[[], Any]] = [lambda m=model, s=shape: costmodel.profile(m, s).macs]
        runs += [
            partial(costmodel.training_step, model, shape, optimizer=optimizer) for optimizer in CONTENDERS.values()
        ]
        for run in runs:
            run()
        rounds = [[seconds(run) for run in runs] for _ in range(given.rounds)]
        forward, *steps = [statistics.median(times) for times in zip(*rounds, strict=True)]
        cells = [f"{1e3 * step:.0f} ms  {step / forward:.1f} x" for step in steps]
        table.add_row(name, f"{1e3 * forward:.1f} ms", *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
