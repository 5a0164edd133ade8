"""Measure ShuffleNet V2's experiments on this CPU: python -m tests.benchmarks.guidelines [--rounds 41] [--threads 1].

Within a table and scale the networks take turns, so that what else the machine does hits all of them alike; with one
thread its CPU time is taken, in which waiting for a core that others use does not count. Every
round's time goes into reports/measured/guidelines.json, from which reports/guidelines.md is written anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from datetime import date
from pathlib import Path

import torch
from torch import nn

from costmodel.calibrate import cpu_name
from costmodel.notes.shuffle_experiments import SCALES, Experiment, experiments
from reports.guidelines import markdown, read

REPORTS = Path(__file__).parents[2] / "reports"


def machine() -> str:
    """What kind of machine this is."""
    return f"{cpu_name()} ({platform.machine()}), {os.cpu_count()} cores"


def turns(models: dict[str, nn.Module], inputs: dict[str, torch.Tensor], rounds: int) -> dict[str, list[float]]:
    """Seconds of one forward of each model, which take turns, after one warm-up."""
    took: dict[str, list[float]] = {name: [] for name in models}
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    for turn in range(rounds + 1):
        for name, model in models.items():
            start = clock()
            model(inputs[name])
            if turn:
                took[name].append(round(clock() - start, 6))
    return took


def run(experiment: Experiment, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Each round's seconds by row and scale."""
    found: dict[str, dict[str, list[float]]] = {v.label: {} for v in experiment.variants}
    for scale in SCALES:
        variants = experiment.at(scale)
        models = {v.label: v.build().eval() for v in variants}
        inputs = {v.label: torch.randn(v.input_shape) for v in variants}
        for label, times in turns(models, inputs, rounds).items():
            found[label][str(scale)] = times
        print(
            f"{experiment.guideline} ×{scale}",
            {k: f"{1 / statistics.median(v[str(scale)]):.3g}/s" for k, v in found.items()},
        )
    return found


def main() -> None:
    """Measure, keep, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        seconds = {e.guideline: run(e, arguments.rounds) for e in experiments()}
    measured = {
        "machine": machine(), "threads": arguments.threads, "torch": torch.__version__,
        "date": date.today().isoformat(), "rounds": arguments.rounds, "seconds": seconds,
    }  # fmt: skip
    path = REPORTS / "measured" / "guidelines.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(measured) + "\n", encoding="utf-8")
    report = REPORTS / "guidelines.md"
    report.write_text(markdown(read(path)), encoding="utf-8")
    print(f"{path}\n{report}")


if __name__ == "__main__":
    main()
