"""The table of a profile's layers for a terminal: the tree of its modules, or layers ranked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from costmodel.arguments import short
from costmodel.errors import InputError
from costmodel.measures import MEASURES, RANKED_BY, Measure, of_layers
from costmodel.views import grid, units
from costmodel.views.fold import folded
from costmodel.views.grid import Table
from costmodel.views.styled import Text
from costmodel.views.tree import Node, tree

if TYPE_CHECKING:
    from costmodel.profiling import Profile

ROWS = 60
"""The most rows that a table has if no depth is asked for."""

_DESCRIPTIVE = {"type": ("type", 3), "kind": ("kind", 7), "output_shape": ("output", 5)}
"""The columns that are not measures, by name: head and priority."""

_SHARE_PRIORITY = 8
_SHARED = RANKED_BY[0]


def column_names() -> list[str]:
    """Every column of the table of layers, by the name that ``--columns`` takes."""
    return [*_DESCRIPTIVE, *_with_share([measure.name for measure in of_layers()])]


def column_head(measure: Measure) -> str:
    """The head of a column of a terminal, its unit in a second line."""
    unit = units.noun(measure.name)
    return f"{measure.short or measure.title}\n({unit})" if unit else measure.short or measure.title


def layers(
    p: Profile,
    *,
    depth: int | None,
    sort: str | None,
    top: int | None,
    columns: Sequence[str] | None,
    full_names: bool,
    fold: bool,
    width: int,
) -> tuple[Table, list[str]]:
    """The table, with the arguments of ``text.profile_parts``; and what it leaves out."""
    units.require_rows(**{name: n for name, n in (("depth", depth), ("top", top)) if n is not None})
    chosen = _chosen(columns, sort)
    root = tree(p)
    remarks = []
    if sort is not None or top is not None:
        listed = sorted(root.leaves(), key=lambda node: -(node.figures[sort or _SHARED] or 0))
        rows = [("", node) for node in listed[:top]]
        if len(listed) > len(rows):
            remarks.append(f"{units.more(len(listed) - len(rows), 'layer')}; --top {len(listed)} shows them")
        full_names = True
    else:
        root = folded(root) if fold else root
        deepest = _fitting_depth(root) if depth is None else depth
        rows = _with_tree_lines(root, deepest)
        if root.depth > deepest:
            remarks.append(f"depth {deepest} of {root.depth}; --depth {root.depth} shows every layer")
        if any(node.times > 1 for _, node in rows):
            remarks.append("layers alike in a row are folded; --unfold shows each")
    table, dropped = _table(
        rows, root, chosen, sort or _SHARED, width=width, keep_all=columns is not None, full_names=full_names
    )
    return table, [*remarks, *grid.left_out(dropped)]


def _with_share(names: Sequence[str]) -> list[str]:
    """Names of measures, with the share behind the one that shares are of by default."""
    return [column for name in names for column in ((name, "share") if name == _SHARED else (name,))]


def _chosen(columns: Sequence[str] | None, sort: str | None) -> list[str]:
    if isinstance(columns, str) or not isinstance(columns, Sequence | None):
        raise InputError(f"columns={short(columns)}: give a list of names; the columns are {', '.join(column_names())}")
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


def _fitting_depth(root: Node) -> int:
    rows = [0] * (root.depth + 1)
    for level, _ in root.walk():
        rows[level] += 1
    fitting = [d for d in range(1, root.depth + 1) if sum(rows[: d + 1]) <= ROWS]
    return max(fitting, default=1)


def _with_tree_lines(root: Node, deepest: int) -> list[tuple[str, Node]]:
    """The nodes with their prefix of tree lines, as in a directory listing."""
    rows: list[tuple[str, Node]] = [("", root)]

    def descend(node: Node, prefix: str, level: int) -> None:
        below = level + node.is_level
        if below > deepest:
            return
        for i, child in enumerate(node.children):
            last = i == len(node.children) - 1
            rows.append((prefix + ("└─ " if last else "├─ "), child))
            descend(child, prefix + ("   " if last else "│  "), below)

    descend(root, "", 0)
    return rows


def _table(
    rows: list[tuple[str, Node]],
    root: Node,
    chosen: list[str],
    share_of: str,
    *,
    width: int,
    keep_all: bool,
    full_names: bool,
) -> tuple[Table, list[str]]:
    nodes = [node for _, node in rows]
    labels = []
    for prefix, node in rows:
        name = node.name or node.title if full_names else node.title
        labels.append(Text.assemble((prefix, "dim"), (name, "bold" if node.children else "")))
    least = max((label.cell_len for label in labels), default=16) if full_names else 16

    @cache
    def column(name: str, with_type: bool) -> grid.Column:
        return _column(name, nodes, root, share_of, with_type=with_type)

    def lay(names: Sequence[str]) -> tuple[Table, list[str]]:
        columns = [column(name, name != "kind" or "type" in names) for name in names]
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
    return grid.numbers(column_head(measure), cells, 99 if name == share_of else measure.priority)
