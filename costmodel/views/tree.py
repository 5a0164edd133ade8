"""A profile's layers as the tree of calls in which they ran: what tables and charts of parts and wholes are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from costmodel.graph import tensors_in

if TYPE_CHECKING:
    from costmodel.pricing import TracedLayer
    from costmodel.profile import Profile

ADDITIVE = ("params", "macs", "flops", "memory_access", "memory_access_bytes", "activations")
"""Quantities of which a whole has the sum of its parts."""


@dataclass(slots=True, eq=False)
class Node:
    """A module call with what ran inside it, or an op that ran outside any leaf."""

    name: str
    """The qualified name; ``module/op`` for an op."""
    label: str
    """The name as seen from the node above."""
    type: str
    kind: str = ""
    """The field's word, for a layer."""
    output_shape: tuple[int, ...] | None = None
    figures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ADDITIVE, 0))
    """The quantities of ``ADDITIVE``, of the whole subtree."""
    known: bool = True
    """Whether every op inside has a rule."""
    children: list[Node] = field(default_factory=list)

    @property
    def depth(self) -> int:
        """Levels below this one."""
        return 1 + max((child.depth for child in self.children), default=-1)

    def walk(self, deepest: int | None = None, level: int = 0) -> Iterator[tuple[int, Node]]:
        """Every node down to a level, with its level, top to bottom."""
        yield level, self
        if deepest is None or level < deepest:
            for child in self.children:
                yield from child.walk(deepest, level + 1)

    def leaves(self) -> Iterator[Node]:
        """The layers below, or the node itself."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


def tree(p: Profile) -> Node:
    """The calls of a profile as a tree; every inner node's figures are the sums over its children."""
    graph = p.graph
    inner: dict[int, Node] = {}
    root = Node(name="", label=p.name, type=graph.model, output_shape=_first_shape(graph.outputs))

    def node_of(index: int) -> Node:
        if index < 0:
            return root
        if index not in inner:
            call = graph.calls[index]
            if call.parent < 0 and not call.name:
                inner[index] = root
            else:
                above = node_of(call.parent)
                node = Node(call.name, _label(call.name, above.name), call.type, "", _first_shape(call.outputs))
                inner[index] = node
                above.children.append(node)
        return inner[index]

    called: dict[str, int] = {}
    for layer in p.pricing.layers:
        above = node_of(layer.module.parent if layer.module is not None else layer.ops[0].call.module)
        leaf = _leaf(layer, above.name)
        if layer.module is not None:
            nth = called[layer.name] = called.get(layer.name, 0) + 1
            leaf.label += f" (call {nth})" if nth > 1 else ""
        above.children.append(leaf)
    _sum(root)
    # Parameters of modules that did not run belong to the model, and to no layer.
    resting = p.params - root.figures["params"]
    if resting:
        figures = {**dict.fromkeys(ADDITIVE, 0), "params": resting}
        root.children.append(Node("(did not run)", "(did not run)", "", "", None, figures))
        root.figures["params"] = p.params
    return root


def _leaf(layer: TracedLayer, above: str) -> Node:
    work, traffic = layer.work, layer.traffic
    figures = {
        "params": sum(p.size for p in layer.new_parameters),
        "macs": work.macs,
        "flops": work.flops,
        "memory_access": traffic.elements,
        "memory_access_bytes": traffic.bytes,
        "activations": sum(op.activations for op in layer.ops),
    }
    if layer.module is not None:
        label = _label(layer.name, above)
    else:
        label = layer.name.rpartition("/")[2]
    shape = _first_shape(layer.outputs)
    return Node(layer.name, label, layer.type, layer.kind, shape, figures, all(op.rule is not None for op in layer.ops))


def _label(name: str, above: str) -> str:
    return name.removeprefix(f"{above}.") if above else name


def _first_shape(value: Any) -> tuple[int, ...] | None:
    first = next(tensors_in(value), None)
    return None if first is None else first.shape


def _sum(node: Node) -> None:
    if not node.children:
        return
    for child in node.children:
        _sum(child)
        node.known = node.known and child.known
        for name in ADDITIVE:
            node.figures[name] += child.figures[name]
