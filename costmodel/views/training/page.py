"""A training step as one HTML page, and as a compact table for notebooks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from costmodel.measures import STEP_MEASURES
from costmodel.quantities import EVERY_OPERATION
from costmodel.views import answers, charts, compact, palette, units
from costmodel.views.compact import models
from costmodel.views.html import from_template
from costmodel.views.html.data import dictionary_encoded
from costmodel.views.html.summary import Figure, Summary
from costmodel.views.training import words
from costmodel.views.training.answers import sections

if TYPE_CHECKING:
    from costmodel.training import TrainingStep

KEEPERS = 12
"""Layers in the chart of those that keep most."""

_COLUMNS = (
    ("Forward MACs", "multiply-accumulates of the forward pass", "forward_macs", "macs"),
    ("Backward MACs", "multiply-accumulates of the backward pass", "backward_macs", "macs"),
    ("Forward FLOPs", "arithmetic operations of the forward pass", "forward_flops", "flops"),
    ("Backward FLOPs", "arithmetic operations of the backward pass", "backward_flops", "flops"),
    ("Keeps", "bytes that autograd keeps for the backward pass", "saved_bytes", "saved_bytes"),
)
"""Figures in the table of layers: head, meaning, column, the measure whose unit it has."""


def step(s: TrainingStep) -> str:
    """A step as a page: its costs, its memory over time, what is kept, forward against backward, each layer."""
    found = summary(s)
    colors = _colors(s)
    return from_template(
        "training.html.j2",
        title=f"{s.name}, training",
        s=found,
        categories=list(colors.items()),
        where=f"{words.amount(s, s.peak_memory)} are live {words.where(s)}.",
        memory=[
            (c, words.amount(s, n), f"{units.grouped(n)} bytes", units.share(n, s.peak_memory))
            for c, n in words.memory(s)
        ],
        remarks=[f"{units.sentence_case(remark)}." for remark in words.remarks(s)[bool(words.ratio(s)) :]],
        answers=sections(s),
        kept_by_several=[f"{units.sentence_case(line)}." for line in words.kept_by_several(s)],
        saved=words.amount(s, s.saved_bytes),
        ratio=units.sentence_case(words.ratio(s)),
        phases=_phases(s),
        heads=_heads(),
        rows=_rows(s),
        convention=EVERY_OPERATION.name,
        left_out=words.LEFT_OUT,
        payload=_payload(s, colors),
    )


def fragment(s: TrainingStep) -> str:
    """A step's totals, its memory at the peak; folded, its phases and the layers for which autograd keeps most."""
    remarks = [f"The peak is {words.where(s)}."]
    card = models.head(summary(s), tables=[_memory_table(s), _phase_table(s), _keepers(s)], remarks=remarks)
    asked = sections(s)
    return replace(
        card,
        verdicts=[*card.verdicts, *answers.verdicts(asked)],
        folded=[*card.folded, *answers.folded(asked)],
    ).html()


def _memory_table(s: TrainingStep) -> compact.Table:
    rows = words.memory(s)
    columns = [
        compact.Column("At the peak", [category for category, _ in rows], is_text=True),
        compact.Column("Bytes", [words.amount(s, n) for _, n in rows], [f"{n:,} bytes" for _, n in rows]),
        compact.Column("Share", [units.share(n, s.peak_memory) for _, n in rows]),
        compact.Column("", [""] * len(rows), shares=[n / s.peak_memory if s.peak_memory else 0.0 for _, n in rows]),
    ]
    return compact.Table(columns, len(rows), "category", ".memory")


def _keepers(s: TrainingStep) -> compact.Table:
    shown = words.keepers(s, compact.ROWS)
    every = sum(1 for layer in words.layers(s) if layer.saved)
    columns = [
        compact.Column("Layer", [x.name for x in shown], is_text=True),
        compact.Column("Kind", [x.kind for x in shown], is_text=True),
        compact.Column("Keeps", [words.amount(s, x.saved) for x in shown], [f"{x.saved:,} bytes" for x in shown]),
        compact.Column("Share", [units.share(x.saved, s.saved_bytes) for x in shown]),
    ]
    several = [units.sentence_case(line) for line in words.kept_by_several(s)]
    return compact.Table(
        columns, every, "layer", ".layers", "Layers for which autograd keeps most", is_folded=True, remarks=several
    )


def _phase_table(s: TrainingStep) -> compact.Table:
    rows = words.phases(s)
    columns = [
        compact.Column("Phase", [name for name, _ in rows], is_text=True),
        *(
            compact.Column(
                units.head(name),
                [units.cell(name, getattr(p, name), exact=p.is_exact) for _, p in rows],
                [units.every_digit(name, getattr(p, name)) for _, p in rows],
            )
            for name in ("macs", "flops", "memory_access_bytes")
        ),
    ]
    remarks = [units.sentence_case(found)] if (found := words.ratio(s)) else []
    return compact.Table(
        columns, len(rows), "phase", title="Forward, backward, update", is_folded=True, remarks=remarks
    )


def summary(s: TrainingStep) -> Summary:
    """The head of a step's page."""
    check = s.crosscheck()
    twice = {c.name for c in check.comparisons}
    layers = words.layers(s)
    macs = sum(x.forward_macs + x.backward_macs for x in layers if x.name in twice)
    read = "nothing computed" if s.execution == "meta" else "run on real tensors"
    facts = (("step", words.title(s)), ("input", words.inputs(s)), ("read by", f"one step, {read}"))
    return Summary(
        s.name, words.inputs(s), (*facts, ("layers", f"{len(layers):,}")), _figures(s), s.coverage, check, len(layers),
        units.share(macs, s.forward.macs + s.backward.macs), s.is_exact, (), None,
        "MACs, FLOPs, memory access and kept bytes of forward and backward",
    )  # fmt: skip


def _figures(s: TrainingStep) -> tuple[Figure, ...]:
    trained = "all of them" if s.trainable_params == s.params else f"{units.si(s.trainable_params)} of them"
    inputs = f", {words.amount(s, s.saved_input_bytes)} of them the model's inputs" * bool(s.saved_input_bytes)
    first = f"; {words.amount(s, s.first_peak_memory)} in the very first step" * words.first_differs(s)
    passes = f"{units.si(s.forward.macs)} forward, {units.si(s.backward.macs)} backward"
    return (
        _figure(s, "training_macs", "MACs", passes),
        _figure(s, "training_flops", "FLOPs", "every arithmetic operation: two per MAC, one for any other"),
        _figure(
            s, "training_memory_access_bytes", "Memory access", "read and written, every operation a kernel of its own"
        ),
        Figure(
            "params", "Params", "Params", units.si(s.params), f"{s.params:,} params", f"{trained} trainable", s.params
        ),
        _figure(s, "saved_bytes", "Saved activations", f"kept by autograd at the end of the forward{inputs}"),
        _figure(s, "training_peak", "Peak memory", f"everything included{first}"),
    )


def _figure(s: TrainingStep, key: str, name: str, means: str) -> Figure:
    measure = STEP_MEASURES[key]
    n = measure.total(s) or 0
    rounded = units.si(n, measure.symbol if measure.unit == "bytes" else "", exact=s.is_exact)
    return Figure(
        key, name, name, rounded, f"{'' if s.is_exact else 'at least '}{units.grouped(n)} {measure.unit}", means, n
    )


def _colors(s: TrainingStep) -> dict[str, str]:
    """Each category that is ever live, in the order of the stack, with its colour."""
    curve = s.curve
    present = [c for c in s.memory["category"].tolist() if curve[c].any()]
    return {c: palette.MEMORY.get(c, "#808080") for c in words.order(present)}


def _phases(s: TrainingStep) -> list[tuple[str, list[tuple[str, str]]]]:
    names = ("macs", "flops", "memory_access_bytes")
    rows = [(phase, [getattr(p, name) for name in names], p.is_exact) for phase, p in words.phases(s)]
    rows.append(("whole step", [getattr(s, name) for name in names], s.is_exact))
    return [
        (phase, [(units.cell(name, n, exact=exact), units.grouped(n)) for name, n in zip(names, figures, strict=True)])
        for phase, figures, exact in rows
    ]


def _heads() -> list[tuple[str, str, bool]]:
    words_first = [("Layer", "", False), ("#", "", True), ("Kind", "", False), ("Type", "", False)]
    return [*words_first, *((head, means, True) for head, means, _, _ in _COLUMNS)]


def _rows(s: TrainingStep) -> list[dict[str, Any]]:
    table = s.layers
    columns = [table[name].tolist() for _, _, name, _ in _COLUMNS]
    texts = [[units.cell(measure, n) for n in column] for column, (*_, measure) in zip(columns, _COLUMNS, strict=True)]
    return [
        {
            "name": name, "type": type_, "kind": kind, "color": palette.of_kind(kind),
            "figures": [(c[i], t[i], units.grouped(c[i])) for c, t in zip(columns, texts, strict=True)],
        }
        for i, (name, type_, kind) in enumerate(zip(table["name"], table["type"], table["kind"], strict=True))
    ]  # fmt: skip


def _payload(s: TrainingStep, colors: dict[str, str]) -> dict[str, Any]:
    """What the page's charts are drawn from, as plain lists."""
    curve = s.curve
    kept = words.keepers(s, KEEPERS)
    kinds = [(k, forward, backward) for k, forward, backward, _ in words.by_kind(s) if forward or backward]
    return {
        "models": [],
        "shown": "",
        "charts": charts.of_step(list(colors)),
        "step": {
            "categories": colors,
            "saved": s.saved_bytes,
            "peak": s.peak.index,
            "curve": {
                **{name: dictionary_encoded(curve[name].tolist()) for name in ("op", "module", "phase")},
                "bytes": {category: curve[category].tolist() for category in colors},
                "total": curve["total"].tolist(),
            },
            "live": _live(s),
            "keepers": {
                "name": [x.name for x in kept], "type": [x.type for x in kept], "kind": [x.kind for x in kept],
                "bytes": [x.saved for x in kept], "color": [palette.of_kind(x.kind) for x in kept],
            },
            "passes": {
                "kind": [k for k, *_ in kinds], "forward": [f for _, f, _ in kinds], "backward": [b for *_, b in kinds],
                "color": [palette.of_kind(k) for k, *_ in kinds],
            },
        },
    }  # fmt: skip


def _live(s: TrainingStep) -> dict[str, Any]:
    """Every storage, with the operations between which it is live."""
    found = s.lifetimes
    encoded = {
        name: dictionary_encoded([getattr(x, name) for x in found]) for name in ("category", "made_by", "module")
    }
    return {
        **encoded, "bytes": [x.nbytes for x in found], "from": [x.first for x in found], "to": [x.last for x in found]
    }  # fmt: skip
