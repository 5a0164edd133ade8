"""How long a training step takes to trace, against a profile of its forward.

    python tests/benchmarks/training_step.py [--rounds 9] [--batch 2] [model ...]

Every round runs each contender once, in turn, in this process; the table shows medians, and how many times the
forward's profile they are. The update by AdamW is a loop over the parameters, as torch has it on a CPU: a dozen
operations for each, twice, as the first update makes the optimizer's state.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import nn
from torch.optim import AdamW

import costmodel
from tests.benchmarks.speed import vit_b_16

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
    """What one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


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
