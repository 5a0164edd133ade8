"""ShuffleNet V2's experiments, in closed form and as a CPU was measured to run them: guidelines.md.

The computed part follows from ``shuffle_experiments`` alone. What is measured is read from a file that
``tests/benchmarks/guidelines.py`` writes; without one those columns are empty.
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
    """Times of the networks on one machine."""

    machine: str
    threads: int
    torch: str
    date: str
    rounds: int
    seconds: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
    """By guideline, row and scale, for one image's forward, round by round: in a round the rows take turns."""

    def of(self, experiment: Experiment, variant: Variant) -> Sequence[float]:
        """Each round's seconds of one network."""
        return self.seconds[experiment.guideline][variant.label][str(variant.scale)]

    def speed(self, experiment: Experiment, variant: Variant) -> float:
        """Images a second, by the median round."""
        return 1 / median(self.of(experiment, variant))


def read(path: Path) -> Measured | None:
    """The measurement in a file, if it is there."""
    return Measured(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


@dataclass(frozen=True, slots=True)
class Order:
    """Pairs of networks of one experiment at one scale: does the one that moves less take less time?"""

    agree: tuple[tuple[Variant, Variant], ...]
    """The first of each pair moves less."""
    close: tuple[tuple[Variant, Variant], ...]
    """Neither is the faster in significantly more rounds."""
    differ: tuple[tuple[Variant, Variant], ...]


def order(experiment: Experiment, scale: int, measured: Measured) -> Order:
    """The order by memory access against the order by time."""
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
    """The two-sided sign test: whether a fair coin would fall so unevenly, or more so, less often than ``level``.

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
        "in closed form and, to the integer, as traced. Within an experiment all networks do about the same MACs: "
        "channels are whole, which is why they are not quite the same."
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
        "Of each two networks, is the one that moves less the faster? Too close to tell: a sign test (two-sided, 5 %).",
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
