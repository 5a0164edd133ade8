"""ShuffleNet V2's experiments, computed in closed form and measured on a CPU: guidelines.md.

The measurements are read from a file that ``tests/benchmarks/guidelines.py`` writes; without it, their columns are
empty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from statistics import median

from costmodel.notes.shuffle_experiments import BLOCKS, SCALES, SIZE, Experiment, Variant, experiments
from costmodel.views import units

MEASURED = Path(__file__).parent / "measured" / "guidelines.json"


def files() -> dict[str, bytes]:
    """The report's one file, by its name."""
    return {"guidelines.md": markdown(read(MEASURED)).encode()}


@dataclass(frozen=True, slots=True)
class Measured:
    """The networks' times on one machine."""

    machine: str
    threads: int
    torch: str
    date: str
    rounds: int
    seconds: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
    """Seconds per forward of one image, round by round, by guideline, row and scale. In a round the rows take turns."""

    def of(self, experiment: Experiment, variant: Variant) -> Sequence[float]:
        """The seconds of one network in each round."""
        return self.seconds[experiment.guideline][variant.label][str(variant.scale)]

    def speed(self, experiment: Experiment, variant: Variant) -> float:
        """Images per second, by the median round."""
        return 1 / median(self.of(experiment, variant))


def read(path: Path) -> Measured | None:
    """The measurement in a file, if there is one."""
    return Measured(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


@dataclass(frozen=True, slots=True)
class Order:
    """Pairs of networks of one experiment at one scale, by whether the one with less memory access is the faster."""

    agree: tuple[tuple[Variant, Variant], ...]
    """In each pair, the first has less memory access."""
    close: tuple[tuple[Variant, Variant], ...]
    """Neither is faster in significantly more rounds."""
    differ: tuple[tuple[Variant, Variant], ...]


def order(experiment: Experiment, scale: int, measured: Measured) -> Order:
    """Compares the order by memory access with the order by time."""
    found: dict[str, list[tuple[Variant, Variant]]] = {"agree": [], "close": [], "differ": []}
    ranked = sorted(experiment.at(scale), key=lambda v: v.memory_access)
    for less, more in combinations(ranked, 2):
        if less.memory_access < more.memory_access:
            rounds = list(zip(measured.of(experiment, less), measured.of(experiment, more), strict=True))
            quicker, slower = sum(a < b for a, b in rounds), sum(a > b for a, b in rounds)
            verdict = "close" if not is_significant(quicker, slower) else "agree" if quicker > slower else "differ"
            found[verdict].append((less, more))
    return Order(*(tuple(pairs) for pairs in found.values()))


def is_significant(wins: int, losses: int, level: float = 0.05) -> bool:
    """Two-sided sign test: whether a fair coin would fall at least so unevenly with a probability below ``level``.

    >>> is_significant(15, 5), is_significant(14, 6)
    (True, False)
    """
    n = wins + losses
    return 2 * sum(comb(n, k) for k in range(min(wins, losses) + 1)) < level * (1 << n)


def markdown(measured: Measured | None) -> str:
    """The report."""
    all_of_them = experiments()
    what = (
        "The four experiments of Ma et al., ShuffleNet V2 (arXiv:1807.11164, section 2), in the layout of their Tables "
        f"1 to 4. Each network is {BLOCKS} equal blocks on {SIZE} x {SIZE} maps, batch 1, float32; ×2 and ×4 have "
        "twice and four times the channels. Memory access is elements read and written, every op a kernel of its own, "
        "in closed form; the trace gives the same integers. Within an experiment all networks have about the same "
        "MACs; not exactly the same, as channels are whole numbers."
    )
    lines = [
        "# ShuffleNet V2's guidelines: the closed form and a CPU",
        "",
        what,
        "",
        "Measured: " + (_conditions(measured) if measured else "nothing yet; `python -m tests.benchmarks.guidelines`."),
    ]
    for experiment in all_of_them:
        lines += ["", *_section(experiment, measured)]
    if measured is not None:
        lines += ["", "## Where measurement and closed form agree in order", "", *_orders(all_of_them, measured)]
    return "\n".join(lines) + "\n"


def _conditions(measured: Measured) -> str:
    threads = "one thread, its CPU time" if measured.threads == 1 else f"{measured.threads} threads"
    return (
        f"{measured.machine}, {threads}, torch {measured.torch}, {measured.date}; medians of {measured.rounds} rounds "
        "in which the rows of a table take turns. These columns are what that machine did on that day; all others are "
        "computed."
    )


def _section(experiment: Experiment, measured: Measured | None) -> list[str]:
    heads = [
        experiment.differs, "channels ×1", "kernels", "MACs ×1", *(f"memory access ×{s}" for s in SCALES),
        "to the first row ×1", *(f"images/s ×{s}" for s in SCALES),
    ]  # fmt: skip
    rows = experiment.at(SCALES[0])
    by_scale = {s: {v.label: v for v in experiment.at(s)} for s in SCALES}
    lines = [
        f"## {experiment.guideline}: {experiment.title} (Table {experiment.table})",
        "",
        f"Memory access of a block: {experiment.formula}.",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'|'.join(['---', '---', *['---:'] * (len(heads) - 2)])}|",
    ]
    for row in rows:
        speeds = [f"{measured.speed(experiment, by_scale[s][row.label]):.3g}" if measured else "" for s in SCALES]
        cells = [
            row.label, ", ".join(map(str, row.channels)), str(row.kernels), units.si(row.macs),
            *(units.si(by_scale[s][row.label].memory_access) for s in SCALES),
            f"{row.memory_access / rows[0].memory_access:.2f}", *speeds,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _orders(all_of_them: Sequence[Experiment], measured: Measured) -> list[str]:
    lines = [
        "Of each pair of networks, is the one with less memory access the faster? Too close: by a sign test at 5 %.",
        "",
        "| | scale | pairs | agree | too close to tell | differ |",
        "|---|---|---:|---:|---:|---|",
    ]
    for experiment in all_of_them:
        for scale in SCALES:
            found = order(experiment, scale, measured)
            against = "; ".join(
                f"{more.label} is {measured.speed(experiment, more) / measured.speed(experiment, less):.2f} times as "
                f"fast as {less.label}"
                for less, more in found.differ
            )
            pairs = sum(map(len, (found.agree, found.close, found.differ)))
            lines.append(
                f"| {experiment.guideline} | ×{scale} | {pairs} | {len(found.agree)} | {len(found.close)} "
                f"| {against or 'none'} |"
            )
    return lines
