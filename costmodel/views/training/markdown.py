"""A training step as Markdown, for reports in a repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from costmodel.measures import STEP_MEASURES, STEP_TOTALS
from costmodel.views import answers, units
from costmodel.views.markdown import coverage_line, escape, layer_tables, pictures, table, verdict
from costmodel.views.training import words
from costmodel.views.training.answers import sections
from costmodel.views.tree import Node

if TYPE_CHECKING:
    from costmodel.training import TrainingStep

KEEPERS = 10
"""Layers in the table of those that keep most."""


def step(s: TrainingStep, figures: Mapping[str, str] | None = None, *, fold: bool = True) -> str:
    """A step: what each phase computes, what memory holds at the peak, who keeps most, whether to trust it."""
    parts = [
        f"# What a training step of {escape(s.name)} costs",
        f"{units.sentence_case(words.title(s))}, input {words.inputs(s)}.",
        _phases(s),
        _sentences(s),
        f"## Memory at the peak\n\n{words.amount(s, s.peak_memory)} are live {_where(s)}.",
        _memory(s),
        *answers.markdown(sections(s)),
        *pictures(figures or {}),
        f"## Layers that keep most\n\n{_keepers(s)}",
        *(f"{units.sentence_case(line)}." for line in words.kept_by_several(s)),
        f"## By kind of layer\n\n{_kinds(s)}",
        _layers(s, fold=fold),
        "## Is it true?\n\n" + "\n".join(f"- {line}" for line in (verdict(s.crosscheck()), coverage_line(s.coverage))),
        _conventions(),
    ]
    return "\n\n".join(parts) + "\n"


def _where(s: TrainingStep) -> str:
    place = f" of {escape(s.peak.module)}" if s.peak.module else ""
    return f"in the {s.peak.phase}{place}, while {escape(s.peak.op)} runs" if s.peak.op else "while nothing runs"


def _phases(s: TrainingStep) -> str:
    names = ("macs", "flops", "memory_access_bytes")
    rows = [
        [phase, *(units.cell(n, getattr(p, n), exact=p.is_exact) for n in names), units.share(p.flops, s.flops)]
        for phase, p in words.phases(s)
    ]
    whole = [units.cell(name, getattr(s, name), exact=s.is_exact) for name in names]
    rows.append(["whole step", *whole, units.share(s.flops, s.flops)])
    return table(["phase", *map(units.head, names), "share of FLOPs"], rows)


def _sentences(s: TrainingStep) -> str:
    return "\n".join(f"- {units.sentence_case(remark)}." for remark in words.remarks(s))


def _memory(s: TrainingStep) -> str:
    rows = [
        [category, words.amount(s, n), units.grouped(n), units.share(n, s.peak_memory)]
        for category, n in words.memory(s)
    ]
    rows.append(["together", words.amount(s, s.peak_memory), units.grouped(s.peak_memory), units.share(1, 1)])
    return table(["at the peak", "", "bytes", "share"], rows)


def _keepers(s: TrainingStep) -> str:
    rows = [
        [escape(x.name), x.kind, words.amount(s, x.saved), units.share(x.saved, s.saved_bytes)]
        for x in words.keepers(s, KEEPERS)
    ]
    return table(["layer", "kind", "kept (bytes)", "share"], rows, left=2)


def _kinds(s: TrainingStep) -> str:
    rows = [
        [kind, units.cell("macs", forward), units.cell("macs", backward),
         units.ratio(backward / forward) if forward else "–", words.amount(s, kept)]
        for kind, forward, backward, kept in words.by_kind(s)
    ]  # fmt: skip
    return table(["kind", "forward MACs", "backward MACs", "ratio", "kept (bytes)"], rows)


def _layers(s: TrainingStep, *, fold: bool) -> str:
    def row(node: Node) -> list[str]:
        macs = [units.cell("macs", node.figures[name]) for name in ("forward_macs", "backward_macs")]
        return [
            escape(node.name),
            escape(node.type),
            node.kind,
            *macs,
            words.amount(s, int(node.figures["saved"] or 0)),
        ]

    head = ["layer", "type", "kind", "forward MACs", "backward MACs", "kept (bytes)"]
    return layer_tables(words.tree(s), len(s.layers), head, row, left=3, fold=fold)


def _conventions() -> str:
    measures = (STEP_MEASURES[name] for name in STEP_TOTALS if name in STEP_MEASURES)
    said = (f"**{escape(units.sentence_case(m.title))}**: {escape(m.means)}." for m in measures)
    return f"> {' '.join(said)} 1 k is 1,000. {words.LEFT_OUT}"
