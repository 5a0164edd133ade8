"""Repeated blocks are shown once: finds the rows of a table, and the nodes of a tree, that repeat what is before them.

Views for readers fold (text, Markdown, the page); those for programs and papers (CSV, JSON, LaTeX, DataFrames) have one
row per layer.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from costmodel.measures import Number, add, of_layers
from costmodel.views.tree import Node

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

    >>> span("layers.0", "layers.31", 32), span("block_a", "pool", 3), span("add", "add", 4)
    ('layers.0 to 31, × 32', 'block_a to pool, × 3', 'add, × 4')
    """
    stem = re.sub(r"\d+$", "", first)
    short = last.removeprefix(stem) if last.removeprefix(stem).isdigit() else last
    return f"{first}, × {times}" if first == last else f"{first} to {short}, × {times}"


def folded(root: Node) -> Node:
    """A tree whose children that repeat are one node each, with one of the repeated units below it."""
    return _folded(root, {})[0]


def _folded(node: Node, shapes: dict[Hashable, int]) -> tuple[Node, int]:
    """The node, folded; and a number that nodes share which differ in their own names alone."""
    children, keys = [], []
    for child in node.children:
        made, key = _folded(child, shapes)
        children.append(made)
        keys.append(key)
    names = [child.label for child in node.children]
    looks = (
        node.type, node.kind, node.output_shape, node.is_exact, tuple(node.figures.values()),
        tuple(zip(names, keys, strict=True)),
    )  # fmt: skip
    shape = shapes.setdefault(looks, len(shapes))
    return replace(node, children=_repeats_folded(children, keys)), shape


def _repeats_folded(nodes: list[Node], keys: list[int]) -> list[Node]:
    shown = []
    for run in runs(keys):
        members = nodes[run.start : run.stop]
        if run.times == 1:
            shown += members
        elif run.length == 1:
            shown.append(_fold(members, run, replace(members[0], name="", label=f"each of {run.times}", call=1)))
        else:
            unit = members[: run.length]
            each = Node("", f"each of {run.times}", "", figures=_sums(unit), is_level=False)
            each.is_exact = all(node.is_exact for node in unit)
            # Within a unit shorter ones may repeat.
            each.children = _repeats_folded(unit, keys[run.start : run.start + run.length])
            shown.append(_fold(members, run, each))
    return shown


def _fold(members: list[Node], run: Run, each: Node) -> Node:
    modules = [node for node in members if not node.is_op] or members
    first, last = modules[0], modules[-1]
    return replace(
        each, name=span(first.name, last.label, run.times), label=span(first.label, last.label, run.times),
        figures=_sums(members), children=[each], times=run.times, is_level=False,
    )  # fmt: skip


def _sums(nodes: list[Node]) -> dict[str, Number | None]:
    return {m.name: add(node.figures[m.name] or 0 for node in nodes) if m.additive else None for m in of_layers()}
