"""Access maps that many ops share."""

from __future__ import annotations

from collections.abc import Callable, Collection

from costmodel.access import AccessMap, Affine, All, AxisMap, Fixed, Reshaped
from costmodel.graph import OpCall, TensorSpec


def aligned(tensor: TensorSpec, output: TensorSpec) -> tuple[AxisMap, ...]:
    """Each dimension follows the output's, aligned at the right; a broadcast one is always position 0."""
    missing = len(output.shape) - len(tensor.shape)
    return tuple(
        Fixed(0) if n == 1 and output.shape[d + missing] != 1 else Affine(d + missing)
        for d, n in enumerate(tensor.shape)
    )  # fmt: skip


def pointwise(call: OpCall, output: int) -> AccessMap:
    """Each output element depends on the input elements at its own position."""
    y = call.outputs[output]
    return {name: aligned(t, y) for name, t in call.tensors() if len(t.shape) <= len(y.shape)}


def reshaped(arg: str = "self") -> Callable[[OpCall, int], AccessMap]:
    """The same elements in the same order under another shape."""
    return lambda call, output: Reshaped(arg)


def everything(call: OpCall, output: int) -> dict[str, tuple[AxisMap, ...]]:
    """Every output element depends on all of every input: safe where positions are mixed."""
    return {name: (All(),) * len(t.shape) for name, t in call.tensors()}


def nothing(call: OpCall, output: int) -> AccessMap:
    """The output depends on no input's values."""
    return {}


def all_of(arg: str, dims: Collection[int]) -> Callable[[OpCall, int], AccessMap]:
    """An output of the same shape that depends on all of ``dims``, and on its own position in the other dimensions."""

    def access(call: OpCall, output: int) -> AccessMap:
        rank = len(call.args[arg].shape)
        mixed = {d % rank for d in dims}
        return {arg: tuple(All() if d in mixed else Affine(d) for d in range(rank))}

    return access


def reduced(arg: str, dims: Collection[int], keepdim: bool, call: OpCall) -> AccessMap:
    """An output without ``dims`` of the input, which it depends on whole (with ``keepdim``, of length 1)."""
    rank = len(call.args[arg].shape)
    mixed = {d % rank for d in dims}
    axis_maps: list[AxisMap] = []
    position = 0
    for d in range(rank):
        axis_maps.append(All() if d in mixed else Affine(position))
        position += d not in mixed or keepdim
    return {arg: tuple(axis_maps)}
