"""A training step for a terminal."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from costmodel.views import answers, grid, units
from costmodel.views.grid import WIDE, Table
from costmodel.views.styled import Part, Text, plain
from costmodel.views.text import verdict_parts
from costmodel.views.training import words
from costmodel.views.training.answers import arithmetic, sections

if TYPE_CHECKING:
    from costmodel.profiling import Profile
    from costmodel.training import TrainingStep

LAYERS = 10
"""Layers that are listed if no number is asked for."""


def step(s: TrainingStep, width: int | None = None) -> str:
    """A step as plain text, as wide as the terminal (or 80 characters)."""
    wide = width or (shutil.get_terminal_size((80, 40)).columns if sys.stdout.isatty() else 80)
    return plain(parts(s, width=wide), wide)


def parts(s: TrainingStep, *, top: int = LAYERS, width: int = WIDE) -> list[Part | str]:
    """What a console prints of a step: its phases, its memory at the peak, who keeps most, and what was asked."""
    head = Text.assemble((units.printable(s.name), "bold"), f"  {words.title(s)}")
    given = Text(f"input {words.inputs(s)}", style="dim")
    work, dropped = _phases(s, width)
    kept, more = _layers(s, top, width)
    each = arithmetic(s)
    below = [*more, *grid.left_out(dropped)]
    return [
        head, given, "", work, "", _peak(s), _memory(s, width), grid.dim(words.remarks(s)), "", kept,
        *([grid.dim(below)] if below else []), "", *verdict_parts(s, s.crosscheck()),
        *(["", *each] if each else []), *answers.parts(sections(s)),
    ]  # fmt: skip


def _phases(s: TrainingStep, width: int) -> tuple[Table, list[str]]:
    shown: list[tuple[str, Profile | TrainingStep]] = [*words.phases(s), ("whole step", s)]
    cells = [
        [units.cell(name, getattr(p, name), exact=p.is_exact) for _, p in shown]
        for name in ("macs", "flops", "memory_access_bytes")
    ]
    parts = [f"{grid.bar(p.flops, s.flops)} {units.share(p.flops, s.flops):>6}" for _, p in shown]
    columns = [
        grid.numbers("MACs", cells[0], 9),
        grid.numbers("FLOPs", cells[1], 8),
        grid.numbers("mem. access\n(bytes)", cells[2], 6),
        grid.Column("share of FLOPs", parts, 7, right=False, style="cyan"),
    ]
    labels = [Text(name, style="bold" if p is s else "") for name, p in shown]
    return grid.table("phase", labels, columns, width)


def _peak(s: TrainingStep) -> Part | str:
    return Text.assemble(
        ("peak memory  ", "bold"), (words.amount(s, s.peak_memory), "bold"),
        (f"  {units.every_digit('training_peak', s.peak_memory, exact=s.is_exact)}\n", "dim"), words.where(s),
    )  # fmt: skip


def _memory(s: TrainingStep, width: int) -> Part | str:
    rows = words.memory(s)
    columns = [
        grid.numbers("bytes", [words.amount(s, n) for _, n in rows], 9),
        grid.Column(
            "share of the peak",
            [f"{grid.bar(n, s.peak_memory, 16)} {units.share(n, s.peak_memory):>6}" for _, n in rows],
            8, right=False, style="cyan",
        ),
    ]  # fmt: skip
    table, _ = grid.table("at the peak", [Text(category) for category, _ in rows], columns, width)
    return table


def _layers(s: TrainingStep, top: int, width: int) -> tuple[Table, list[str]]:
    shown = words.keepers(s, top)
    every = sum(1 for layer in words.layers(s) if layer.saved)
    columns = [
        grid.Column("kind", [x.kind for x in shown], 4, right=False, style="dim"),
        grid.numbers("keeps", [words.amount(s, x.saved) for x in shown], 10),
        grid.Column("share", [units.share(x.saved, s.saved_bytes) for x in shown], 5),
        grid.numbers("forward\nMACs", [units.cell("macs", x.forward_macs) for x in shown], 8),
        grid.numbers("backward\nMACs", [units.cell("macs", x.backward_macs) for x in shown], 7),
    ]
    table, dropped = grid.table("layer", [Text(x.name) for x in shown], columns, width)
    rest = [f"{units.plural(every - len(shown), 'more layer')} keep less each"] if every > len(shown) else []
    return table, rest + words.kept_by_several(s) + grid.left_out(dropped)
