"""Asks a rule about a real call, once torch has agreed with it on the outputs; and finds out what an op reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch

from costmodel.access import Affine, AxisMap, Fixed, Rolled
from costmodel.graph import OpCall, TensorSpec
from costmodel.ops import RULES, Torch
from costmodel.quantities import Traffic, Work
from tests.ops._binding import RealCall, resolve, spec_of


def record(target: str, /, **arguments: Any) -> OpCall:
    """The record of a real call. Its outputs are torch's; those that the rule tells have to be the same."""
    op = resolve(target)
    assert op is not None
    call = RealCall(op, arguments)
    results = call.copy().run()
    outputs = RULES[target].outputs
    if isinstance(outputs, Torch):
        return call.record(results)
    told = outputs(call.arguments())
    asked_for = (told,) if isinstance(told, TensorSpec) else [spec for spec in told if spec is not None]
    for one, real in zip(asked_for, results, strict=True):
        is_ = spec_of(real)
        assert (one.shape, one.dtype) == (is_.shape, is_.dtype)
        strides = zip(one.full_strides, is_.full_strides, is_.shape, strict=True)
        assert 0 in is_.shape or all(a == b or n == 1 for a, b, n in strides), (one.full_strides, is_.full_strides)
    return call.record(results)


def work(target: str, /, **arguments: Any) -> Work:
    """What the rule counts of a real call."""
    return RULES[target].work(record(target, **arguments))


def traffic(target: str, /, **arguments: Any) -> Traffic:
    """What the rule says a real call moves."""
    return RULES[target].traffic(record(target, **arguments))


def readers(run: Callable[[torch.Tensor], torch.Tensor], length: int) -> list[list[int]]:
    """For each output position of an op along one axis, the input positions that it reads.

    ``run`` takes (n, 1, length) signals; signal i is NaN at position i, and what it makes NaN has read it.
    """
    signals = torch.zeros(length, 1, length, dtype=torch.float64)
    signals[range(length), 0, range(length)] = torch.nan
    poisoned = run(signals).isnan().flatten(1)
    return [poisoned[:, o].nonzero().flatten().tolist() for o in range(poisoned.shape[1])]


def touches(tap: AxisMap, position: int, at: tuple[int, ...]) -> bool:
    """Whether a tap says that the output position ``at`` sees the input's ``position``."""
    if isinstance(tap, Affine):
        low, high = tap.pull(at[tap.dim], at[tap.dim])
        return low <= position <= high
    if isinstance(tap, Rolled):
        return (at[tap.dim] - tap.shift) % tap.length == position
    return tap.index == position if isinstance(tap, Fixed) else True


def positions(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Every position of a tensor."""
    return product(*map(range, shape))
