"""The examples of rules at a size where no rounding hides a tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch._ops import OpOverload

from costmodel.graph import TensorSpec
from costmodel.ops.rule import Example
from tests.ops._binding import RealCall

LARGE = 200_000
"""Bytes that the largest tensor of a large example has at least."""

Scale = Callable[[Any, int], Any]


def _longer(spec: TensorSpec, times: int) -> TensorSpec:
    return TensorSpec(tuple(n * times for n in spec.shape), spec.dtype)


def _all_dimensions(value: Any, times: int) -> Any:
    """Every dimension of every tensor is longer; dimensions, sizes and strides among the arguments stay."""
    if isinstance(value, TensorSpec):
        return _longer(value, times)
    return type(value)(_all_dimensions(v, times) for v in value) if isinstance(value, (list, tuple)) else value


def _all_but_ones(value: Any, times: int) -> Any:
    """The same, but a dimension of length 1 broadcasts, or is one state: it stays."""
    if isinstance(value, TensorSpec):
        return TensorSpec(tuple(n * times if n > 1 else n for n in value.shape), value.dtype)
    return type(value)(_all_but_ones(v, times) for v in value) if isinstance(value, (list, tuple)) else value


def _with_sizes(value: Any, times: int) -> Any:
    """Lists of numbers, the sizes of something, grow with the tensors."""
    if isinstance(value, (list, tuple)):
        return type(value)(v * times if type(v) is int else _with_sizes(v, times) for v in value)
    return _longer(value, times) if isinstance(value, TensorSpec) else value


def _first_dimension(value: Any, times: int) -> Any:
    """Only the batch grows."""
    if isinstance(value, TensorSpec):
        return TensorSpec((value.shape[0] * times**3, *value.shape[1:]) if value.shape else (), value.dtype)
    return type(value)(_first_dimension(v, times) for v in value) if isinstance(value, (list, tuple)) else value


def _batch_alone(value: Any, times: int) -> Any:
    """Only the batch of tensors that have one grows: weights and boundaries stay."""
    return _first_dimension(value, times) if isinstance(value, TensorSpec) and len(value.shape) > 2 else value


def _numbers(value: Any, times: int) -> Any:
    """What makes a tensor of numbers alone is asked for more."""
    if isinstance(value, list):
        return [_numbers(v, times) for v in value]
    return value * times if type(value) is int else value


def _states(value: Any, times: int) -> Any:
    """Initial states of a recurrent layer: there are not more layers."""
    if isinstance(value, list):
        return [_states(v, times) for v in value]
    layers = value.shape[:1] if len(value.shape) == 3 else ()
    return TensorSpec((*layers, *(n * times for n in value.shape[len(layers) :])), value.dtype)


def _tensors(value: Any) -> Iterator[TensorSpec]:
    if isinstance(value, TensorSpec):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _size(example: Example) -> int:
    return max((t.nbytes for t in _tensors([*example.args, *example.kwargs.values()])), default=0)


def large(op: OpOverload, example: Example, agrees: Callable[[RealCall], bool]) -> Example | None:
    """The example with larger tensors that the op and its rule still take; ``None`` where no scaling gives any."""
    if not _size(example):
        grown = _grown(op, example, _numbers, 300)
        return grown if grown != example and _runs(op, grown, agrees) else None
    for scale in (_all_dimensions, _all_but_ones, _with_sizes, _first_dimension, _batch_alone):
        grown, times = example, 1
        while _size(grown) < LARGE and times < 400:
            times += 1
            grown = _grown(op, example, scale, times)
        if _size(grown) >= LARGE and _runs(op, grown, agrees):
            return grown
    return None


def _grown(op: OpOverload, example: Example, scale: Scale, times: int) -> Example:
    names = (a.name for a in op._schema.arguments)
    args = ((_states if name == "hx" else scale)(v, times) for name, v in zip(names, example.args, strict=False))
    return Example(tuple(args), {name: scale(v, times) for name, v in example.kwargs.items()})


def _runs(op: OpOverload, example: Example, agrees: Callable[[RealCall], bool]) -> bool:
    try:
        call = RealCall.of(op, example)
        call.copy().run()
        return agrees(call)
    except (RuntimeError, IndexError, ValueError):
        return False
