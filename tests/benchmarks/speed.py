"""How long a call takes in a process that has made others, against other counters: reports/measured/speed.json.

    python -m tests.benchmarks.speed --keep [--rounds 15] [--large-rounds 1] [network ...]

In every round each other counter runs once, and ours after each of them: so it finds the processor's caches as another
has left them. Times are wall-clock, medians after a warm-up at batch 1. Ours is given the input's shape. The others are
given a tensor that was made before, and run without gradients. Needs torchvision, thop, torchinfo, fvcore and ptflops.

With --floor, the same forward is timed too under a dispatch mode that returns prepared tensors and records nothing: no
hooks, no rules, no records.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from datetime import date
from functools import partial
from io import StringIO
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from costmodel.trace.signature import signature
from reports.speed import BATCHES, MEASURED, calls
from tests.benchmarks.counters import COUNTERS, NETWORKS, TIMED, network
from tests.benchmarks.guidelines import machine

SIZE = (3, 224, 224)


class Recorded(TorchDispatchMode):
    """Keeps what every op returned; a view is made anew, for torch insists on it."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run and keep."""
        result = func(*args, **(kwargs or {}))
        sig = signature(func)
        self.outputs.append(None if sig.is_view else args[0] if sig.is_inplace else result)
        return result


class Prepared(TorchDispatchMode):
    """Answers every op with the tensor that was prepared for it."""

    def __init__(self, outputs: list[Any]) -> None:
        super().__init__()
        self.outputs, self.position = outputs, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Hand out the next one."""
        result = self.outputs[self.position]
        self.position += 1
        return func(*args, **(kwargs or {})) if result is None else result


def floor(model: nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    """The forward of a model with everything prepared, on meta tensors."""
    on_meta, twin = torch.empty(x.shape, device="meta"), copy.deepcopy(model).to("meta")
    recorded = Recorded()
    with recorded:
        twin(on_meta)

    def run() -> None:
        with Prepared(recorded.outputs):
            model(on_meta)

    return run


def seconds(run: Callable[[], Any]) -> float:
    """What one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def medians(ours: Callable[[], Any], others: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of a call, by the name of the counter."""
    took: dict[str, list[float]] = {name: [] for name in (TIMED[0], *others)}
    for _ in range(rounds):
        for name, run in others.items():
            took[name].append(seconds(run))
            took[TIMED[0]].append(seconds(ours))
    return {name: round(statistics.median(times), 6) for name, times in took.items()}


def measure(name: str, rounds: Mapping[int, int], with_floor: bool) -> dict[int, dict[str, float]]:
    """Seconds of a call by batch and counter, of one network."""
    model, found = network(name), {}
    for batch, n in ((1, 1), *rounds.items()):  # the first one warms up
        x = torch.randn(batch, *SIZE)
        runs = {counter: partial(COUNTERS[counter][1], model, x) for counter in TIMED}
        ours = runs.pop(TIMED[0])
        with torch.no_grad(), redirect_stdout(StringIO()):
            found[batch] = medians(ours, runs | ({"floor": floor(model, x)} if with_floor else {}), n)
    return found


def main() -> None:
    """Measure, keep, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=15, help="at batch 1")
    parser.add_argument("--large-rounds", type=int, default=1, help="at batch 64; 0 leaves it out")
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--keep", action="store_true", help=f"write into {MEASURED.name}, of which the report is made")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    rounds = {1: arguments.rounds, BATCHES[-1]: arguments.large_rounds}
    rounds = {batch: n for batch, n in rounds.items() if n}
    took: dict[str, dict[str, dict[str, float]]] = {str(batch): {} for batch in rounds}
    for name in arguments.networks:
        found = measure(name, rounds, arguments.floor)
        for batch in rounds:
            took[str(batch)][name] = found[batch]
            print(f"{name} at batch {batch}:", {k: f"{v * 1e3:.2f} ms" for k, v in found[batch].items()}, flush=True)
    measured = {
        "machine": machine(), "threads": torch.get_num_threads(), "torch": torch.__version__,
        "date": date.today().isoformat(), "rounds": {str(batch): n for batch, n in rounds.items()}, "seconds": took,
    }  # fmt: skip
    print("\n".join(calls(measured)))
    if not arguments.keep:
        return
    kept = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    MEASURED.write_text(json.dumps(kept | {"calls": measured}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
