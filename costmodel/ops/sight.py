"""What ops of the common shapes see of their inputs, in the words of ``costmodel.window``."""

from __future__ import annotations

from collections.abc import Callable, Collection

from costmodel.graph import OpCall, TensorSpec
from costmodel.window import Fixed, Follow, Regrouped, Sight, Tap, Whole


def aligned(tensor: TensorSpec, output: TensorSpec) -> tuple[Tap, ...]:
    """Each dimension follows the output's, aligned at the right; a broadcast one is always position 0."""
    missing = len(output.shape) - len(tensor.shape)
    return tuple(
        Fixed(0) if n == 1 and output.shape[d + missing] != 1 else Follow(d + missing)
        for d, n in enumerate(tensor.shape)
    )  # fmt: skip


def pointwise(call: OpCall, output: int) -> Sight:
    """Each output element sees the input elements at its own position."""
    y = call.outputs[output]
    return {name: aligned(t, y) for name, t in call.tensors() if len(t.shape) <= len(y.shape)}


def regrouped(arg: str = "self") -> Callable[[OpCall, int], Sight]:
    """The same elements in the same order under another shape."""
    return lambda call, output: Regrouped(arg)


def everything(call: OpCall, output: int) -> dict[str, tuple[Tap, ...]]:
    """Every output element sees all of every input: the safe statement where positions are mixed."""
    return {name: (Whole(),) * len(t.shape) for name, t in call.tensors()}


def nothing(call: OpCall, output: int) -> Sight:
    """The output depends on no input's values."""
    return {}


def whole_dims(arg: str, dims: Collection[int]) -> Callable[[OpCall, int], Sight]:
    """An output of the same shape that sees ``dims`` of the input whole, and its own position in the others."""

    def window(call: OpCall, output: int) -> Sight:
        rank = len(call.args[arg].shape)
        mixed = {d % rank for d in dims}
        return {arg: tuple(Whole() if d in mixed else Follow(d) for d in range(rank))}

    return window


def reduced(arg: str, dims: Collection[int], keepdim: bool, call: OpCall) -> Sight:
    """An output from which ``dims`` of the input, seen whole, are gone (or of length 1 with ``keepdim``)."""
    rank = len(call.args[arg].shape)
    mixed = {d % rank for d in dims}
    taps: list[Tap] = []
    position = 0
    for d in range(rank):
        taps.append(Whole() if d in mixed else Follow(position))
        position += d not in mixed or keepdim
    return {arg: tuple(taps)}
