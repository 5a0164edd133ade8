"""Padding, and columns of image patches (im2col) and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import prod

from costmodel.access import AccessMap, Affine, All, AxisMap, GridAxis, Reflected, Wrapped
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.movement import copy
from costmodel.ops.rule import Rule, always, every_argument, example, register
from costmodel.ops.temporaries import bytes_besides, contiguous, in_memory_format
from costmodel.quantities import Work

_IMAGE = TensorSpec((2, 3, 5, 4))


def _sides(pad: Sequence[int], rank: int) -> list[tuple[int, int]]:
    """(before, after) of each dimension; torch lists them from the last dimension."""
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return [(0, 0)] * (rank - len(pairs)) + pairs[::-1]


def _padded_shape(x: TensorSpec, pad: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, _sides(pad, len(x.shape)), strict=True))
    if any(n < 0 for n in shape):
        raise ValueError(f"padding {list(pad)} takes more from {x.shape} than there is")
    return shape


def _constant(args: Arguments) -> TensorSpec:
    x, pad = args["self"], args["pad"]
    shape = _padded_shape(x, pad)
    if all(p <= 0 for p in pad):
        # Nothing but cropping: torch clones the slice, which keeps the order of the strides.
        return TensorSpec(shape, x.dtype, layout.preserved_strides(shape, [TensorSpec(shape, x.dtype, x.full_strides)]))
    return TensorSpec(shape, x.dtype, layout.in_format_of(x, shape))


def _bordered(keeps_format: bool) -> Callable[[Arguments], TensorSpec]:
    def outputs(args: Arguments) -> TensorSpec:
        x = args["self"]
        shape = _padded_shape(x, args["padding"])
        return TensorSpec(shape, x.dtype, layout.in_format_of(x, shape) if keeps_format else None)

    return outputs


def _circular(args: Arguments) -> TensorSpec:
    return TensorSpec(_padded_shape(args["self"], args["pad"]), args["self"].dtype)


def _shifted(call: OpCall, output: int) -> AccessMap:
    x = call.args["self"]
    return {"self": tuple(Affine(d, 1, -a, -a) for d, (a, _) in enumerate(_sides(call.args["pad"], len(x.shape))))}


def _bordering(repeats_edge: bool) -> Callable[[OpCall, int], AccessMap]:
    """Each position depends on the one that it was copied from; on the border, that is inside the input."""

    def access(call: OpCall, output: int) -> AccessMap:
        x = call.args["self"]
        return {
            "self": tuple(
                Reflected(d, 1, -a, -a, length=x.shape[d], repeats_edge=repeats_edge) if a or b else Affine(d)
                for d, (a, b) in enumerate(_sides(call.args["padding"], len(x.shape)))
            )
        }

    return access


def _wrapped(call: OpCall, output: int) -> AccessMap:
    x = call.args["self"]
    axis_maps: list[AxisMap] = []
    for d, (before, after) in enumerate(_sides(call.args["pad"], len(x.shape))):
        axis_maps.append(Wrapped(d, before, x.shape[d]) if before or after else Affine(d))
    return {"self": tuple(axis_maps)}


def _blocks(size: Sequence[int], args: Arguments) -> int:
    """How many patches fit."""
    axes = zip(size, args["kernel_size"], args["dilation"], args["padding"], args["stride"], strict=True)
    return prod((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in axes)


def _im2col(args: Arguments) -> TensorSpec:
    x = args["self"]
    *batch, channels, height, width = x.shape
    patch = prod(args["kernel_size"])
    return TensorSpec((*batch, channels * patch, _blocks((height, width), args)), x.dtype)


def _im2col_access(call: OpCall, output: int) -> AccessMap:
    # Output channel c * patch + tap depends on input channel c; the patches' rows and columns are joined into one axis.
    args, shape = call.args, call.args["self"].shape
    first = len(shape) - 3
    channel = Affine(first, Fraction(1, prod(args["kernel_size"])))
    axes = list(zip(args["kernel_size"], args["stride"], args["padding"], args["dilation"], strict=True))
    down, across = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, (k, s, p, d) in zip(shape[-2:], axes, strict=True))
    patches = (
        GridAxis(first + 1, s, -p, d * (k - 1) - p, d, inner=inner, length=length)
        for (k, s, p, d), inner, length in zip(axes, (across, 1), (down, across), strict=True)
    )
    return {"self": (*(Affine(d) for d in range(first)), channel, *patches)}


def _col2im(args: Arguments) -> TensorSpec:
    x, patch, size = args["self"], prod(args["kernel_size"]), tuple(args["output_size"])
    *batch, rows, blocks = x.shape
    if rows % patch or blocks != _blocks(size, args):
        raise ValueError(
            f"{x.shape} is not the columns of {tuple(args['kernel_size'])} patches of a {size} image: "
            f"expected (.., a multiple of {patch}, {_blocks(size, args)})"
        )
    return TensorSpec((*batch, rows // patch, *size), x.dtype)


def _col2im_temporaries(args: Arguments) -> list[TensorSpec]:
    """What the output's memory has too much: it begins as that of the columns. And these made contiguous."""
    x, y = args["self"], _col2im(args)
    copies = sum(t.nbytes for t in contiguous("self")(args))
    return bytes_besides(y.nbytes, max(x.nbytes, y.nbytes) + copies)


def _col2im_work(call: OpCall) -> Work:
    # Every column element is added to its pixel.
    return Work(adds=call.args["self"].size)


def _col2im_access(call: OpCall, output: int) -> AccessMap:
    first, patch = len(call.args["self"].shape) - 2, prod(call.args["kernel_size"])
    return {"self": (*(Affine(d) for d in range(first)), Affine(first, patch, 0, patch - 1), All())}


def _border(mode: str, axes: int, keeps_format: bool) -> Rule:
    x = TensorSpec((2, 3, 6, 5, 4)[: 2 + axes])
    sides = [1, 2, 0, 1, 2, 1][: 2 * axes]
    return copy(
        f"aten.{mode}_pad{axes}d.default", outputs=_bordered(keeps_format), access=_bordering(mode == "replication"),
        temporaries=in_memory_format("self"),
        examples=(example(x, sides),), source=f"torch.nn.functional.pad, mode {mode}: one copy, nothing computed",
    )  # fmt: skip


register(
    copy(
        "aten.constant_pad_nd.default", outputs=_constant, access=_shifted,
        examples=(example(_IMAGE, [1, 2, 0, 3]), example(_IMAGE, [0, -1]), example(_IMAGE, [1, 0, -1, 0, 2, 1], 1.5)),
        source="torch.nn.functional.pad: one copy, nothing computed",
    ),
    *(_border(mode, axes, axes >= 2) for mode in ("reflection", "replication") for axes in (1, 2, 3)),
    copy(
        "aten._pad_circular.default", outputs=_circular, access=_wrapped, examples=(example(_IMAGE, [1, 2, 0, 3]),),
        source="torch.nn.functional.pad, mode circular: one copy, nothing computed",
    ),
    copy(
        "aten.im2col.default", outputs=_im2col, access=_im2col_access, temporaries=contiguous("self"),
        examples=(example(_IMAGE, [3, 2], [1, 1], [1, 0], [2, 1]), example(_IMAGE, [2, 2], [2, 1], [0, 0], [1, 1])),
        source="torch.nn.Unfold: one copy, nothing computed",
    ),
    Rule(
        targets=("aten.col2im.default",), kind=always("other"), outputs=_col2im, work=_col2im_work,
        traffic=every_argument, access=_col2im_access, temporaries=_col2im_temporaries, fusible=False,
        source="torch.nn.Fold: overlapping patches are summed",
        free_because=None, examples=(example(TensorSpec((2, 12, 12)), [5, 4], [2, 2], [1, 1], [0, 0], [1, 1]),),
    ),
)  # fmt: skip
