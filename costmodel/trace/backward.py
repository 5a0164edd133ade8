"""Autograd's engine in the trace of a training step: what runs for which module call, and what is the engine's own.

Between the nodes of a backward pass the engine adds up the gradients of tensors that have several uses, and adds to
``.grad`` what arrives at a leaf. These ops belong to no module.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from inspect import currentframe
from typing import Any

import torch

from costmodel.torch_private.autograd import (
    GRADIENT_OF_LEAF,
    current_node,
    engine_wrapped,
    sequence_number,
    sequence_of,
)
from costmodel.trace.arrivals import Arrivals, AutogradGraph, Edge
from costmodel.trace.events import EventLog
from costmodel.trace.recomputed import Recomputed


class _Run:
    """One backward pass that runs now; another may run inside, for a checkpoint."""

    __slots__ = ("again", "builds_graph", "depths", "finished", "outside")

    def __init__(self, outside: int, again: Recomputed, *, builds_graph: bool) -> None:
        self.outside = outside
        """The module call that it runs in: -1 after the forward."""
        self.again = again
        """The module calls that begin in it: of a recomputed forward."""
        self.builds_graph = builds_graph
        """Whether autograd records it (``create_graph``)."""
        self.finished = -1
        """The sequence number of the last node to feed a sum of gradients that has run."""
        self.depths: dict[int, int] = {}
        """By index of the module calls that begin in it, how many frames Python's stack then had."""


class StepLog(EventLog):
    """The log of a training step: in a backward pass, ``module`` is the call that the node which runs belongs to.

    Autograd numbers its nodes as the forward makes them, so the numbers at which module calls begin and end tell the
    call that a node was made in.
    """

    def __init__(self) -> None:
        self._call = -1
        self._runs: list[_Run] = []
        self._numbers: list[int] = []
        self._calls: list[int] = []
        """The module call in which autograd made the nodes from each of these numbers on."""
        self.recomputed: set[int] = set()
        """Ops of a forward that runs once more in a backward pass."""
        self.accumulations: set[int] = set()
        """Ops of the engine's own."""
        self.original: dict[int, int] = {}
        """The forward's module call, by index of the call that computes it again."""
        self.arrivals = Arrivals()
        self.is_after_forward = False
        """Whether what runs now is the step's backward pass, and not one that the model runs in its forward."""
        super().__init__()

    @property
    def module(self) -> int:
        """Index of the module call that an op which runs now belongs to: -1 where it is none's."""
        if not self._runs or self._is_in_call():
            return self._call
        number = self.running_node()
        if number is None:
            return -1
        made_in = bisect_right(self._numbers, number) - 1
        call = self._calls[made_in] if made_in >= 0 else -1
        if self.is_recomputed() and self._calls[-1] != call:
            self._note(sequence_number() - 1, call)  # whose node autograd has made before the op
        return call

    @module.setter
    def module(self, call: int) -> None:
        run = self._runs[-1] if self._runs else None
        if run is None:
            self._call = call
        elif call < run.again.first:
            self._call = run.outside
        else:
            if call not in run.depths:
                run.depths[call] = _stack_depth()
                run.again.begins(call, is_outermost=self._call == run.outside)
            self._call = call
        self._note(sequence_number(), call)

    def _note(self, number: int, call: int) -> None:
        self._numbers.append(max(number, self._numbers[-1]) if self._numbers else number)
        self._calls.append(call)

    @property
    def is_in_backward(self) -> bool:
        """Whether a backward pass runs."""
        return bool(self._runs)

    def running_node(self) -> int | None:
        """In a backward pass: the sequence number of the node whose op runs now, ``None`` where it is the engine's."""
        node = current_node()
        if node is None:
            return None
        number = sequence_of(node)
        return None if number in (self._runs[-1].finished, GRADIENT_OF_LEAF) else number

    def is_recomputed(self) -> bool:
        """In a backward pass: whether what runs now is a forward, for a checkpoint."""
        return self._is_in_call() or (torch.is_grad_enabled() and not self._runs[-1].builds_graph)

    def _is_in_call(self) -> bool:
        """In a backward pass: whether a module runs that was called in it."""
        run = self._runs[-1]
        if self._call != run.outside and _stack_depth() <= run.depths[self._call]:
            self._call = run.outside  # a checkpoint has stopped it by an exception, which no hook of a module's sees
        return self._call != run.outside

    @contextmanager
    def backward(self, roots: Sequence[Edge], *, builds_graph: bool) -> Iterator[None]:
        """A context in which the engine runs a backward pass from these tensors."""
        outer = self._runs[-1].again if self._runs else None
        if outer is not None:
            outer.resolve()
        run = _Run(self._call, Recomputed(self.call_starts, self.original, outer), builds_graph=builds_graph)
        self._prepare(AutogradGraph(roots), run)
        self._runs.append(run)
        try:
            yield
        finally:
            self._runs.pop()
            self._call = run.outside
            run.again.resolve()

    def _prepare(self, graph: AutogradGraph, run: _Run) -> None:
        for node in graph.feeding_sums():
            node.register_hook(partial(_mark, run, sequence_of(node)))
        if self.is_after_forward:
            self.arrivals.follow(graph)

    def forget_nodes(self) -> None:
        """Lets go of what only a backward pass needs."""
        self.arrivals.resolve()
        self._numbers.clear()
        self._calls.clear()


def _stack_depth() -> int:
    frame, depth = currentframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def _mark(run: _Run, number: int, *_: Any) -> None:
    run.finished = number


class Backward:
    """A context in which every backward pass of this thread is known to the log, whoever starts it."""

    def __init__(self, log: StepLog) -> None:
        self._log = log
        self._engine: AbstractContextManager[None] = engine_wrapped(self._wrap)

    def __enter__(self) -> Backward:
        self._engine.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._engine.__exit__(*error)
        self._log.forget_nodes()

    def _wrap(self, start: Callable[..., Any]) -> Callable[..., Any]:
        def run(
            outputs: Sequence[Any], gradients: Any, keeps_graph: bool, builds_graph: bool, *args: Any, **kwargs: Any
        ) -> Any:
            roots = [edge for edge in map(_edge_of, outputs) if edge[0] is not None]
            with self._log.backward(roots, builds_graph=builds_graph):
                return start(outputs, gradients, keeps_graph, builds_graph, *args, **kwargs)

        return run


def _edge_of(output: Any) -> Edge:
    """Where a backward pass from an output starts, which may be given as an edge of the graph."""
    return (output.grad_fn, output.output_nr) if isinstance(output, torch.Tensor) else (output.node, output.output_nr)
