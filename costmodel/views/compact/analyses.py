"""Peaks of memory and receptive fields in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.views import units
from costmodel.views.compact import ROWS, Card, Column, Table

if TYPE_CHECKING:
    from costmodel.memory import PeakMemory
    from costmodel.receptive_field import ReceptiveField


def peak(m: PeakMemory) -> str:
    """Live activations at the peak, beside parameters and buffers; the largest storages."""
    shown = m.live[:ROWS]
    where = f"in {m.module}" if m.module else "outside any submodule"
    columns = [
        Column("Live at the peak", [units.si(x.nbytes, "B") for x in shown], [f"{x.nbytes:,} bytes" for x in shown]),
        Column("Share", [units.share(x.nbytes, m.nbytes) for x in shown]),
        Column("", [""] * len(shown), shares=[x.nbytes / m.nbytes if m.nbytes else 0.0 for x in shown]),
        Column("Made by", [x.made_by or "an input" for x in shown], is_text=True),
        Column("In", [x.module for x in shown], is_text=True),
    ]
    sizes = (
        ("Peak memory", m.nbytes), ("Parameters", m.parameters), ("Buffers", m.buffers), ("Together", m.total),
    )  # fmt: skip
    return Card(
        f"Peak memory {units.si(m.nbytes, 'B')}",
        f"{where}, while {m.op} runs" if m.op else "no op ran",
        totals=[(name, units.si(n, "B"), f"{units.grouped(n)} bytes") for name, n in sizes],
        tables=[Table(columns, len(m.live), "storage", ".live")] if shown else [],
    ).html()


def receptive_field(f: ReceptiveField) -> str:
    """Size, stride and padding along each axis."""
    axes = len(f.size)
    columns = [
        Column("", ["size", "stride", "first position", "padding"], is_text=True),
        *(
            Column(
                f"axis {i + 1}" if axes > 1 else "",
                ["–" if column[i] is None else str(column[i]) for column in (f.size, f.stride, f.start, f.padding)],
            )
            for i in range(min(axes, ROWS))
        ),
    ]
    said = [f.reason] if f.reason else []
    said += ["a gate, such as squeeze-excitation, sees the whole input"] if any(f.gates) else []
    return Card(
        f"Receptive field {units.extent(f.size) or 'of no axis'}",
        f"at {f.layer}" + (f", position {f.position}" if f.position is not None else ""),
        tables=[Table(columns, 4, "row")] if axes else [],
        remarks=[units.sentence_case(line) for line in (*said, *f.notes)],
    ).html()
