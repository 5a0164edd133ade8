"""What a user waits for in a new process, by network and counter: reports/measured/speed.json.

    python -m tests.benchmarks.first_answer --keep [--rounds 7] [--spawn] [network ...]

Timed are the counter's import and its first answer, the total or the table that it prints; torch is imported and the
network is built before. Each time is of a process of its own: a fork of this one, which imports no counter, or, with
--spawn, an interpreter that is started anew (an hour instead of ten minutes). The counters take turns, and the median
of the rounds is kept; a first round, which writes bytecode, is left out. Needs torchvision, thop, torchinfo, fvcore and
ptflops.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import date
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.counters import COUNTERS, NETWORKS, TIMED, network

SHAPE = (1, 3, 224, 224)
ASKED = NETWORKS[:8]


def _costmodel_table(model: nn.Module, x: Tensor) -> None:
    import costmodel

    print(costmodel.profile(model, tuple(x.shape)))


def _torchinfo_table(model: nn.Module, x: Tensor) -> None:
    from torchinfo import summary

    summary(model, input_data=x, verbose=1)


TABLES: dict[str, Callable[[nn.Module, Tensor], None]] = {"costmodel": _costmodel_table, "torchinfo": _torchinfo_table}
"""How the counters print the table of a network's layers that have one which is as quick as their total."""

CELLS = [(name, "total") for name in TIMED] + [(name, "table") for name in TABLES]


def built(name: str) -> tuple[nn.Module, Tensor]:
    """A network and an input, made by one thread: a fork would wait for the others, which it has not.

    Garbage is collected before: else the counter that first makes many objects would pay for that of torch's import.
    """
    torch.set_num_threads(1)
    made = network(name), torch.randn(SHAPE)
    gc.collect()
    return made


def seconds(counter: str, what: str, model: nn.Module, x: Tensor) -> float:
    """How long the import and the answer take in this process."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    answer = COUNTERS[counter][1] if what == "total" else TABLES[counter]
    with torch.no_grad():
        start = perf_counter()
        answer(model, x)
        sys.stdout.flush()
        return perf_counter() - start


def of_a_fork(counter: str, what: str, model: nn.Module, x: Tensor) -> float:
    """The same in a fork of this process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.write(writer, str(seconds(counter, what, model, x)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        raise RuntimeError(f"{counter} gave no {what}")
    return float(said)


def of_an_interpreter(counter: str, what: str, name: str) -> float:
    """The same in an interpreter that is started anew."""
    command = [sys.executable, "-m", "tests.benchmarks.first_answer", "--cell", counter, what, name]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()[-1])


def measure(name: str, rounds: int, *, spawn: bool) -> dict[str, dict[str, float]]:
    """Medians of one network, by what is asked for and by counter."""
    model, x = built(name)
    took: dict[tuple[str, str], list[float]] = {cell: [] for cell in CELLS}
    for _ in range(rounds + 1):
        for counter, what in CELLS:
            one = of_an_interpreter(counter, what, name) if spawn else of_a_fork(counter, what, model, x)
            took[counter, what].append(one)
    found: dict[str, dict[str, float]] = {"total": {}, "table": {}}
    for (counter, what), all_of_them in took.items():
        found[what][counter] = sorted(all_of_them[1:])[rounds // 2]
    return found


def main() -> None:
    """Measure, print, and keep if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=ASKED)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--spawn", action="store_true", help="start an interpreter for each time")
    parser.add_argument("--keep", action="store_true", help="write into speed.json, of which the report is made")
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.dont_write_bytecode = False
    if arguments.cell:
        counter, what, name = arguments.cell
        print(seconds(counter, what, *built(name)), file=sys.stderr)
        return
    took: dict[str, Any] = {}
    for name in arguments.networks:
        took[name] = measure(name, arguments.rounds, spawn=arguments.spawn)
        for what, by_counter in took[name].items():
            print(f"{name}, {what}:", {k: f"{v * 1e3:.0f} ms" for k, v in by_counter.items()}, flush=True)

    # Imported last: both load what counters would load.
    from reports.speed import MEASURED, first_answers
    from tests.benchmarks.guidelines import machine

    measured = {
        "machine": machine(), "threads": len(os.sched_getaffinity(0)), "torch": torch.__version__,
        "date": date.today().isoformat(), "rounds": arguments.rounds, "seconds": took,
    }  # fmt: skip
    print("\n".join(first_answers(measured)))
    if not arguments.keep:
        return
    kept = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    MEASURED.write_text(json.dumps(kept | {"first_answer": measured}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
