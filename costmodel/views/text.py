"""Results as tables for a terminal. Plain text, or rich's renderables where a console shall colour them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from costmodel.errors import InputError
from costmodel.graph import TensorSpec
from costmodel.views import grid, units
from costmodel.views.grid import WIDE, plain
from costmodel.views.tree import ADDITIVE, Node, tree

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from costmodel.compare import Comparison
    from costmodel.crosscheck import CrossCheck
    from costmodel.models.closed import ClosedFormCheck
    from costmodel.profile import Profile

ROWS = 60
"""As many rows as a table shows where nobody asked for a depth."""

TITLES = {
    "type": "type", "kind": "kind", "output_shape": "output", "params": "params", "macs": "MACs", "share": "share",
    "flops": "FLOPs", "memory_access": "mem. access\n(elements)", "memory_access_bytes": "mem. access\n(bytes)",
    "activations": "activations\n(elements)",
}  # fmt: skip
"""Every column of the table of layers, by the name that ``--columns`` takes, and its head."""

DEFAULT_COLUMNS = ("type", "kind", "output_shape", "params", "macs", "share", "flops", "memory_access")

_KEEP = {
    "macs": 10, "params": 9, "share": 8, "kind": 7, "memory_access": 6, "output_shape": 5, "flops": 4, "type": 3,
    "activations": 2, "memory_access_bytes": 1,
}  # fmt: skip
"""Which columns stay where the width does not suffice for all: those with the most."""


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
        columns: names of ``TITLES``; then none is left out, whatever the width.
        full_names: qualified names, never cut.
        width: of the console.

    Raises ``InputError`` for a column or quantity that there is not.
    """
    chosen = _chosen(columns, sort)
    root = tree(p)
    remarks = []
    if sort is not None or top is not None:
        listed = sorted(root.leaves(), key=lambda node: -node.figures[sort or "macs"])
        rows = [("", node) for node in listed[:top]]
        if len(listed) > len(rows):
            remarks.append(f"{len(listed) - len(rows)} more layers; --top {len(listed)} shows them")
        full_names = True
    else:
        deepest = _fitting_depth(root) if depth is None else depth
        rows = _guided(root, deepest)
        if root.depth > deepest:
            remarks.append(f"depth {deepest} of {root.depth}; --depth {root.depth} shows every layer")
    layers, dropped = _layer_table(
        rows, root, chosen, sort or "macs", width=width, keep_all=columns is not None, full_names=full_names
    )
    remarks += grid.left_out(dropped)
    shown: list[RenderableType] = [_head(p), "", layers]
    if remarks:
        shown.append(grid.dim(remarks))
    return [*shown, "", *verdict_parts(p, p.crosscheck())]


def _chosen(columns: Sequence[str] | None, sort: str | None) -> list[str]:
    for name in columns or ():
        if name not in TITLES:
            raise InputError(f"there is no column {name!r}; there are {', '.join(TITLES)}")
    if sort is not None and sort not in ADDITIVE:
        raise InputError(f"there is no quantity {sort!r} to sort by; there are {', '.join(ADDITIVE)}")
    chosen = list(columns or DEFAULT_COLUMNS)
    if sort is not None and sort not in chosen and columns is None:
        chosen.insert(chosen.index("share"), sort)
    return chosen


def _head(p: Profile) -> Table:
    from rich.table import Table
    from rich.text import Text

    inputs = ", ".join(_input(t) for t in p.inputs)
    title = Text.assemble((p.name, "bold"), "  ", (f"input {inputs or 'none'}, {p.mode} mode", "dim"))
    table = Table(title=title, title_justify="left", title_style="", box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    shown = ("params", "macs", "flops", "memory_access", "activations", "peak_memory")
    exact = [p.is_exact or name == "params" for name in shown]
    short = [units.cell(name, getattr(p, name), exact=e) for name, e in zip(shown, exact, strict=True)]
    rounded = grid.numbers("", short)
    for name, cell, e in zip(shown, rounded.cells, exact, strict=True):
        table.add_row(units.name(name), rounded.padded(cell), _remark(p, name, e))
    return table


def _remark(p: Profile, name: str, exact: bool) -> str:
    """All digits of a total, and what else there is to say of it."""
    remark = f"{'' if exact else '≥ '}{units.grouped(getattr(p, name))}"
    if name == "params":
        return remark + (f", and {units.grouped(p.buffers)} in buffers" if p.buffers else "")
    if name == "macs" and p.macs_on_padding:
        return remark + f", {units.share(p.macs_on_padding, p.macs)} of them on zero padding"
    if name == "memory_access":
        fused = units.figure("memory_access_bytes", p.fused_memory_access_bytes, exact=exact)
        nbytes = units.figure("memory_access_bytes", p.memory_access_bytes, exact=exact)
        return f"{remark} elements, {nbytes}; {fused} if fused"
    if name == "activations":
        return f"{remark} elements"
    if name == "peak_memory":
        return f"{remark} bytes live, parameters apart"
    return remark


def _input(t: TensorSpec) -> str:
    return f"{units.shape(t.shape)} {t.dtype}"


def verdict_parts(p: Profile, check: CrossCheck) -> list[RenderableType]:
    """Whether the figures are to be trusted: coverage, cross-check, and how the model was read."""
    from rich.text import Text

    coverage = p.coverage
    if p.is_exact:
        known = len(coverage.counted) + len(coverage.free)
        covered = Text.assemble(("✓ ", "green"), f"coverage: all {known} kinds of operation that ran have a rule")
    else:
        covered = Text.assemble(("! ", "yellow"), "coverage: totals are lower bounds (≥), for these have no rule:")
        for op, where in coverage.unknown.items():
            covered.append(f"\n    {op} in {', '.join(name or 'the model itself' for name in where[:3])}")
            covered.append(f" and {len(where) - 3} more" if len(where) > 3 else "")
        covered.append("\n  add a rule with costmodel.register_op")
    parts: list[RenderableType] = [covered, *crosscheck_parts(check)]
    if p.execution == "real":
        parts.append(Text.assemble(("! ", "yellow"), f"run with real tensors: {p.graph.reason}"))
    return parts


def crosscheck_parts(check: CrossCheck) -> list[RenderableType]:
    """The verdict in a line, each disagreement in a row, and what a third tool says."""
    from rich.text import Text

    also = f"; {len(check.traced_only)} traced only" if check.traced_only else ""
    parts: list[RenderableType] = []
    if check.ok:
        agree = "all agree to the last integer"
        verdict = f"cross-check: {check.checked} layers derived twice, {agree}{also}"
        parts.append(Text.assemble(("✓ ", "green"), verdict))
    else:
        wrong = len({c.name for c in check.mismatches})
        verdict = f"cross-check: {wrong} of {check.checked} layers disagree{also}"
        found = check.mismatches
        columns = [
            grid.Column("type", [c.type for c in found], right=False),
            grid.Column("quantity", [units.name(c.quantity) for c in found], right=False),
            grid.Column("closed form", [_both(c.closed_form) for c in found]),
            grid.Column("traced", [_both(c.traced) for c in found]),
        ]
        table, _ = grid.table("layer", [Text(c.name) for c in found], columns, WIDE, keep_all=True)
        parts += [Text.assemble(("✗ ", "red"), verdict), table]
    return parts + _third_parts(check)


def closed_form_parts(check: ClosedFormCheck | None) -> list[RenderableType]:
    """The verdict on a whole network in closed form, each difference in a row; nothing where there is no such form."""
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
        grid.Column("closed form", [_both(d.closed_form) for d in found]),
        grid.Column("traced", [_both(d.traced) for d in found]),
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
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        parts.append(Text(f"    {why}: {shown}", style="dim"))
    return parts


def _by_reason(other: dict[str, Any]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name, opinion in other.items():
        reasons.setdefault(opinion.short, []).append(name)
    return reasons


def _both(value: Any) -> str:
    if isinstance(value, tuple):
        return units.shape(value)
    return units.grouped(value) if isinstance(value, int) else str(value)


# -- the table of layers -------------------------------------------------------------------------------------------


def _fitting_depth(root: Node) -> int:
    levels = [level for level, _ in root.walk()]
    fitting = [d for d in range(1, root.depth + 1) if sum(level <= d for level in levels) <= ROWS]
    return max(fitting, default=1)


def _guided(root: Node, deepest: int) -> list[tuple[str, Node]]:
    """Nodes with the lines that lead to them, as a directory tree is drawn."""
    rows: list[tuple[str, Node]] = [("", root)]

    def descend(node: Node, lead: str, level: int) -> None:
        if level >= deepest:
            return
        for i, child in enumerate(node.children):
            last = i == len(node.children) - 1
            rows.append((lead + ("└─ " if last else "├─ "), child))
            descend(child, lead + ("   " if last else "│  "), level + 1)

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
    for lead, node in rows:
        name = node.name or node.label if full_names else node.label
        labels.append(Text.assemble((lead, "dim"), (name, "bold" if node.children else "")))
    least = max(label.cell_len for label in labels) if full_names else 16

    def lay(names: Sequence[str]) -> tuple[Table, list[str]]:
        columns = [_column(name, nodes, root, share_of, both="type" in names) for name in names]
        return grid.table("layer", labels, columns, width, keep_all=keep_all, least=least)

    table, dropped = lay(chosen)
    if TITLES["type"] in dropped:  # then an inner node's type stands in the column of kinds
        table, dropped = lay([name for name in chosen if name != "type"])
        dropped.insert(0, "type")
    return table, dropped


def _column(name: str, nodes: Sequence[Node], root: Node, share_of: str, *, both: bool) -> grid.Column:
    keep = 99 if name == share_of else _KEEP[name]
    words: dict[str, Callable[[Node], str]] = {
        "type": lambda node: node.type,
        "kind": lambda node: node.kind if both else node.kind or node.type,
        "output_shape": lambda node: "" if node.output_shape is None else units.shape(node.output_shape),
    }
    if name in words:
        return grid.Column(TITLES[name], [words[name](node) for node in nodes], keep, right=False, style="dim")
    if name == "share":
        whole = root.figures[share_of]
        shares = [f"{grid.bar(n.figures[share_of], whole)} {units.share(n.figures[share_of], whole):>6}" for n in nodes]
        return grid.Column(f"share of {units.name(share_of)}", shares, keep, right=False, style="cyan")
    cells = [units.cell(name, node.figures[name], exact=node.known or name == "params") for node in nodes]
    return grid.numbers(TITLES[name], cells, keep)


# -- several models ------------------------------------------------------------------------------------------------


def comparison_parts(c: Comparison, width: int = WIDE) -> list[RenderableType]:
    """One row per model: its totals, their ratios to the baseline, and whether the two wings agree."""
    from rich.text import Text

    models = list(c.profiles.items())
    columns = []
    for name in ("params", "macs", "flops", "memory_access", "memory_access_bytes", "activations"):
        exact = [p.is_exact or name == "params" for _, p in models]
        cells = [units.cell(name, getattr(p, name), exact=e) for (_, p), e in zip(models, exact, strict=True)]
        columns.append(grid.numbers(TITLES[name], cells, _KEEP[name]))
        if c.baseline is not None and name in ("params", "macs", "memory_access"):
            keep = 5 if name == "memory_access" else 8
            head = f"{TITLES[name].split(chr(10))[0]}\nratio"
            columns.append(grid.numbers(head, [units.ratio(value) for value in c.table[f"{name}_ratio"]], keep))
    checks = [p.crosscheck() for _, p in models]
    columns.append(grid.Column("cross-check", ["agrees" if check.ok else "DIFFERS" for check in checks], 7))
    longest = max(len(name) for name, _ in models)
    labels = [Text(name, style="bold") for name, _ in models]
    table, dropped = grid.table("model", labels, columns, width, least=min(longest, 40))
    remarks = ([f"ratios are to {c.baseline}"] if c.baseline is not None else []) + grid.left_out(dropped)
    parts: list[RenderableType] = [table, *([grid.dim(remarks)] if remarks else [])]
    for (name, p), check in zip(models, checks, strict=True):
        if not (check.ok and p.is_exact):
            parts += ["", Text(name, style="bold"), *verdict_parts(p, check)]
    return parts
