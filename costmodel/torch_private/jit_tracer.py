"""Private names of the tracer behind ``torch.jit.trace``, wrapped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

NUMBERED = "costmodel_"
"""How the names of values begin whose nodes are looked for; torch adds a point and a number to make them distinct."""


_set_tracer: Callable[[Any], None] = getattr(torch._C, "_set_tracing_state")  # noqa: B009  # no stub has it; 2.6, 2.13, 2.15
_value_of: Callable[[torch.Tensor], Any] = getattr(torch._C, "_get_value_trace")  # noqa: B009  # likewise; 2.6, 2.13, 2.15
_set_value: Callable[[torch.Tensor, Any], None] = getattr(torch._C, "_set_value_trace")  # noqa: B009  # likewise; 2.6, 2.13, 2.15


def _tracer_may_be_set() -> Any:
    """A context in which the tracer can be turned on and off: not so where its dispatch key is excluded."""
    return torch._C._SetExcludeDispatchKeyGuard(torch._C._dispatch_key_parse("Tracer"), False)  # 2.6, 2.13, 2.15


class JitGraph:
    """The graph that ``torch.jit.trace`` makes of the ops that run between ``start`` and ``stop``."""

    def __init__(self) -> None:
        states: list[Any] = []

        def keep_state(x: torch.Tensor) -> torch.Tensor:
            states.append(torch._C._get_tracing_state())  # 2.6, 2.13, 2.15
            return x

        torch._C._create_graph_by_tracing(keep_state, (torch.zeros(()),), lambda _: "", True, False)  # 2.6, 2.13, 2.15
        self.state = states[0]
        self.graph = self.state.graph()
        self.graph.eraseOutput(0)

    def start(self) -> None:
        """From here on ops of this thread are recorded."""
        _set_tracer(self.state)

    def stop(self) -> None:
        """Until here."""
        _set_tracer(None)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A context in which nothing is recorded, also inside of a dispatch mode."""
        if torch._C._get_tracing_state() is None:  # 2.6, 2.13, 2.15
            yield
            return
        with _tracer_may_be_set():
            self.stop()
        try:
            yield
        finally:
            with _tracer_may_be_set():
                self.start()

    def stop_after_error(self) -> None:
        """Until here, where the tracer may have failed: it would fail on the next list of sizes by the same name.

        A list whose elements are traced waits, by the name of its argument, for the op that takes it; an op that takes
        a list of plain numbers removes it.
        """
        x = torch.zeros(1)
        takes = ((x.view, 1), (x.reshape, 1), (x.expand, 1), (x.repeat, 1), (x.new_empty, 1), (x.split, 1))
        for take, number in (*takes, (x.permute, 0), (x.flip, 0), (x.sum, 0)):
            with suppress(RuntimeError):  # values of another graph, or of an op that was not recorded whole
                take([number])
        self.stop()

    def add_input(self, tensor: torch.Tensor) -> None:
        """Takes a tensor for an input of the graph: one that requires a gradient cannot be a constant of it."""
        value = self.graph.addInput()
        value.inferTypeFrom(tensor)
        self.start()
        _set_value(tensor, value)
        self.stop()

    def current(self) -> Any:
        """The node of the op that is recorded now."""
        return self.graph.return_node().prev()

    def reached(self, nodes: Iterable[Any], outputs: Iterable[torch.Tensor]) -> list[int]:
        """Which of these nodes are left, by index, where torch eliminates what none of these tensors depends on."""
        for number, node in enumerate(nodes):
            for value in node.outputs():
                value.setDebugName(f"{NUMBERED}{number}")  # which stays where a node is replaced
        self.start()
        for tensor in outputs:
            self.graph.registerOutput(_value_of(tensor))
        self.stop()
        # The one pass of all releases that ends in the elimination which the tracer does: it knows what ops write to.
        torch._C._jit_pass_canonicalize_graph_fuser_ops(self.graph)  # 2.6, 2.13, 2.15
        names = (value.debugName() for node in self.graph.nodes() for value in node.outputs())
        found = (name.removeprefix(NUMBERED).partition(".")[0] for name in names if name.startswith(NUMBERED))
        return sorted(set(map(int, found)))


def schema_of_node(node: Any) -> torch._C.FunctionSchema:
    """The schema of a node that is an op's."""
    return torch._C.parse_schema(node.schema())  # 2.6, 2.13, 2.15


def argument_of_node(value: Any, tensor: Callable[[tuple[int, ...], torch.dtype], Any]) -> Any:
    """What a value of the graph is: a number, a flag, a text, ``None``, a list of those, or what ``tensor`` makes.

    A size that is computed from other sizes is ``None``.
    """
    kind = value.type()
    if kind.kind() == "TensorType" and kind.sizes() is not None:
        return tensor(tuple(kind.sizes()), kind.dtype())
    if value.node().kind() == "prim::ListConstruct":
        return [argument_of_node(each, tensor) for each in value.node().inputs()]
    return None if kind.kind() == "TensorType" else value.toIValue()
