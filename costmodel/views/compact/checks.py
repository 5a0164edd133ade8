"""Cross-checks and coverage in a notebook."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from costmodel.views import units
from costmodel.views.compact import BOUND, GOOD, ROWS, Card, Column, Table, verdict

if TYPE_CHECKING:
    from costmodel.cross_check import CrossCheck
    from costmodel.profiling.coverage import Coverage


def crosscheck(c: CrossCheck) -> str:
    """The verdict; the figures that differ, or else how many agree by type of layer; what was not compared, folded."""
    wrong = [_mismatches(c)] if not c.ok else []
    by_type = [_by_type(c)] if c.ok and c.checked else []
    return Card(
        c.model,
        "closed form against trace, layer by layer",
        verdicts=[verdict(c), *_bounds(c)],
        tables=[*wrong, *by_type, *([_third(c)] if c.against else [])],
        folded=[
            (f"{units.plural(len(names), 'layer')} {what}", names)
            for what, names in (
                ("traced only, without a closed form", c.traced_only),
                ("declared, not derived", c.declared),
                ("that the loss does not use", c.unreached),
            )
        ],
    ).html()


def _mismatches(c: CrossCheck) -> Table:
    shown = c.mismatches[:ROWS]
    columns = [
        Column("Layer", [x.name for x in shown], is_text=True),
        Column("Type", [x.type for x in shown], is_text=True),
        Column("Quantity", [units.name(x.quantity) for x in shown], is_text=True),
        Column("Closed form", [_value(x.closed_form) for x in shown]),
        Column("Traced", [_value(x.traced) for x in shown]),
    ]
    return Table(columns, len(c.mismatches), "difference", ".mismatches")


def _by_type(c: CrossCheck) -> Table:
    layers = Counter(dict.fromkeys((x.name, x.type) for x in c.comparisons))
    types = Counter(kind for _, kind in layers)
    figures = Counter(x.type for x in c.comparisons)
    shown = types.most_common(ROWS)
    columns = [
        Column("Type of layer", [kind for kind, _ in shown], is_text=True),
        Column("Layers", [units.grouped(n) for _, n in shown]),
        Column("Figures that agree", [units.grouped(figures[kind]) for kind, _ in shown]),
    ]
    return Table(columns, len(types), "type", ".rows", "What agrees", is_folded=True)


def _third(c: CrossCheck) -> Table:
    traced = {x.name for x in c.comparisons if x.quantity == "macs"}
    reasons = Counter(t.short for name, t in c.third.items() if name in traced and t.why).most_common()
    same = len(traced) - sum(n for _, n in reasons)
    rows = [("the same MACs", same), *reasons]
    columns = [
        Column(c.against, [why for why, _ in rows], is_prose=True),
        Column("Layers", [units.grouped(n) for _, n in rows]),
    ]
    return Table(columns, len(rows), "reason", ".rows")


def _bounds(c: CrossCheck | Coverage) -> list[tuple[str, str]]:
    """Why figures are lower bounds."""
    said = [f"no rule for {', '.join(c.unknown)}"] if c.unknown else []
    said += [f"in {note.where or 'the model itself'}, {note.why}" for note in c.bounds]
    return [(BOUND, f"lower bounds: {line}") for line in said]


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return units.shape(value)
    return units.grouped(value) if isinstance(value, int) else str(value)


def coverage(c: Coverage) -> str:
    """How many kinds of op are counted, are free, and have no rule; which they are, folded."""
    kinds = len(c.counted) + len(c.free)
    ran = sorted(c.counted.items(), key=lambda item: -item[1])
    columns = [
        Column("Op", [op for op, _ in ran], is_text=True),
        Column("Calls", [units.grouped(n) for _, n in ran]),
    ]
    has = f"{'has' if kinds == 1 else 'have'} a rule"
    return Card(
        "Coverage",
        verdicts=_bounds(c) or [(GOOD, f"all {units.plural(kinds, 'kind')} of operation that ran {has}")],
        tables=[Table(columns, len(ran), "op", ".counted", f"{len(ran)} counted", is_folded=True)] if ran else [],
        folded=[(f"{len(c.free)} free", [f"{op}: {why}" for op, why in c.free.items()])],
    ).html()
