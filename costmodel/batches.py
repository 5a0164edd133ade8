"""The inputs of a trace with another number of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costmodel.errors import InputError
from costmodel.graph import Graph, TensorSpec, tensors_in
from costmodel.inputs import Call, Input, Value


def batch_of(graph: Graph) -> int | None:
    """The number of samples: the first dimension of the first input; ``None`` where no input has one."""
    return next((t.shape[0] for t in tensors_in((graph.inputs, graph.kwargs)) if t.shape), None)


def with_batch(graph: Graph, batch: int) -> Call:
    """The inputs of a trace, each tensor whose first dimension is the batch with ``batch`` in its place.

    Of an object that was given, such as a dataclass, a trace knows the tensors alone, so they are what is given again.
    Raises ``InputError`` where no input has a batch.
    """
    old = batch_of(graph)
    if old is None:
        raise InputError("no input has a dimension that could be a batch: give inputs with the batch that you want")

    def again(value: Any) -> Any:
        if isinstance(value, TensorSpec):
            shape = (batch, *value.shape[1:]) if value.shape[:1] == (old,) else value.shape
            return Input(shape, value.dtype)
        if isinstance(value, Mapping):
            return {key: again(item) for key, item in value.items()}
        if isinstance(value, (tuple, list)) and next(tensors_in(value), None) is not None:
            return type(value)(again(item) for item in value)
        return Value(value)

    return Call(tuple(again(value) for value in graph.inputs), {name: again(v) for name, v in graph.kwargs.items()})
