"""A training step's layers for scripts and papers: CSV and LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.views import csv, latex, units
from costmodel.views.training import words

if TYPE_CHECKING:
    from costmodel.training import TrainingStep


def comma_separated(s: TrainingStep) -> str:
    """One line per layer, with the columns of ``TrainingStep.layers``."""
    return csv.rows(s.layers)


def booktabs(s: TrainingStep) -> str:
    """One row per layer, and the whole step."""
    rows = [
        [x.name, x.kind, units.cell("macs", x.forward_macs), units.cell("macs", x.backward_macs),
         words.amount(s, x.saved)]
        for x in words.layers(s)
    ]  # fmt: skip
    passes = [units.cell("macs", p.macs, exact=p.is_exact) for p in (s.forward, s.backward)]
    total = [s.name, "", *passes, words.amount(s, s.saved_bytes)]
    head = ["layer", "kind", "forward MACs", "backward MACs", "kept (bytes)"]
    return latex.table(head, rows, last=total, left=2)
