"""Autograd's graph, walked from where a backward pass starts: the tensors at which a gradient arrives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch.autograd.function import BackwardCFunction

from costmodel.torch_private.autograd import GRADIENT_OF_LEAF, base_of, sequence_of
from costmodel.trace.executor import leaves

Edge: TypeAlias = tuple[Any, int]
"""A tensor in autograd's graph: the node that made it, and which of the node's outputs it is."""
Place: TypeAlias = tuple[int, int]
"""An edge with the node's sequence number in the place of the node."""
Places: TypeAlias = tuple[Place | None, Place | None]
"""That of a tensor and, where it is a view, that of the tensor which it is a view of.

Where it is written over, autograd's graph goes on from what it is a view of."""

_WRITTEN_OVER = "CopySlices"
"""How the node's name ends of a tensor of which a part has been written over: its first edge is that as it was."""


class AutogradGraph:
    """The nodes that a backward pass runs."""

    def __init__(self, roots: Sequence[Edge]) -> None:
        self.roots = roots
        self.edges: dict[Any, tuple[Edge, ...]] = {}
        """By node, the tensors that it gives gradients to, in order; a node of ``None`` needs none."""
        waiting = [node for node, _ in roots]
        while waiting:
            node = waiting.pop()
            if node not in self.edges:
                following = self.edges[node] = node.next_functions
                waiting += [n for n, _ in following if n is not None]

    def feeding_sums(self) -> list[Any]:
        """The nodes that give one of several gradients which are added up."""
        feeding: dict[Edge, list[Any]] = {}
        for node, following in self.edges.items():
            for edge in following:
                if edge[0] is not None:
                    feeding.setdefault(edge, []).append(node)
        found = [node for nodes in feeding.values() if len(nodes) > 1 for node in nodes]
        return list(dict.fromkeys(found))


class Arrivals:
    """At which of the tensors that layers return a gradient arrives.

    It holds numbers alone: a node would keep alive what a real run frees, where no loss uses it.
    """

    def __init__(self) -> None:
        self._roots: list[Place] = []
        self._edges: dict[int, tuple[Place | None, ...]] = {}
        self._withheld: set[tuple[int, int]] = set()
        """By number of the node of a user's function, the inputs for which its backward pass returned ``None``."""
        self._arrived: set[Place] = set()
        self._overwritten: set[Place] = set()

    def follow(self, graph: AutogradGraph) -> None:
        """A backward pass is about to run."""
        numbers = {node: sequence_of(node) for node in graph.edges}

        def place(edge: Edge) -> Place | None:
            number = numbers.get(edge[0], GRADIENT_OF_LEAF)
            return None if number == GRADIENT_OF_LEAF else (number, edge[1])

        self._roots += filter(None, map(place, graph.roots))
        for node, following in graph.edges.items():
            if not following:
                continue
            places = self._edges[numbers[node]] = tuple(map(place, following))
            if isinstance(node, BackwardCFunction):
                node.register_hook(partial(self._note_withheld, numbers[node]))
            elif places[0] is not None and node.name().endswith(_WRITTEN_OVER):
                self._overwritten.add(places[0])

    def _note_withheld(self, number: int, gradients: Sequence[Any], _: Any) -> None:
        self._withheld.update((number, i) for i, gradient in enumerate(gradients) if gradient is None)

    def resolve(self) -> None:
        """Finds where gradients have arrived, when all backward passes have run."""
        waiting, seen = self._roots, set[int]()
        while waiting:
            place = waiting.pop()
            self._arrived.add(place)
            number = place[0]
            if number not in seen:
                seen.add(number)
                given = enumerate(self._edges.get(number, ()))
                waiting += [p for i, p in given if p is not None and (number, i) not in self._withheld]
        self._overwritten &= self._arrived
        self._edges.clear()

    def at(self, output: Iterable[Places]) -> tuple[bool, ...]:
        """Whether a gradient has arrived at each of the tensors that a layer returned."""
        return tuple(own in self._arrived or within in self._overwritten for own, within in output)


def places_of(output: Any) -> tuple[Places, ...]:
    """The places of the tensors that a layer has just returned."""
    return tuple((_place_of(tensor), _place_of(base_of(tensor))) for tensor in leaves(output))


def _place_of(tensor: torch.Tensor | None) -> Place | None:
    if tensor is None or tensor.grad_fn is None:
        return None
    return sequence_of(tensor.grad_fn), tensor.output_nr
