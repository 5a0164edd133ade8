"""Results as tables for a terminal: plain text, or rich renderables for a console with colours."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from costmodel.arguments import short
from costmodel.errors import InputError
from costmodel.measures import of_layers, shown_in
from costmodel.views import cells, grid, layer_table, units
from costmodel.views.cells import beyond_the_peak, inputs, is_exact, total_cell
from costmodel.views.columns import columns as all_columns
from costmodel.views.columns import has_input
from costmodel.views.columns import remarks as of_columns
from costmodel.views.grid import WIDE
from costmodel.views.styled import Part, Text, plain

if TYPE_CHECKING:
    from costmodel.comparison import Comparison
    from costmodel.cross_check import CrossCheck
    from costmodel.models.closed import ClosedFormCheck
    from costmodel.other_counter import CounterTotal
    from costmodel.profiling import Profile
    from costmodel.training import TrainingStep


def profile(p: Profile, width: int | None = None, **options: Any) -> str:
    """A profile as plain text, as wide as the terminal (or 120 characters), with the options of ``profile_parts``."""
    return plain(profile_parts(p, width=text_width(width), **options), text_width(width))


def crosscheck(check: CrossCheck, width: int | None = None) -> str:
    """The verdict of a cross-check, and every disagreement, as plain text."""
    return plain(crosscheck_parts(check), text_width(width))


def comparison(c: Comparison, width: int | None = None) -> str:
    """A comparison as plain text."""
    return plain(comparison_parts(c, text_width(width)), text_width(width))


def text_width(asked: int | None = None) -> int:
    """Characters of a line of a text for people: as asked, or as wide as the terminal, or 120."""
    if asked is not None and (not isinstance(asked, int) or asked < 1):
        raise InputError(f"width={short(asked)} is no number of characters: give an int from 1")
    return asked or (shutil.get_terminal_size((120, 40)).columns if sys.stdout.isatty() else 120)


# -- one model -----------------------------------------------------------------------------------------------------


def profile_parts(
    p: Profile,
    *,
    depth: int | None = None,
    sort: str | None = None,
    top: int | None = None,
    columns: Sequence[str] | None = None,
    full_names: bool = False,
    fold: bool = True,
    width: int = WIDE,
) -> list[Part | str]:
    """What a console prints of a profile: its head, its table of layers, what the table leaves out, the verdicts.

    Args:
        p: the profile.
        depth: levels of the tree to show; as many as fit into 60 rows where it is not given.
        sort: a quantity; the layers are then listed flat, the greatest first.
        top: how many layers to list; they are sorted by MACs where no ``sort`` is given.
        columns: some of ``layer_table.column_names()``; then none is left out, whatever the width.
        full_names: module names in full, without truncation.
        fold: three and more blocks or layers in a row that differ in their names alone are one row, and one of them
            below it.
        width: of the console.

    Raises ``InputError`` for an unknown column or quantity.
    """
    table, remarks = layer_table.layers(
        p, depth=depth, sort=sort, top=top, columns=columns, full_names=full_names, fold=fold, width=width
    )
    beyond = beyond_the_peak(p)
    head: list[Part | str] = [*_head(p, width), *([grid.dim([beyond])] if beyond is not None else [])]
    shown: list[Part | str] = [*head, "", table]
    if (seen := cells.whole_field(p)) is not None:
        remarks.append(f"receptive field: {seen}")
    if remarks:
        shown.append(grid.dim(remarks))
    return [*shown, "", *verdict_parts(p, p.crosscheck())]


def _head(p: Profile, width: int) -> list[Part | str]:
    title = Text.assemble((units.printable(p.name), "bold"), "  ", (f"input {inputs(p)}, {p.mode} mode", "dim"))
    totals = {measure: total for measure in shown_in("summary") if (total := p.total(measure.name)) is not None}
    rounded = grid.numbers("", [total_cell(p, measure) for measure in totals])
    digits = [
        units.every_digit(measure.name, total, exact=is_exact(p, measure))
        + (_REMARKS[measure.name](p) if measure.name in _REMARKS else "")
        for measure, total in totals.items()
    ]
    columns = [rounded, grid.Column("", digits, right=False, style="dim", wrap=True)]
    return [title, grid.listing([measure.title for measure in totals], columns, width)]


def _on_params(p: Profile) -> str:
    parts = [f"{units.si(p.params_bytes, 'B')} as stored"] if p.params else []
    parts += [f"{units.grouped(p.buffers)} in buffers"] if p.buffers else []
    parts += [f"{units.grouped(p.trainable_params)} trainable"] if p.trainable_params != p.params else []
    parts += [f"{units.grouped(p.nonzero_params)} not pruned"] if p.nonzero_params != p.params else []
    parts += [f"{units.grouped(p.active_params)} active"] if p.active_params != p.params else []
    return "".join(f", {part}" for part in parts)


def _on_macs(p: Profile) -> str:
    parts = [f"{units.share(p.macs_on_padding, p.macs)} of them on zero padding"] if p.macs_on_padding else []
    parts += [f"{units.grouped(p.nonzero_macs)} of weights not pruned"] if p.nonzero_macs != p.macs else []
    return "".join(f", {part}" for part in parts)


def _on_memory_access(p: Profile) -> str:
    nbytes, fused = (units.si(n, "B", exact=p.is_exact) for n in (p.memory_access_bytes, p.fused_memory_access_bytes))
    return f", {nbytes}; {fused} if fused"


_REMARKS: Mapping[str, Callable[[Profile], str]] = {
    "params": _on_params, "macs": _on_macs, "memory_access": _on_memory_access,
    "peak_memory": lambda _: " live, parameters apart",
}  # fmt: skip
"""What the head says about a total besides its digits."""


def verdict_parts(p: Profile | TrainingStep, check: CrossCheck) -> list[Part | str]:
    """Whether the figures are to be trusted: coverage, cross-check, and how the model was read."""
    parts = [*coverage_parts(p), *crosscheck_parts(check)]
    if p.execution == "real":
        parts.append(Text.assemble(("! ", "yellow"), f"run with real tensors: {units.printable(p.graph.reason)}"))
    return parts


def coverage_parts(p: Profile | TrainingStep) -> list[Part | str]:
    """Whether every figure is exact, and where and why not."""
    coverage = p.coverage
    parts: list[Part | str] = []
    if p.is_exact:
        known = len(coverage.counted) + len(coverage.free)
        kinds = (
            "the 1 kind of operation that ran has" if known == 1 else f"all {known} kinds of operation that ran have"
        )
        said = f"coverage: {kinds} a rule"
        parts.append(Text.assemble(("✓ ", "green"), said))
    if coverage.unknown:
        covered = Text.assemble(("! ", "yellow"), "coverage: totals are lower bounds (≥), for these have no rule:")
        for op, where in coverage.unknown.items():
            places = ", ".join(units.printable(name) or "the model itself" for name in where[:3])
            covered.append(f"\n    {op} in {places}")
            covered.append(f" and {len(where) - 3} more" if len(where) > 3 else "")
        covered.append("\n  add a rule with costmodel.register_op")
        parts.append(covered)
    if coverage.bounds:
        covered = Text.assemble(("! ", "yellow"), "coverage: totals are lower bounds (≥):")
        for note in coverage.bounds:
            covered.append(f"\n    in {units.printable(note.where) or 'the model itself'}: {units.printable(note.why)}")
        parts.append(covered)
    return parts


def crosscheck_parts(check: CrossCheck) -> list[Part | str]:
    """The result in one line, a row per disagreement, and the count of a third tool."""
    also = f"; {len(check.traced_only)} traced only" if check.traced_only else ""
    also += f"; {len(check.declared)} declared, not derived" if check.declared else ""
    also += f"; the loss does not use {units.plural(len(check.unreached), 'layer')}" if check.unreached else ""
    parts: list[Part | str] = []
    if check.unchecked_because:
        parts.append(
            Text.assemble(("! ", "yellow"), f"cross-check: nothing derived twice, for {check.unchecked_because}{also}")
        )
    elif not check.mismatches:
        agree = "all agree to the last integer"
        verdict = f"cross-check: {units.plural(check.checked, 'layer')} derived twice, {agree}{also}"
        parts.append(Text.assemble(("✓ ", "green"), verdict))
    else:
        wrong = len({c.name for c in check.mismatches})
        verb = "disagrees" if wrong == 1 else "disagree"
        verdict = f"cross-check: {wrong} of {units.plural(check.checked, 'layer')} {verb}{also}"
        found = check.mismatches
        columns = [
            grid.Column("type", [c.type for c in found], right=False),
            grid.Column("quantity", [units.name(c.quantity) for c in found], right=False),
            grid.Column("closed form", [_format(c.closed_form) for c in found]),
            grid.Column("traced", [_format(c.traced) for c in found]),
        ]
        table, _ = grid.table("layer", [Text(c.name) for c in found], columns, WIDE, keep_all=True)
        parts += [Text.assemble(("✗ ", "red"), verdict), table]
    return parts + _third_parts(check)


def closed_form_parts(check: ClosedFormCheck | None) -> list[Part | str]:
    """The result for a whole network in closed form, with a row per difference; empty if it has no closed form."""
    if check is None:
        return []
    rows = len(check.form.rows)
    if check.ok:
        said = (
            f"closed form of the whole network: {units.plural(rows, 'layer')} and all totals agree to the last integer"
        )
        return [Text.assemble(("✓ ", "green"), said)]
    found = check.differences
    layers = len({d.layer for d in found if d.layer})
    columns = [
        grid.Column("quantity", [units.name(d.quantity) for d in found], right=False),
        grid.Column("closed form", [_format(d.closed_form) for d in found]),
        grid.Column("traced", [_format(d.traced) for d in found]),
    ]
    table, _ = grid.table("layer", [Text(d.layer or "in total") for d in found], columns, WIDE, keep_all=True)
    return [
        Text.assemble(
            ("✗ ", "red"), f"closed form of the whole network: {layers} of {units.plural(rows, 'layer')} differ"
        ),
        table,
    ]


def _third_parts(check: CrossCheck) -> list[Part | str]:
    if not check.against:
        return []
    traced = {c.name for c in check.comparisons if c.quantity == "macs"}
    other = {name: t for name, t in check.third.items() if name in traced and t.why}
    same = units.plural(len(traced) - len(other), "layer")
    others = f", others for {len(other)}:" if other else ""
    parts: list[Part | str] = [*_total_parts(check.total)]
    parts.append(Text(f"  {check.against}: the same MACs for {same}{others}"))
    for why, names in _by_reason(other).items():
        shown = ", ".join(map(units.printable, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        parts.append(Text(f"    {why}: {shown}", style="dim"))
    return parts


def _total_parts(total: CounterTotal | None) -> Iterator[Part | str]:
    if total is not None:
        yield Text.assemble(("  " if total.agrees else ("✗ ", "red")), units.of_counter(total))


def _by_reason(other: dict[str, Any]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name, opinion in other.items():
        reasons.setdefault(opinion.short, []).append(name)
    return reasons


def _format(value: Any) -> str:
    if isinstance(value, tuple):
        return units.shape(value)
    return units.grouped(value) if isinstance(value, int) else str(value)


def _verdict(check: CrossCheck) -> str:
    """The cross-check in a word."""
    return "nothing" if check.unchecked_because else "agrees" if check.ok else "DIFFERS"


# -- several models ------------------------------------------------------------------------------------------------


def comparison_parts(c: Comparison, width: int = WIDE) -> list[Part | str]:
    """One row per model: totals, ratios to the baseline, and the verdict of the cross-check."""
    models = list(c.profiles.items())
    given = list(c.inputs.values())
    columns = []
    for column in all_columns(c, of_layers("totals"), ratios=shown_in("ratios")):
        columns.append(grid.numbers(column.narrow, column.cells, column.priority, stays=column.is_asked))
        if column.ratios is not None:
            title, ratios = column.narrow.partition("\n")[0], [units.ratio(value) for value in column.ratios]
            columns.append(grid.numbers(f"{title}\nratio", ratios, min(column.priority - 1, 8)))
    checks = [p.crosscheck() for _, p in models]
    columns.append(grid.Column("cross-check", [_verdict(check) for check in checks], 7))
    if has_input(c):
        columns.append(grid.Column("input", given, 5 if c.warnings else 1, right=False, style="dim"))
    longest = max(len(name) for name, _ in models)
    labels = [Text(name, style="bold") for name, _ in models]
    table, dropped = grid.table("model", labels, columns, width, keep_all=c.columns is not None, least=min(longest, 40))
    remarks = [f"ratios are to {units.printable(c.baseline)}"] if c.baseline is not None else []
    if "input" in dropped and not c.warnings:
        remarks.append(f"input {given[0]}, {models[0][1].mode} mode")
        dropped.remove("input")
    remarks += grid.left_out(dropped) + [units.printable(remark) for remark in of_columns(c)]
    parts: list[Part | str] = [table, *([grid.dim(remarks)] if remarks else [])]
    parts += [Text.assemble(("! ", "yellow"), units.printable(warning)) for warning in c.warnings]
    for (name, p), check in zip(models, checks, strict=True):
        if not (check.ok and check.checked and p.is_exact):
            parts += ["", Text(units.printable(name), style="bold"), *verdict_parts(p, check)]
    return parts
