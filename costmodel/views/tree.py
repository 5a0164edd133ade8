"""A profile's layers as the tree of calls in which they ran: what tables and charts of parts and wholes are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from costmodel.graph import tensors_in
from costmodel.measures import Measure, Number, add, of_layers
from costmodel.records import dataclass

if TYPE_CHECKING:
    from costmodel.pricing import TracedLayer
    from costmodel.profiling import Profile


@dataclass(slots=True, eq=False)
class Node:
    """A module call with what ran inside it, or an op that ran outside any leaf."""

    name: str
    """The qualified name; ``module/op`` for an op."""
    label: str
    """The name as seen from the node above."""
    type: str
    kind: str = ""
    """The category of a layer, one of ``ops.KINDS``."""
    output_shape: tuple[int, ...] | None = None
    figures: dict[str, Number | None] = field(default_factory=dict)
    """Each measure of layers, of the whole subtree; ``None`` where it does not add up."""
    is_exact: bool = True
    """Whether every op inside has a rule."""
    children: list[Node] = field(default_factory=list)
    call: int = 1
    """Which call of its module a layer is."""
    is_op: bool = False
    """Whether it is an op that ran outside any leaf."""
    times: int = 1
    """How often the one child stands for what is here: more than once in a fold alone."""
    is_level: bool = True
    """Whether the children are a level below: not those of a fold, which stand for nodes beside it."""

    @property
    def title(self) -> str:
        """The label, with the number of the call behind it from the second on."""
        return self.label if self.call == 1 else f"{self.label} (call {self.call})"

    @property
    def depth(self) -> int:
        """Levels below this one."""
        return max((child.depth + self.is_level for child in self.children), default=0)

    def walk(self, deepest: int | None = None, level: int = 0) -> Iterator[tuple[int, Node]]:
        """Every node down to a level, with its level, top to bottom."""
        yield level, self
        below = level + self.is_level
        if deepest is None or below <= deepest:
            for child in self.children:
                yield from child.walk(deepest, below)

    def leaves(self) -> Iterator[Node]:
        """The layers below, or the node itself."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


def tree(p: Profile) -> Node:
    """The calls of a profile as a tree; an inner node's figures are the sums over its children."""
    measures = of_layers()
    root = tree_of(p, {m.name: p.figures(m.name) for m in measures}, {m.name for m in measures if m.additive})
    _add_resting(root, p, measures)
    return root


def tree_of(p: Profile, columns: Mapping[str, Sequence[Number]], additive: Collection[str]) -> Node:
    """The calls of a profile as a tree with these figures of its layers, of which some add up."""
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

    calls: dict[str, int] = {}
    for i, layer in enumerate(p.pricing.layers):
        above = node_of(layer.module.parent if layer.module is not None else layer.ops[0].call.module)
        leaf = _leaf(layer, above.name)
        leaf.figures = {name: column[i] for name, column in columns.items()}
        if layer.module is not None:
            leaf.call = calls[layer.name] = calls.get(layer.name, 0) + 1
        above.children.append(leaf)
    _sum(root, columns, additive)
    return root


def _leaf(layer: TracedLayer, above: str) -> Node:
    label = _label(layer.name, above) if layer.module is not None else layer.name.rpartition("/")[2]
    shape, is_op = _first_shape(layer.outputs), layer.module is None
    return Node(layer.name, label, layer.type, layer.kind, shape, is_exact=layer.is_exact, is_op=is_op)


def _add_resting(root: Node, p: Profile, measures: list[Measure]) -> None:
    """Parameters of modules that did not run belong to the model, and to no layer."""
    totals = {m.name: p.total(m.name) for m in measures if m.of_parameter is not None}
    resting = {name: (total or 0) - (root.figures[name] or 0) for name, total in totals.items()}
    if any(resting.values()):
        nothing = {m.name: 0 if m.additive else None for m in measures}
        root.children.append(Node("(did not run)", "(did not run)", "", figures=nothing | resting))
        root.figures |= totals


def _label(name: str, above: str) -> str:
    return name.removeprefix(f"{above}.") if above else name


def _first_shape(value: Any) -> tuple[int, ...] | None:
    first = next(tensors_in(value), None)
    return None if first is None else first.shape


def _sum(node: Node, names: Iterable[str], additive: Collection[str]) -> None:
    for child in node.children:
        _sum(child, names, additive)
        node.is_exact = node.is_exact and child.is_exact
    if node.children or not node.figures:
        node.figures = sums(node.children, names, additive)


def sums(nodes: Sequence[Node], names: Iterable[str], additive: Collection[str]) -> dict[str, Number | None]:
    """Figures of several nodes together."""
    return {name: add(node.figures[name] or 0 for node in nodes) if name in additive else None for name in names}
