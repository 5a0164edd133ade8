"""How long a hundred thousand MobileNetV2 variants take in closed form, in one call.

    python tests/benchmarks/closed_form_sweep.py [--variants 100000] [--rounds 7]

Once on a grid of widths and resolutions, and once on as many pairs drawn at random, of which no two share a width.
Beside them: one variant in closed form, and one built and traced.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from math import isqrt
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import costmodel


def median_seconds(work: Callable[[], object], rounds: int) -> float:
    """The median over the rounds, after one that is not counted."""
    work()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def sweep(**axes: Any) -> Callable[[], object]:
    """Derives every total of a sweep."""
    return lambda: costmodel.models.closed_form("mobilenet_v2", **axes)


def trace() -> object:
    """Builds one network and profiles it."""
    with torch.device("meta"):
        network = costmodel.models.mobilenet_v2(width=0.75, resolution=192)
    return costmodel.profile(network).macs


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    widths = 2 * isqrt(options.variants // 4)
    resolutions = -(-options.variants // widths)
    grid = {
        "width": np.linspace(0.35, 1.4, widths)[:, None],
        "resolution": np.arange(96, 96 + resolutions),
    }
    draw = np.random.default_rng(0)
    pairs = {
        "width": draw.uniform(0.35, 1.4, options.variants),
        "resolution": draw.integers(96, 600, options.variants),
    }
    table = Table("MobileNetV2", "variants", "seconds", "µs a variant")
    for title, variants, work in (
        (f"closed form, grid of {widths} widths x {resolutions} resolutions", widths * resolutions, sweep(**grid)),
        ("closed form, pairs at random", options.variants, sweep(**pairs)),
        ("closed form, one", 1, sweep(width=0.75, resolution=192)),
        ("built and traced, one", 1, trace),
    ):
        seconds = median_seconds(work, options.rounds)
        table.add_row(title, f"{variants:,}", f"{seconds:.3f}", f"{seconds / variants * 1e6:,.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
