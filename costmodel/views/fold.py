"""Repeated blocks are shown once: finds the rows of a table, and the nodes of a tree, that repeat what is before them.

Views for readers fold (text, Markdown, the page); those for programs and papers (CSV, JSON, LaTeX, DataFrames) have one
row per layer.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

from costmodel.measures import Number
from costmodel.records import dataclass
from costmodel.views.tree import Node, sums

LEAST = 3
"""Repetitions from which on folding saves rows: a fold has one for all, and one for each of them."""

LONGEST = 16
"""The most siblings that are looked for as one repeated unit."""


@dataclass(frozen=True, slots=True)
class Run:
    """Items that repeat: ``times`` units of ``length`` items each, from ``start`` on. An item by itself is one unit."""

    start: int
    length: int = 1
    times: int = 1

    @property
    def stop(self) -> int:
        """The index behind the last item."""
        return self.start + self.length * self.times


def runs(keys: Sequence[Hashable]) -> Iterator[Run]:
    """Items, by keys that say which are alike, as runs: each as long as it can be, and then of the shortest unit.

    >>> [(run.length, run.times) for run in runs("stem block block block head".split())]
    [(1, 1), (1, 3), (1, 1)]
    >>> [(run.length, run.times) for run in runs(["conv", "relu"] * 4 + ["pool"])]
    [(2, 4), (1, 1)]
    """
    n = len(keys)
    # For each length of a unit, how many items from each on equal the one a unit later.
    same = {}
    for length in range(1, min(LONGEST, n // LEAST) + 1) if len(set(keys)) < n else ():
        found = same[length] = [0] * (n + 1)
        for i in range(n - length - 1, -1, -1):
            found[i] = found[i + 1] + 1 if keys[i] == keys[i + length] else 0
    at = 0
    while at < n:
        best = Run(at)
        for length, found in same.items():
            times = found[at] // length + 1
            if times >= LEAST and times * length > best.length * best.times:
                best = Run(at, length, times)
        yield best
        at = best.stop


def span(first: str, last: str, times: int) -> str:
    """What a run is called: the names of its first and last part, without what the last repeats of the first.

    >>> span("model.layers.0", "model.layers.31", 32), span("net.block_a", "net.pool", 3), span("add", "add", 4)
    ('model.layers.0 to 31, × 32', 'net.block_a to pool, × 3', 'add, × 4')
    """
    stem = re.sub(r"\d+$", "", first)
    number = last.removeprefix(stem)
    short = number if number.isdigit() else last.removeprefix(first.rpartition(".")[0] + ".")
    return f"{first}, × {times}" if first == last else f"{first} to {short}, × {times}"


def folded(root: Node) -> Node:
    """A tree whose children that repeat are one node each, with one of the repeated units below it."""
    if not root.children:
        return root
    # A whole has no figure of what does not add up.
    return _Folding({name for name, figure in root.figures.items() if figure is not None}).of(root)[0]


def sections(root: Node) -> Iterator[tuple[Node | None, list[Node]]]:
    """A folded tree as flat tables: the layers, with a row for each fold; then each fold with the layers of one of it.

    A fold of single layers has no table of its own: each of them is its row by the number of times.
    """
    yield from _section(None, root)


def _section(fold: Node | None, unit: Node) -> Iterator[tuple[Node | None, list[Node]]]:
    rows = list(_rows(unit))
    yield fold, rows
    for row in rows:
        if row.times > 1 and row.children[0].children:
            yield from _section(row, row.children[0])


def _rows(node: Node) -> Iterator[Node]:
    if not node.children:
        yield node
    for child in node.children:
        if child.times > 1:
            yield child
        else:
            yield from _rows(child)


class _Folding:
    """One pass over a tree, children first."""

    def __init__(self, additive: set[str]) -> None:
        self.additive = additive
        self.looks: dict[Hashable, int] = {}

    def of(self, node: Node) -> tuple[Node, int]:
        """The node, folded; and a number that nodes share which differ in their own names alone."""
        look: tuple[Hashable, ...] = (
            node.type, node.kind, node.output_shape, node.is_exact, tuple(node.figures.values())
        )  # fmt: skip
        if node.children:
            children, keys = zip(*map(self.of, node.children), strict=True)
            look = (*look, *(child.label for child in node.children), *keys)
            node = replace(node, children=self.repeats(list(children), list(keys)))
        return node, self.looks.setdefault(look, len(self.looks))

    def repeats(self, nodes: list[Node], keys: list[int]) -> list[Node]:
        """Nodes beside each other, of which those that repeat are one."""
        shown = []
        for run in runs(keys):
            members = nodes[run.start : run.stop]
            if run.times == 1:
                shown += members
            elif run.length == 1:
                each = replace(members[0], name="", label=f"each of {run.times}", call=1)
                shown.append(self.fold(members, run, each))
            else:
                unit = members[: run.length]
                each = Node("", f"each of {run.times}", "", figures=self.sums(unit), is_level=False)
                each.is_exact = all(node.is_exact for node in unit)
                # Within a unit shorter ones may repeat.
                each.children = self.repeats(unit, keys[run.start : run.start + run.length])
                shown.append(self.fold(members, run, each))
        return shown

    def fold(self, members: list[Node], run: Run, each: Node) -> Node:
        """All that repeat in one, above one of them."""
        modules = [node for node in members if not node.is_op] or members
        first, last = modules[0], modules[-1]
        return replace(
            each, name=span(first.name, last.name, run.times), label=span(first.label, last.label, run.times),
            figures=self.sums(members), children=[each], times=run.times, is_level=False,
        )  # fmt: skip

    def sums(self, nodes: list[Node]) -> dict[str, Number | None]:
        """Figures of all of them together."""
        return sums(nodes, nodes[0].figures, self.additive)
