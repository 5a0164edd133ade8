"""Hold the roofline's lower bound to measured latency, beside MACs alone and params alone as predictors; Markdown.

    python tests/benchmarks/roofline.py [--rounds 7] [--threads 1] > reports/measured/roofline.md
    python tests/benchmarks/roofline.py --on cuda --device h100          # on a machine with that GPU

On the CPU the device is `this-cpu`, calibrated with the same threads just before; with one thread its CPU time is
taken, in which waiting for a core that others use does not count. In each round every network runs once.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import costmodel
from costmodel.calibrate import calibrate, cpu_name
from costmodel.devices import Device, device
from costmodel.roofline import roofline

NETWORKS = (
    "alexnet", "vgg11", "vgg16", "googlenet", "inception_v3", "resnet18", "resnet34", "resnet50", "resnet101",
    "resnext50_32x4d", "se_resnet50", "xception", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large",
    "mobilenet_v3_small", "shufflenet_v1", "shufflenet_v2", "efficientnet_b0", "efficientnet_b1", "efficientnet_b2",
    "efficientnet_b3", "efficientnet_v2_s", "ghostnet",
)  # fmt: skip
PREDICTORS = {
    "bound": "lower bound", "fused": "lower bound, fused", "macs": "MACs", "params": "params",
    "memory_access_bytes": "memory access (bytes)",
}  # fmt: skip

TIE = 0.01


def clock(on: str) -> Callable[[], float]:
    """Seconds, after all that was asked of the device is done."""
    if on != "cpu":
        return lambda: (torch.cuda.synchronize(), time.perf_counter())[1]
    return time.thread_time if torch.get_num_threads() == 1 else time.perf_counter


def latencies(on: str, rounds: int) -> dict[str, float]:
    """The median seconds of a forward of each network on its paper's input, batch 1."""
    now = clock(on)
    models = {name: costmodel.models.build(name).eval() for name in NETWORKS}
    took: dict[str, list[float]] = {name: [] for name in NETWORKS}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for name, model in models.items():
                x = torch.randn(model.example_inputs, device=on)
                model.to(on)
                start = now()
                model(x)
                if turn:  # the first is a warm-up
                    took[name].append(now() - start)
            print(f"round {turn} of {rounds}", file=sys.stderr)
    return {name: statistics.median(times) for name, times in took.items()}


def table(where: Device, seconds: dict[str, float]) -> pd.DataFrame:
    """A row per network: what predicts, and what was measured."""
    rows = {}
    for name, measured in seconds.items():
        p = costmodel.profile(name)
        # cuDNN's convolutions round to TF32 by default, so that a bound without it would be none.
        bound = roofline(p.pricing, p.fusion, where, "tf32" if "tf32" in where.peak else "float32")
        rows[name] = (bound.time, bound.fused_time, p.macs, p.params, p.memory_access_bytes, measured)
    return pd.DataFrame.from_dict(rows, orient="index", columns=[*PREDICTORS, "measured"])


def verdicts(found: pd.DataFrame) -> pd.DataFrame:
    """For each predictor: how well it ranks, and how far it is from proportional to what was measured."""
    ranks = found.rank().corr()["measured"]  # Spearman: the correlation of ranks
    ratios = {name: found["measured"] / found[name] for name in PREDICTORS}
    return pd.DataFrame({
        "spearman": {name: ranks[name] for name in PREDICTORS},
        "spread": {name: r.max() / r.min() for name, r in ratios.items()},
        "deviation": {name: float(np.exp(np.log(r).std())) for name, r in ratios.items()},
    })  # fmt: skip


def best(score: pd.Series[float]) -> str:
    """The predictors whose score is the highest, or as good as that."""
    ranked = score.sort_values(ascending=False)
    return "; ".join(PREDICTORS[str(name)] for name, x in ranked.items() if ranked.iloc[0] - x < TIE)


def report(where: Device, found: pd.DataFrame, conditions: str) -> str:
    """The result as Markdown."""
    ratio = found["measured"] / found["bound"]
    judged = verdicts(found)
    lines = [
        "# The roofline's lower bound against measured latency", "", conditions, "",
        f"{where.title}: {where.rate('float32') / 1e9:.1f} GFLOP/s in float32, {where.bandwidth / 1e9:.1f} GB/s.", "",
        "| network | MACs (M) | params (M) | at least (ms) | fused, at least (ms) | measured (ms) | measured / bound |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for name, row in found.sort_values("measured").iterrows():
        lines.append(
            f"| {name} | {row.macs / 1e6:,.0f} | {row.params / 1e6:.2f} | {1e3 * row.bound:.2f} "
            f"| {1e3 * row.fused:.2f} | {1e3 * row.measured:.2f} | {ratio[name]:.2f} |"
        )
    below = ", ".join(str(name) for name in found.index if ratio[name] < 1)
    lines += [
        "",
        f"Measured is {ratio.median():.2f} times the bound in the median, {ratio.min():.2f} to {ratio.max():.2f}.",
        f"Faster than the bound: {below or 'none'}.",
        "",
        "| predictor | Spearman correlation | largest ratio / smallest | geometric standard deviation of the ratio |",
        "|---|---:|---:|---:|",
        *(
            f"| {PREDICTORS[str(name)]} | {row.spearman:.3f} | {row.spread:.1f} | {row.deviation:.2f} |"
            for name, row in judged.iterrows()
        ),
        "",
        "The ratio is of measured time to the predictor: were it always the same, latency would be proportional to it.",
        f"The order of latencies is predicted best by {best(judged.spearman)}: correlations less than {TIE} apart are",
        f"as good as equal on {len(found)} networks. Proportions are predicted best by {best(-judged.deviation)}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--on", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--device", default="this-cpu", help="a device of costmodel.devices")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.device == "this-cpu":
        with tempfile.TemporaryDirectory() as folder:
            where = calibrate(Path(folder) / "this-cpu.toml", clock=clock("cpu"))
    else:
        where = device(arguments.device)
    found = table(where, latencies(arguments.on, arguments.rounds))
    machine = (
        torch.cuda.get_device_name() if arguments.on == "cuda"
        else f"{cpu_name()} ({platform.machine()}), {os.cpu_count()} cores, "
        + ("one thread, its CPU time" if arguments.threads == 1 else f"{arguments.threads} threads")
    )  # fmt: skip
    print(report(where, found, (
        f"{machine}, torch {torch.__version__}, {date.today().isoformat()}; batch 1, float32, the input of each "
        f"network's paper, medians of {arguments.rounds} rounds."
    )), end="")  # fmt: skip


if __name__ == "__main__":
    main()
