"""Results as tables for a terminal. Plain text, or rich's renderables where a console shall colour them."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

from costmodel.errors import InputError
from costmodel.graph import TensorSpec
from costmodel.views import units
from costmodel.views.tree import ADDITIVE, Node, tree

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from costmodel.compare import Comparison
    from costmodel.crosscheck import CrossCheck
    from costmodel.profile import Profile

ROWS = 40
"""As many rows as a table shows where nobody asked for a depth."""

BAR = 8
"""Characters of a full bar."""

GAP = 3
"""Characters between columns."""

HARD = "\N{NO-BREAK SPACE}"
"""What pads a number on its right while a table is laid out; plain text has ordinary spaces in its place."""

WIDE = 10_000
"""The width of what is no terminal: nothing is cut."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of layers."""

    title: str
    cell: Callable[[Node], str]
    keep: int
    """Where the width does not suffice, columns with the least go first."""
    right: bool = True


def _figure(name: str, title: str, keep: int) -> Column:
    return Column(title, lambda node: units.cell(name, node.figures[name], exact=node.known or name == "params"), keep)


COLUMNS = {
    "type": Column("type", lambda node: node.type, 3, right=False),
    "kind": Column("kind", lambda node: node.kind or node.type, 7, right=False),
    "output_shape": Column(
        "output", lambda node: "" if node.output_shape is None else units.shape(node.output_shape), 5, right=False
    ),
    "params": _figure("params", "params", 9),
    "macs": _figure("macs", "MACs", 10),
    "share": Column("share", lambda _: "", 8, right=False),
    "flops": _figure("flops", "FLOPs", 4),
    "memory_access": _figure("memory_access", "mem. access\n(elements)", 6),
    "memory_access_bytes": _figure("memory_access_bytes", "mem. access\n(bytes)", 1),
    "activations": _figure("activations", "activations\n(elements)", 2),
}
"""Every column of the table of layers, by the name that ``--columns`` takes."""

DEFAULT_COLUMNS = ("type", "kind", "output_shape", "params", "macs", "share", "flops", "memory_access")


def profile(p: Profile, width: int | None = None) -> str:
    """A profile as plain text, as wide as the terminal (or 120 characters)."""
    return plain(profile_parts(p, width=_width(width)), _width(width))


def crosscheck(check: CrossCheck, width: int | None = None) -> str:
    """The verdict of a cross-check, and every disagreement, as plain text."""
    return plain(crosscheck_parts(check), _width(width))


def comparison(c: Comparison, width: int | None = None) -> str:
    """A comparison as plain text."""
    return plain(comparison_parts(c, _width(width)), _width(width))


def plain(parts: Sequence[RenderableType], width: int) -> str:
    """What a console without colours would show."""
    from rich.console import Console

    console = Console(file=StringIO(), width=width, color_system=None, highlight=False, markup=False, emoji=False)
    for part in parts:
        console.print(part)
    file = console.file
    assert isinstance(file, StringIO)
    text = file.getvalue().replace(HARD, " ").rstrip()
    return "\n".join(line.rstrip() for line in text.split("\n"))


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
        depth: levels of the tree to show; as many as fit into 40 rows where it is not given.
        sort: a quantity; the layers are then listed flat, the greatest first.
        top: how many layers to list; implies sorting by MACs where no ``sort`` is given.
        columns: names of ``COLUMNS``; then none is left out, whatever the width.
        full_names: qualified names and full types, never cut.
        width: of the console.

    Raises ``InputError`` for a column or quantity that there is not.
    """
    chosen = _chosen(columns, sort)
    root = tree(p)
    share_of = sort or "macs"
    flat = sort is not None or top is not None
    if flat:
        listed = sorted(root.leaves(), key=lambda node: -node.figures[share_of])
        rows = [("", node) for node in listed[:top]]
        left_out = (
            f"{len(listed) - len(rows)} more layers; --top {len(listed)} shows them"
            if top and len(listed) > len(rows)
            else ""
        )
    else:
        deepest = depth if depth is not None else _fitting_depth(root)
        rows = _guided(root, deepest)
        hidden = root.depth - deepest
        left_out = f"depth {deepest} of {root.depth}; --depth {root.depth} shows every layer" if hidden > 0 else ""
    table, dropped = _layer_table(
        rows, root, chosen, share_of, width=width, may_drop=columns is None, full_names=full_names or flat
    )
    notes = [left_out] if left_out else []
    if dropped:
        notes.append(f"columns left out at this width: {', '.join(dropped)}")
    return [_head(p), table, *([_dim("\n".join(notes) + "\n")] if notes else []), *verdict_parts(p, p.crosscheck())]


def _chosen(columns: Sequence[str] | None, sort: str | None) -> list[str]:
    for name in columns or ():
        if name not in COLUMNS:
            raise InputError(f"there is no column {name!r}; there are {', '.join(COLUMNS)}")
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
    title = Text.assemble((p.name, "bold"), "  ", (f"input {inputs or 'none'}  {p.mode} mode", "dim"))
    table = Table(title=title, title_justify="left", title_style="", box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    shown = ("params", "macs", "flops", "memory_access", "activations")
    exact = [p.is_exact or name == "params" for name in shown]
    rounded = align([units.cell(name, getattr(p, name), exact=e) for name, e in zip(shown, exact, strict=True)])
    for name, short, e in zip(shown, rounded, exact, strict=True):
        remark = f"{'' if e else '≥ '}{units.grouped(getattr(p, name))}"
        if name in ("memory_access", "activations"):
            remark += " elements"
        if name == "memory_access":
            remark += f", {units.figure('memory_access_bytes', p.memory_access_bytes, exact=e)}"
        if name == "macs" and p.macs_on_padding:
            remark += f", {units.share(p.macs_on_padding, p.macs)} of them on zero padding"
        table.add_row(units.name(name), short, remark)
    return table


def _input(t: TensorSpec) -> str:
    return f"{units.shape(t.shape)} {t.dtype}"


def verdict_parts(p: Profile, check: CrossCheck) -> list[RenderableType]:
    """Whether the figures are to be trusted: coverage, cross-check, and how the model was read."""
    from rich.text import Text

    coverage = p.coverage
    if p.is_exact:
        kinds = len(coverage.counted) + len(coverage.free)
        covered = Text.assemble(("✓ ", "green"), f"coverage: all {kinds} operations that ran have a rule")
    else:
        covered = Text.assemble(("! ", "yellow"), "coverage: totals are lower bounds (≥), for these have no rule:")
        for op, where in coverage.unknown.items():
            covered.append(f"\n    {op} in {', '.join(name or 'the model itself' for name in where[:3])}")
            covered.append(f" and {len(where) - 3} more" if len(where) > 3 else "")
        covered.append("\n  add one with costmodel.register_op")
    parts: list[RenderableType] = [covered, *crosscheck_parts(check)]
    if p.execution == "real":
        parts.append(Text.assemble(("! ", "yellow"), f"run with real tensors: {p.graph.reason}"))
    return parts


def crosscheck_parts(check: CrossCheck) -> list[RenderableType]:
    """The verdict in a line, and each disagreement in a row."""
    from rich.table import Table
    from rich.text import Text

    also = f"; {len(check.traced_only)} traced only" if check.traced_only else ""
    if check.ok:
        verdict = f"cross-check: {check.checked} layers derived twice, all agree to the last integer{also}"
        return [Text.assemble(("✓ ", "green"), verdict)]
    wrong = len({c.name for c in check.mismatches})
    verdict = f"cross-check: {wrong} of {check.checked} layers disagree{also}"
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("layer", "type", "quantity", "closed form", "traced"):
        table.add_column(title, justify="right" if title in ("closed form", "traced") else "left")
    for c in check.mismatches:
        table.add_row(c.name, c.type, units.name(c.quantity), _both(c.closed_form), _both(c.traced))
    return [Text.assemble(("✗ ", "red"), verdict), table]


def _both(value: Any) -> str:
    return units.shape(value) if isinstance(value, tuple) else units.grouped(value)


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
    may_drop: bool,
    full_names: bool,
) -> tuple[Table, list[str]]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    texts = {
        name: [_share(node, root, share_of) if name == "share" else COLUMNS[name].cell(node) for _, node in rows]
        for name in chosen
    }
    for name in chosen:
        if COLUMNS[name].right:
            texts[name] = align(texts[name])
    titles = {name: f"share of {units.name(share_of)}" if name == "share" else COLUMNS[name].title for name in chosen}
    labels = [lead + (node.name or node.label if full_names else node.label) for lead, node in rows]
    needed = {name: max(len(t) for t in (*texts[name], *titles[name].split("\n"))) for name in chosen}
    longest = max(len(label) for label in (*labels, "layer"))
    name_width = longest if full_names else min(longest, max(16, width // 3))
    kept: set[str] = set()
    room = width - name_width
    for name in sorted(chosen, key=lambda name: -(99 if name == share_of else COLUMNS[name].keep)):
        if not may_drop or needed[name] + GAP <= room:
            kept.add(name)
            room -= needed[name] + GAP
    dropped = [name for name in chosen if name not in kept]
    chosen = [name for name in chosen if name in kept]
    if "type" in kept and "kind" in kept:  # an inner node's type is said already
        texts["kind"] = [node.kind for _, node in rows]

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), header_style="bold", show_edge=False, pad_edge=False)
    table.add_column(
        "layer", no_wrap=True, overflow="fold" if full_names else "ellipsis", vertical="bottom",
        max_width=min(longest, name_width + max(room, 0)),
    )  # fmt: skip
    for name in chosen:
        table.add_column(
            titles[name], justify="right" if COLUMNS[name].right else "left", no_wrap=True, vertical="bottom",
            min_width=needed[name] if may_drop else None,
        )  # fmt: skip
    for i, (lead, node) in enumerate(rows):
        label = Text.assemble((lead, "dim"), (labels[i].removeprefix(lead), "bold" if node.children else ""))
        table.add_row(label, *(Text(texts[c][i], style=_style(c, texts[c][i])) for c in chosen))
    return table, dropped


def _style(column: str, text: str) -> str:
    if column == "share":
        return "cyan"
    return "dim" if text.strip() == "0" or column in ("type", "kind", "output_shape") else ""


def _share(node: Node, root: Node, quantity: str) -> str:
    part, whole = node.figures[quantity], root.figures[quantity]
    return f"{bar(part, whole)} {units.share(part, whole):>6}"


def bar(part: int, whole: int, width: int = BAR) -> str:
    """A bar of block characters, exact to an eighth of one.

    >>> bar(1, 2, width=4), bar(3, 16, width=4), bar(0, 1, width=4)
    ('██  ', '▊   ', '    ')
    """
    eighths = round(8 * width * part / whole) if whole else 0
    full, rest = divmod(eighths, 8)
    return ("█" * full + " ▏▎▍▌▋▊▉"[rest].strip()).ljust(width)


def align(texts: Sequence[str]) -> list[str]:
    """Numbers of mixed prefixes, padded so that their decimal points stand below each other when flush right.

    The padding does not break, or a table would strip it.

    >>> [text.replace(HARD, "_") for text in align(["1.23 G", "64", "70.0 k"])]
    ['1.23 G', '64_____', '70.0 k_']
    """
    behind = [len(text) - _whole_part(text) for text in texts]
    return [text + HARD * (max(behind, default=0) - b) for text, b in zip(texts, behind, strict=True)]


def _whole_part(text: str) -> int:
    match = re.match(r"\D*[\d,]*", text)
    return 0 if match is None else match.end()


def _dim(text: str) -> RenderableType:
    from rich.text import Text

    return Text(text, style="dim")


# -- several models ------------------------------------------------------------------------------------------------


def comparison_parts(c: Comparison, width: int = WIDE) -> list[RenderableType]:
    """One row per model: its totals, their ratios to the baseline, and whether the two wings agree."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    models = list(c.profiles.items())
    columns: list[tuple[str, list[str], int]] = []
    for name, keep in (
        ("params", 9), ("macs", 10), ("flops", 6), ("memory_access", 7), ("memory_access_bytes", 1), ("activations", 3),
    ):  # fmt: skip
        exact = [p.is_exact or name == "params" for _, p in models]
        texts = [units.cell(name, getattr(p, name), exact=e) for (_, p), e in zip(models, exact, strict=True)]
        columns.append((COLUMNS[name].title, align(texts), keep))
        if c.baseline is not None and name in ("params", "macs", "memory_access"):
            ratios = [units.ratio(value) for value in c.table[f"{name}_ratio"]]
            columns.append((f"{COLUMNS[name].title.split(chr(10))[0]}\nratio", align(ratios), keep - 4))
    checks = [p.crosscheck() for _, p in models]
    columns.append(("cross-check", ["agrees" if check.ok else "DIFFERS" for check in checks], 8))

    needed = [max(map(len, (*texts, *title.split("\n")))) + GAP for title, texts, _ in columns]
    room = width - max(len(name) for name in ("model", *c.profiles))
    kept = []
    for i in sorted(range(len(columns)), key=lambda i: -columns[i][2]):
        if needed[i] <= room:
            kept.append(i)
            room -= needed[i]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), header_style="bold", show_edge=False, pad_edge=False)
    table.add_column("model", vertical="bottom", overflow="fold")
    for i in sorted(kept):
        table.add_column(columns[i][0], justify="right", no_wrap=True, vertical="bottom")
    for row, (name, _) in enumerate(models):
        table.add_row(Text(name, style="bold"), *(columns[i][1][row] for i in sorted(kept)))
    parts: list[RenderableType] = [table]
    notes = []
    if c.baseline is not None:
        notes.append(f"ratios are to {c.baseline}")
    dropped = [columns[i][0].replace("\n", " ") for i in range(len(columns)) if i not in kept]
    if dropped:
        notes.append(f"columns left out at this width: {', '.join(dropped)}")
    if notes:
        parts.append(_dim("\n".join(notes)))
    for (name, _), check in zip(models, checks, strict=True):
        if not check.ok:
            parts += [Text(f"\n{name}", style="bold"), *crosscheck_parts(check)]
    for name, p in models:
        if not p.is_exact:
            parts.append(Text.assemble(("! ", "yellow"), f"{name}: no rule for {', '.join(p.coverage.unknown)}"))
    return parts
