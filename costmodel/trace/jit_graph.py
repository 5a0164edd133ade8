"""Reads a forward while torch's tracer records it: for counters that read the graph which ``torch.jit.trace`` makes.

The tracer stands above autograd and the recorder below it, so an op passes both. In the graph, what the forward does
with sizes is ops, too, and what the output does not depend on is left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from costmodel.graph import TensorSpec, tensors_in
from costmodel.reading import Reading, ReadOp
from costmodel.torch_private import OpOverload, at_dispatch_entry, run_composite
from costmodel.torch_private.jit_tracer import JitGraph, argument_of_node, schema_of_node
from costmodel.trace import Execution, Mode, trace
from costmodel.trace.executor import Executor, leaves
from costmodel.trace.isolation import one_at_a_time
from costmodel.trace.reading import Reader, ReadingRecorder, modules_of
from costmodel.trace.specs import DTYPE_NAME
from costmodel.trace.target import target_of
from costmodel.trace.tensor_table import TensorTable

_TAKEN_APART = frozenset({
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell",
})  # fmt: skip
"""Ops of which the tracer records what they are made of."""

_FLAGS = False, False, False, False
"""Arguments of ``_convolution``, of which the tracer makes a node, that ``convolution`` does not have."""


class JitRecorder(ReadingRecorder):
    """Notes each op, and whether it is in the graph."""

    def __init__(self, table: TensorTable, executor: Executor, found: list[ReadOp], model: nn.Module) -> None:
        super().__init__(table, executor, found)
        self._found = found
        self._graph = JitGraph()
        self._nodes: dict[Any, ReadOp] = {}
        """Each node of an op, with the op; one that autograd took apart has no name before the forward has returned."""
        self.kept: list[ReadOp] = []
        """The ops that are in the graph, once the forward has returned."""
        self._state = model.state_dict(keep_vars=True)
        setattr(table, "spec", self._unrecorded(table.spec))  # noqa: B010  # while recorded, sizes are tensors

    def _unrecorded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            with self._graph.paused():
                return function(*args)

        return call

    def begin(self) -> None:
        """Has torch's tracer record the forward."""
        self._graph.start()

    def end(self, error: BaseException | None) -> None:
        """Stops the tracer."""
        if error is None:
            self._graph.stop()
        else:
            self._graph.stop_after_error()

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if not isinstance(func, OpOverload) or self._in_op:
            return super().__torch_dispatch__(func, types, args, kwargs)
        base = str(func).split(".")[1]
        if base in _TAKEN_APART:
            with at_dispatch_entry(), self:
                return run_composite(func, args, kwargs or {})
        if base == "convolution":
            with at_dispatch_entry(), self:
                return torch.ops.aten._convolution.default(*args, *_FLAGS, **(kwargs or {}))
        if base == "_convolution":
            func, args = torch.ops.aten.convolution.default, args[: -len(_FLAGS)]
        node = self._graph.current()
        with self._graph.paused():
            result = super().__torch_dispatch__(func, types, args, kwargs)
        if result is not NotImplemented and node.kind().startswith("aten::"):
            self._note_node(node, self._found[-1])
        return result

    def _note_node(self, node: Any, op: ReadOp) -> None:
        """Notes the node that is there when an op arrives: its own, or that of an op which autograd took apart."""
        known = self._nodes.get(node)
        if known is not None:
            if not known.name:
                known.end = max(known.end, op.end)
                known.inside.append(op)
        elif node.kind() in (f"aten::{op.base}", f"aten::_{op.base}"):
            self._nodes[node] = op
        else:
            self._nodes[node] = ReadOp("", {}, (), op.first, op.end, op.call, inside=[op])

    def given(self, inputs: Any) -> None:
        """Takes the inputs and the model's tensors for inputs of the graph."""
        for tensor in leaves((inputs, dict(self._state))):
            self._graph.add_input(tensor)

    def returned(self, output: Any) -> None:
        """Eliminates what the output does not depend on."""
        for node, op in self._nodes.items():
            if not op.name:
                schema = schema_of_node(node)
                op.name = f"aten.{schema.name.partition('::')[2]}.{schema.overload_name or 'default'}"
                values = [argument_of_node(value, _spec) for value in node.inputs()]
                op.args = {argument.name: value for argument, value in zip(schema.arguments, values, strict=True)}
                op.outputs = tuple(tensors_in([argument_of_node(value, _spec) for value in node.outputs()]))
        ops = list(self._nodes.values())
        self.kept = [ops[index] for index in self._graph.reached(self._nodes, list(leaves(output)))]


def _spec(shape: tuple[int, ...], dtype: torch.dtype) -> TensorSpec:
    return TensorSpec(shape, DTYPE_NAME[dtype])


@one_at_a_time()
def read_graph(
    model: nn.Module | Callable[..., Any], inputs: Any, *, mode: Mode, execution: Execution = "auto", dtype: Any = None
) -> Reading:
    """Traces one forward, which torch's tracer records, too. Raises what ``trace`` raises, also where the tracer fails.

    What the model asks ``torch.jit.is_tracing()`` for, it does as under ``torch.jit.trace``.
    """
    module = target_of(model).module
    reader = Reader(lambda table, executor, found: JitRecorder(table, executor, found, module))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about values that it takes for constants
        graph = trace(model, inputs, mode=mode, execution=execution, dtype=dtype, recorder=reader.recorder_of)
    assert isinstance(reader.recorder, JitRecorder)
    return Reading(graph, tuple(reader.ops), modules_of(module), (), tuple(reader.recorder.kept))
