"""Profiles and comparisons in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.measures import RANKED_BY, shown_in
from costmodel.views import cells, units
from costmodel.views.columns import has_input
from costmodel.views.columns import remarks as of_metrics
from costmodel.views.compact import BAD, BOUND, ROWS, Card, Column, Table, verdict
from costmodel.views.html import summary as summaries

if TYPE_CHECKING:
    from costmodel.comparison import Comparison
    from costmodel.difference import Difference, Differences
    from costmodel.profiling import Profile

SHARED = RANKED_BY[0]


def profile(p: Profile) -> str:
    """A profile's totals and its verdict; folded, the layers with most MACs."""
    whole = cells.whole_field(p)
    beyond = cells.beyond_the_peak(p)
    remarks = [f"Receptive field: {whole}"] if whole is not None else []
    remarks += [units.sentence_case(beyond)] if beyond is not None else []
    return head(summaries.summary(p), tables=_layers(p), remarks=remarks).html()


def head(s: summaries.Summary, *, tables: list[Table], remarks: list[str]) -> Card:
    """What the head of a page has: totals and verdict of a profile, or of a step."""
    facts = [f"{value} layers" if name == "layers" else value for name, value in s.facts if name != "receptive field"]
    return Card(
        s.name,
        " · ".join(facts),
        totals=[(f.name, f.short, f.exact) for f in s.figures],
        verdicts=_verdicts(s),
        tables=tables,
        remarks=remarks,
    )


def _verdicts(s: summaries.Summary) -> list[tuple[str, str]]:
    bounds = [
        f"no rule for {op} in {', '.join(name or 'the model itself' for name in where[:3])}"
        for op, where in s.coverage.unknown.items()
    ]
    bounds += [f"in {note.where or 'the model itself'}, {note.why}" for note in s.coverage.bounds]
    lower = [(BOUND, f"lower bounds: {'; '.join(bounds[:3])}{f'; {len(bounds) - 3} more' if len(bounds) > 3 else ''}")]
    found = [] if s.is_exact else lower
    return found if found and s.check.ok else [verdict(s.check, s.layers), *found]


def _layers(p: Profile) -> list[Table]:
    pairs = [(layer, n) for layer, n in zip(p.pricing.layers, p.figures(SHARED), strict=True) if n]
    every, whole = sorted(pairs, key=lambda pair: -pair[1]), p.total(SHARED)
    if not every or not whole:
        return []
    shown = every[:ROWS]
    columns = [
        Column("Layer", [x.name for x, _ in shown], is_text=True),
        Column("Kind", [x.kind for x, _ in shown], is_text=True),
        Column(
            units.name(SHARED),
            [units.cell(SHARED, n, exact=x.is_exact) for x, n in shown],
            [units.every_digit(SHARED, n) for _, n in shown],
        ),
        Column("Share", [units.share(n, whole) for _, n in shown]),
        Column("", [""] * len(shown), shares=[n / whole for _, n in shown]),
    ]
    return [Table(columns, len(every), "layer", ".layers", f"Layers with most {units.name(SHARED)}", is_folded=True)]


def comparison(c: Comparison) -> str:
    """A row per model: what it was given, totals with ratios to the baseline, metrics, and whether to trust it."""
    models = list(c.profiles)[:ROWS]
    columns = [Column("Model", models, is_text=True)]
    if has_input(c) and c.warnings:
        columns.append(Column("Input", [c.inputs[name] for name in models], is_text=True))
    with_ratio = {m.name for m in shown_in("ratios")} if c.baseline is not None else set()
    for figures in summaries.columns(c):
        shown, key = figures[:ROWS], figures[0].key
        ratios = [units.ratio(n) for n in c.ratios(key)[:ROWS]] if key in with_ratio else []
        columns.append(Column(figures[0].head, [f.short for f in shown], [f.exact for f in shown], ratios))
    trust = [_TRUST[summaries.summary(c.profiles[name]).verdict] for name in models]
    columns.append(Column("Cross-check", trust, is_text=True))
    given = "" if c.warnings else f"input {c.inputs[models[0]]}"
    beside = f"ratios are to {c.baseline}" if c.baseline is not None else ""
    return Card(
        units.plural(len(c.profiles), "model"),
        " · ".join(filter(None, (given, beside))),
        verdicts=[(BOUND, units.sentence_case(warning)) for warning in c.warnings],
        tables=[Table(columns, len(c.profiles), "model", ".table")],
        remarks=[f"{remark}." for remark in of_metrics(c)],
    ).html()


_TRUST = {
    "agrees": "✓ agrees", "differs": "✗ differs", "incomplete": "! lower bound", "unchecked": "! nothing derived twice",
}  # fmt: skip


def difference(d: Difference) -> str:
    """Totals before and after, and the layers that moved them most; folded."""
    totals = list(d.totals.items())
    before_after = [
        Column("", [units.head(name) for name, _ in totals], is_text=True),
        *(
            Column(
                when,
                [units.cell(name, pair[i]) for name, pair in totals],
                [units.every_digit(name, pair[i]) for name, pair in totals],
            )
            for i, when in enumerate(("before", "after"))
        ),
        Column("difference", [units.signed(name, now - was) for name, (was, now) in totals]),
        Column("change", [units.change(was, now) for _, (was, now) in totals]),
    ]
    shown = d.layers[:ROWS]
    changes = [
        Column("Layer", [change.name for change in shown], is_text=True),
        Column("", [change.what for change in shown], is_text=True),
        *(Column(units.head(n), [units.signed(n, change.difference(n)) for change in shown]) for n in d.shown),
    ]
    moved = f"{units.plural(len(d.layers), 'layer')} changed, those first that moved a total most"
    wrong = [(side, p.crosscheck()) for side, p in (("before", d.old), ("after", d.new)) if not p.crosscheck().ok]
    return Card(
        f"{d.old.name} → {d.new.name}" if d.old.name != d.new.name else d.new.name,
        "before and after",
        verdicts=[(BAD, f"{side}: {units.plural(len(check.mismatches), 'figure')} wrong") for side, check in wrong],
        tables=[
            Table(before_after, len(totals), "total", ".totals"),
            *([Table(changes, len(d.layers), "layer", ".layers", moved, is_folded=True)] if shown else []),
        ],
        remarks=[] if shown else ["No layer changed."],
    ).html()


def differences(d: Differences) -> str:
    """The models that changed, a row for each with its totals before and after."""
    changed = list(d.changed.items())
    shown = changed[:ROWS]
    columns = [Column("Model", [name for name, _ in shown], is_text=True)]
    names = list(shown[0][1].totals) if shown else []
    for name in names:
        pairs = [found.totals.get(name) for _, found in shown]
        cells = ["–" if pair is None else units.cell(name, pair[1]) for pair in pairs]
        moved = ["" if pair is None else units.change(*pair) for pair in pairs]
        columns.append(Column(units.head(name), cells, below=moved))
    groups = (("changed", changed), ("new", d.added), ("gone", d.gone))
    return Card(
        "What changed in several models",
        ", ".join(f"{len(group)} {what}" for what, group in groups),
        tables=[Table(columns, len(changed), "model", ".changed")] if shown else [],
        remarks=[f"{units.sentence_case(what)}: {', '.join(group)}" for what, group in groups[1:] if group],
    ).html()
