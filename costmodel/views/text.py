"""Results as tables for a terminal: plain text, or rich renderables for a console with colours."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from costmodel.errors import InputError
from costmodel.measures import MEASURES, RANKED_BY, Measure, of_layers, shown_in
from costmodel.views import cells, grid, units
from costmodel.views.cells import beyond_the_peak, inputs, is_exact, total_cell
from costmodel.views.grid import WIDE, plain
from costmodel.views.tree import Node, tree

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from costmodel.comparison import Comparison
    from costmodel.cross_check import CrossCheck
    from costmodel.models.closed import ClosedFormCheck
    from costmodel.profiling import Profile
    from costmodel.training import TrainingStep

ROWS = 60
"""The most rows that a table has if no depth is asked for."""

_DESCRIPTIVE = {"type": ("type", 3), "kind": ("kind", 7), "output_shape": ("output", 5)}
"""The columns that are not measures, by name: head and priority."""

_SHARE_PRIORITY = 8
_SHARED = RANKED_BY[0]


def column_names() -> list[str]:
    """Every column of the table of layers, by the name that ``--columns`` takes."""
    return [*_DESCRIPTIVE, *_with_share([measure.name for measure in of_layers()])]


def _with_share(names: Sequence[str]) -> list[str]:
    """Names of measures, with the share behind the one that shares are of by default."""
    return [column for name in names for column in ((name, "share") if name == _SHARED else (name,))]


def profile(p: Profile, width: int | None = None) -> str:
    """A profile as plain text, as wide as the terminal (or 120 characters)."""
    return plain(profile_parts(p, width=_width(width)), _width(width))


def crosscheck(check: CrossCheck, width: int | None = None) -> str:
    """The verdict of a cross-check, and every disagreement, as plain text."""
    return plain(crosscheck_parts(check), _width(width))


def comparison(c: Comparison, width: int | None = None) -> str:
    """A comparison as plain text."""
    return plain(comparison_parts(c, _width(width)), _width(width))


def _width(asked: int | None) -> int:
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
    width: int = WIDE,
) -> list[RenderableType]:
    """What a console prints of a profile: its head, its table of layers, what the table leaves out, the verdicts.

    Args:
        p: the profile.
        depth: levels of the tree to show; as many as fit into 60 rows where it is not given.
        sort: a quantity; the layers are then listed flat, the greatest first.
        top: how many layers to list; they are sorted by MACs where no ``sort`` is given.
        columns: some of ``column_names()``; then none is left out, whatever the width.
        full_names: module names in full, without truncation.
        width: of the console.

    Raises ``InputError`` for an unknown column or quantity.
    """
    chosen = _chosen(columns, sort)
    root = tree(p)
    remarks = []
    if sort is not None or top is not None:
        listed = sorted(root.leaves(), key=lambda node: -(node.figures[sort or _SHARED] or 0))
        rows = [("", node) for node in listed[:top]]
        if len(listed) > len(rows):
            remarks.append(f"{len(listed) - len(rows)} more layers; --top {len(listed)} shows them")
        full_names = True
    else:
        deepest = _fitting_depth(root) if depth is None else depth
        rows = _with_tree_lines(root, deepest)
        if root.depth > deepest:
            remarks.append(f"depth {deepest} of {root.depth}; --depth {root.depth} shows every layer")
    layers, dropped = _layer_table(
        rows, root, chosen, sort or _SHARED, width=width, keep_all=columns is not None, full_names=full_names
    )
    remarks += grid.left_out(dropped)
    beyond = beyond_the_peak(p)
    head: list[RenderableType] = [_head(p), *([grid.dim([beyond])] if beyond is not None else [])]
    shown: list[RenderableType] = [*head, "", layers]
    if (seen := cells.whole_field(p)) is not None:
        remarks.append(f"receptive field: {seen}")
    if remarks:
        shown.append(grid.dim(remarks))
    return [*shown, "", *verdict_parts(p, p.crosscheck())]


def _chosen(columns: Sequence[str] | None, sort: str | None) -> list[str]:
    for name in columns or ():
        if name not in column_names():
            raise InputError(f"unknown column {name!r}; the columns are {', '.join(column_names())}")
    sortable = [measure.name for measure in of_layers() if measure.additive]
    if sort is not None and sort not in sortable:
        raise InputError(f"unknown quantity {sort!r} to sort by; the quantities are {', '.join(sortable)}")
    if columns is not None:
        return list(columns)
    shown = _with_share([measure.name for measure in of_layers("layers")])
    if sort is not None and sort not in shown:
        shown.insert(shown.index("share"), sort)
    return [*_DESCRIPTIVE, *shown]


def _head(p: Profile) -> Table:
    from rich.table import Table
    from rich.text import Text

    title = Text.assemble((units.printable(p.name), "bold"), "  ", (f"input {inputs(p)}, {p.mode} mode", "dim"))
    table = Table(title=title, title_justify="left", title_style="", box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    totals = {measure: total for measure in shown_in("summary") if (total := p.total(measure.name)) is not None}
    rounded = grid.numbers("", [total_cell(p, measure) for measure in totals])
    for (measure, total), cell in zip(totals.items(), rounded.cells, strict=True):
        digits = units.every_digit(measure.name, total, exact=is_exact(p, measure))
        remark = _REMARKS[measure.name](p) if measure.name in _REMARKS else ""
        table.add_row(measure.title, rounded.padded(cell), digits + remark)
    return table


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


def verdict_parts(p: Profile | TrainingStep, check: CrossCheck) -> list[RenderableType]:
    """Whether the figures are to be trusted: coverage, cross-check, and how the model was read."""
    from rich.text import Text

    coverage = p.coverage
    parts: list[RenderableType] = []
    if p.is_exact:
        known = len(coverage.counted) + len(coverage.free)
        said = f"coverage: all {known} kinds of operation that ran have a rule"
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
    parts += crosscheck_parts(check)
    if p.execution == "real":
        parts.append(Text.assemble(("! ", "yellow"), f"run with real tensors: {units.printable(p.graph.reason)}"))
    return parts


def crosscheck_parts(check: CrossCheck) -> list[RenderableType]:
    """The result in one line, a row per disagreement, and the count of a third tool."""
    from rich.text import Text

    also = f"; {len(check.traced_only)} traced only" if check.traced_only else ""
    also += f"; {len(check.declared)} declared, not derived" if check.declared else ""
    parts: list[RenderableType] = []
    if check.unchecked_because:
        parts.append(
            Text.assemble(("! ", "yellow"), f"cross-check: nothing derived twice, for {check.unchecked_because}{also}")
        )
    elif check.ok:
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


def closed_form_parts(check: ClosedFormCheck | None) -> list[RenderableType]:
    """The result for a whole network in closed form, with a row per difference; empty if it has no closed form."""
    from rich.text import Text

    if check is None:
        return []
    rows = len(check.form.rows)
    if check.ok:
        said = f"closed form of the whole network: {rows} layers and all totals agree to the last integer"
        return [Text.assemble(("✓ ", "green"), said)]
    found = check.differences
    layers = len({d.layer for d in found if d.layer})
    columns = [
        grid.Column("quantity", [units.name(d.quantity) for d in found], right=False),
        grid.Column("closed form", [_format(d.closed_form) for d in found]),
        grid.Column("traced", [_format(d.traced) for d in found]),
    ]
    table, _ = grid.table("layer", [Text(d.layer or "in total") for d in found], columns, WIDE, keep_all=True)
    return [Text.assemble(("✗ ", "red"), f"closed form of the whole network: {layers} of {rows} layers differ"), table]


def _third_parts(check: CrossCheck) -> list[RenderableType]:
    from rich.text import Text

    if not check.against:
        return []
    traced = {c.name: c.traced for c in check.comparisons if c.quantity == "macs"}
    other = {name: t for name, t in check.third.items() if name in traced and t.why}
    parts: list[RenderableType] = [
        Text(f"  {check.against}: the same MACs for {len(traced) - len(other)} layers, others for {len(other)}:")
    ]
    for why, names in _by_reason(other).items():
        shown = ", ".join(map(units.printable, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        parts.append(Text(f"    {why}: {shown}", style="dim"))
    return parts


def _by_reason(other: dict[str, Any]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name, opinion in other.items():
        reasons.setdefault(opinion.short, []).append(name)
    return reasons


def _format(value: Any) -> str:
    if isinstance(value, tuple):
        return units.shape(value)
    return units.grouped(value) if isinstance(value, int) else str(value)


# -- the table of layers -------------------------------------------------------------------------------------------


def _fitting_depth(root: Node) -> int:
    levels = [level for level, _ in root.walk()]
    fitting = [d for d in range(1, root.depth + 1) if sum(level <= d for level in levels) <= ROWS]
    return max(fitting, default=1)


def _with_tree_lines(root: Node, deepest: int) -> list[tuple[str, Node]]:
    """The nodes with their prefix of tree lines, as in a directory listing."""
    rows: list[tuple[str, Node]] = [("", root)]

    def descend(node: Node, prefix: str, level: int) -> None:
        if level >= deepest:
            return
        for i, child in enumerate(node.children):
            last = i == len(node.children) - 1
            rows.append((prefix + ("└─ " if last else "├─ "), child))
            descend(child, prefix + ("   " if last else "│  "), level + 1)

    descend(root, "", 0)
    return rows


def _layer_table(
    rows: list[tuple[str, Node]],
    root: Node,
    chosen: list[str],
    share_of: str,
    *,
    width: int,
    keep_all: bool,
    full_names: bool,
) -> tuple[Table, list[str]]:
    from rich.text import Text

    nodes = [node for _, node in rows]
    labels = []
    for prefix, node in rows:
        name = node.name or node.label if full_names else node.label
        labels.append(Text.assemble((prefix, "dim"), (name, "bold" if node.children else "")))
    least = max(label.cell_len for label in labels) if full_names else 16

    def lay(names: Sequence[str]) -> tuple[Table, list[str]]:
        columns = [_column(name, nodes, root, share_of, with_type="type" in names) for name in names]
        return grid.table("layer", labels, columns, width, keep_all=keep_all, least=least)

    table, dropped = lay(chosen)
    if "type" in dropped:  # then the column of kinds shows the types of inner nodes
        table, dropped = lay([name for name in chosen if name != "type"])
        dropped.insert(0, "type")
    return table, dropped


def _column(name: str, nodes: Sequence[Node], root: Node, share_of: str, *, with_type: bool) -> grid.Column:
    words: dict[str, Callable[[Node], str]] = {
        "type": lambda node: node.type,
        "kind": lambda node: node.kind if with_type else node.kind or node.type,
        "output_shape": lambda node: "" if node.output_shape is None else units.shape(node.output_shape),
    }
    if name in words:
        title, priority = _DESCRIPTIVE[name]
        return grid.Column(title, [words[name](node) for node in nodes], priority, right=False, style="dim")
    if name == "share":
        whole = root.figures[share_of] or 0
        parts = [node.figures[share_of] or 0 for node in nodes]
        shares = [f"{grid.bar(part, whole)} {units.share(part, whole):>6}" for part in parts]
        return grid.Column(f"share of {units.name(share_of)}", shares, _SHARE_PRIORITY, right=False, style="cyan")
    measure = MEASURES[name]
    cells = [units.cell(name, n.figures[name], exact=n.is_exact or not measure.needs_rules) for n in nodes]
    return grid.numbers(_head_of(measure), cells, 99 if name == share_of else measure.priority)


def _head_of(measure: Measure) -> str:
    """The head of a column of a terminal, its unit in a second line."""
    unit = units.noun(measure.name)
    return f"{measure.short or measure.title}\n({unit})" if unit else measure.short or measure.title


def _verdict(check: CrossCheck) -> str:
    """The cross-check in a word."""
    return "nothing" if check.unchecked_because else "agrees" if check.ok else "DIFFERS"


# -- several models ------------------------------------------------------------------------------------------------


def comparison_parts(c: Comparison, width: int = WIDE) -> list[RenderableType]:
    """One row per model: totals, ratios to the baseline, and the verdict of the cross-check."""
    from rich.text import Text

    models = list(c.profiles.items())
    given = [inputs(p) for _, p in models]
    columns = []
    for measure in of_layers("totals"):
        cells = [total_cell(p, measure) for _, p in models]
        columns.append(grid.numbers(_head_of(measure), cells, measure.priority))
        if c.baseline is not None and "ratios" in measure.places:
            ratios = [units.ratio(value) for value in c.ratios(measure.name)]
            columns.append(
                grid.numbers(f"{measure.short or measure.title}\nratio", ratios, min(measure.priority - 1, 8))
            )
    checks = [p.crosscheck() for _, p in models]
    columns.append(grid.Column("cross-check", [_verdict(check) for check in checks], 7))
    columns.append(grid.Column("input", given, 5 if c.warnings else 1, right=False, style="dim"))
    longest = max(len(name) for name, _ in models)
    labels = [Text(name, style="bold") for name, _ in models]
    table, dropped = grid.table("model", labels, columns, width, least=min(longest, 40))
    remarks = [f"ratios are to {units.printable(c.baseline)}"] if c.baseline is not None else []
    if "input" in dropped and not c.warnings:
        remarks.append(f"input {given[0]}, {models[0][1].mode} mode")
        dropped.remove("input")
    remarks += grid.left_out(dropped)
    parts: list[RenderableType] = [table, *([grid.dim(remarks)] if remarks else [])]
    parts += [Text.assemble(("! ", "yellow"), units.printable(warning)) for warning in c.warnings]
    for (name, p), check in zip(models, checks, strict=True):
        if not (check.ok and check.checked and p.is_exact):
            parts += ["", Text(units.printable(name), style="bold"), *verdict_parts(p, check)]
    return parts
