"""What a user waits for, as ``tests/benchmarks/`` has measured it: speed.md, of reports/measured/speed.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from costmodel.views.units import plural

MEASURED = Path(__file__).parent / "measured" / "speed.json"
BATCHES = (1, 64)
OURS = "costmodel"

CALLS = (
    "One call, in a process that has made others: the model's MACs, at 224 x 224. Each other counter runs in turn, and "
    "costmodel after each of them, which so finds the processor's caches as another has left them. Costmodel computes "
    "nothing, and is given the input's shape. The others run the network on a tensor, which is made before and whose "
    "making is not timed, without gradients. Milliseconds, medians; the last column says how many times as long the "
    "fastest of the others takes."
)


FIRST = (
    "The import of the counter and its first answer, in a new process that has imported torch and built the network, "
    "at 1 x 3 x 224 x 224: the total, and the printed table. Bytecode is cached, as an installed package's is. The "
    "counters take turns. Milliseconds, medians; the last columns say how many times as long the fastest other "
    "counter takes for the total, and torchinfo for the table."
)


def files() -> dict[str, bytes]:
    """The report's one file, by its name."""
    measured: Mapping[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    lines = ["# What a user waits for", "", "Measured, not computed: another machine has other times."]
    lines += ["", "## The first answer", ""]
    if "first_answer" in measured:
        lines += first_answers(measured["first_answer"])
    else:
        lines += ["Nothing yet: `python -m tests.benchmarks.first_answer --keep`."]
    lines += ["", "## Calls in one process", ""]
    lines += calls(measured["calls"]) if "calls" in measured else ["Nothing yet: `python -m tests.benchmarks.speed`."]
    return {"speed.md": ("\n".join(lines) + "\n").encode()}


def first_answers(measured: Mapping[str, Any]) -> list[str]:
    """Seconds of first answers, by network, what was asked for and counter, as a table."""
    networks = measured["seconds"]
    one = next(iter(networks.values()))
    others = [name for name in one["total"] if name != OURS]
    tables = [name for name in one["table"] if name != OURS]
    columns = [OURS, *others, *(f"{name}, table" for name in (OURS, *tables)), "times", "times, table"]
    lines = [FIRST, "", conditions(measured), ""]
    lines += [f"| network | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for name, took in networks.items():
        total, table = took["total"], took["table"]
        cells = [total[OURS], *(total[other] for other in others), table[OURS], *(table[other] for other in tables)]
        times = [min(by[name] for name in by if name != OURS) / by[OURS] for by in (total, table)]
        shown = [*(f"{seconds * 1e3:,.0f}" for seconds in cells), *(f"{ratio:.1f}" for ratio in times)]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return lines


def calls(measured: Mapping[str, Any]) -> list[str]:
    """Seconds of calls, by batch, network and counter, as tables."""
    lines = [CALLS, "", conditions(measured)]
    for batch, networks in measured["seconds"].items():
        others = [name for name in next(iter(networks.values())) if name != OURS]
        lines += ["", f"Batch {batch}, {plural(measured['rounds'][batch], 'round')}:", ""]
        lines += [f"| network | {OURS} | {' | '.join(others)} | times |", f"|---|{'---:|' * (len(others) + 2)}"]
        times = []
        for name, took in networks.items():
            times.append(min(took[other] for other in others if other != "floor") / took[OURS])
            cells = [f"{took[OURS] * 1e3:.2f}", *(f"{took[other] * 1e3:,.0f}" for other in others)]
            lines.append(f"| {name} | {' | '.join(cells)} | {times[-1]:,.1f} |")
        found = f"{median(times):,.1f} times as long in the median, at least {min(times):,.1f} times."
        lines += ["", f"The fastest other counter takes {found}"]
    return lines


def conditions(measured: Mapping[str, Any]) -> str:
    """Where and when it was measured."""
    return f"{measured['machine']}, {measured['threads']} threads, torch {measured['torch']}, {measured['date']}."
