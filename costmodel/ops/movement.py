"""Copies: ops that move elements to another place and compute nothing. Indexed ones are in ``indexing``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from costmodel.access import AccessMap, Affine, All, AxisMap, Fixed, Rolled, Slice
from costmodel.graph import Arguments, OpCall, TensorSpec, contiguous_strides
from costmodel.ops import layout
from costmodel.ops.access import aligned, everything, pointwise
from costmodel.ops.rule import (
    TO,
    Example,
    Outputs,
    Rule,
    Torch,
    always,
    every_argument,
    example,
    moved,
    no_temporaries,
    no_work,
    register,
)
from costmodel.ops.shape import slice_start, unfolded
from costmodel.ops.temporaries import contiguous
from costmodel.quantities import Traffic

_X = TensorSpec((2, 3, 4))
_IMAGE = TensorSpec((2, 3, 5, 4))


def copy(
    *targets: str,
    outputs: Callable[[Arguments], Outputs] | Torch,
    access: Callable[[OpCall, int], AccessMap],
    examples: tuple[Example, ...],
    kind: str = "other",
    traffic: Callable[[OpCall], Traffic] = every_argument,
    fusible: bool = False,
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
    source: str = "a copy: read, written, nothing computed",
    indices: Callable[[Mapping[str, Any]], Iterable[tuple[Any, range]]] | None = None,
) -> Rule:
    """The rule of an op that only moves elements."""
    return Rule(
        targets=targets, kind=always(kind), outputs=outputs, work=no_work, traffic=traffic, access=access,
        temporaries=temporaries, fusible=fusible, source=source, free_because=None, examples=examples,
        indices=indices,
    )  # fmt: skip


def _clone(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(
        x.shape, args.get("dtype") or x.dtype, layout.in_memory_format(x, args.get("memory_format"), x.shape)
    )


def _common_format(tensors: Sequence[TensorSpec], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    # Channels last only where every input is.
    for t in tensors:
        if t.strides is None or not layout.suggested_channels_last(t):
            return None
    return layout.in_format_of(tensors[0], shape)


def _cat(args: Arguments) -> TensorSpec:
    tensors = args["tensors"]
    # torch skips one-dimensional empty tensors, whatever the others' shapes.
    real = [t for t in tensors if t.shape != (0,)] or tensors
    first = real[0].shape
    dim = args["dim"] % len(first)
    head, tail = first[:dim], first[dim + 1 :]
    total = 0
    for t in real:
        if t.shape[:dim] != head or t.shape[dim + 1 :] != tail:
            shapes = ", ".join(str(t.shape) for t in real)
            raise ValueError(f"cannot concatenate {shapes} along dimension {dim}: the other dimensions differ")
        total += t.shape[dim]
    dtype = real[0].dtype
    if any(t.dtype != dtype for t in tensors):
        dtype = layout.result_dtype(tensors)
    shape = (*head, total, *tail)
    return TensorSpec(shape, dtype, _common_format(real, shape))


def _cat_access(call: OpCall, output: int) -> AccessMap:
    (y,) = call.outputs
    dim = call.args["dim"] % len(y.shape)
    access: dict[str, tuple[AxisMap, ...]] = {}
    offset = 0
    for name, t in call.tensors():
        if t.shape == (0,) != y.shape:
            access[name] = (All(),)
            continue
        access[name] = tuple(Slice(d, 1, -offset, -offset) if d == dim else Affine(d) for d in range(len(t.shape)))
        offset += t.shape[dim]
    return access


def _stack(args: Arguments) -> TensorSpec:
    tensors = args["tensors"]
    first = tensors[0].shape
    if any(t.shape != first for t in tensors):
        raise ValueError(f"stack takes tensors of one shape, got {', '.join(str(t.shape) for t in tensors)}")
    dim = args["dim"] % (len(first) + 1)
    shape = (*first[:dim], len(tensors), *first[dim:])
    dtype = tensors[0].dtype
    if any(t.dtype != dtype for t in tensors):
        dtype = layout.result_dtype(tensors)
    if dim == len(first):
        return TensorSpec(shape, dtype)
    # torch concatenates, and splits the dimension: so the memory format is that of a concatenation.
    strides = _common_format(tensors, (*first[:dim], len(tensors) * first[dim], *first[dim + 1 :]))
    if strides is None:
        return TensorSpec(shape, dtype)
    split = (*strides[:dim], first[dim] * strides[dim], *strides[dim:])
    return TensorSpec(shape, dtype, layout.normal(split, shape))


def _stack_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.outputs[0].shape)
    dim = call.args["dim"] % rank
    axis_maps = tuple(Affine(d) for d in range(rank) if d != dim)
    return {name: axis_maps for name, _ in call.tensors()}


def _overwritten(call: OpCall) -> Traffic:
    # The destination's old values are not read.
    return moved([call.args["src"]], call.outputs)


def _copied(call: OpCall, output: int) -> AccessMap:
    return {"src": aligned(call.args["src"], call.outputs[0])}


def _same(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(x.shape, x.dtype, layout.preserved_strides(x.shape, [x]))


def _contiguous(args: Arguments) -> TensorSpec:
    return TensorSpec(args["self"].shape, args["self"].dtype)


def _as_list(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _roll(args: Arguments) -> TensorSpec:
    # Two slices, concatenated; without dimensions, those of the flattened tensor.
    x = args["self"]
    return TensorSpec(x.shape, x.dtype, layout.in_format_of(x, x.shape) if args["dims"] else None)


def _rolled_once(args: Arguments) -> list[TensorSpec]:
    """One dimension after the other: what each made lives until the last is made."""
    x, dims = args["self"], _as_list(args["dims"])
    if not dims:
        return list(contiguous("self")(args))  # the flattened tensor is rolled
    return [TensorSpec(x.shape, x.dtype)] * (len(dims) - 1)


def _roll_access(call: OpCall, output: int) -> AccessMap:
    x, dims = call.args["self"], _as_list(call.args["dims"])
    if not dims:
        return everything(call, output)  # the flattened tensor is rolled
    axis_maps: list[AxisMap] = [Affine(d) for d in range(len(x.shape))]
    for dim, shift in zip(dims, _as_list(call.args["shifts"]), strict=True):
        before = axis_maps[dim]
        shift += before.shift if isinstance(before, Rolled) else 0
        axis_maps[dim] = Rolled(dim % len(x.shape), shift, x.shape[dim])
    return {"self": tuple(axis_maps)}


def _flip_access(call: OpCall, output: int) -> AccessMap:
    x = call.args["self"]
    dims = {d % len(x.shape) for d in call.args["dims"]}
    return {"self": tuple(Affine(d, -1, n - 1, n - 1) if d in dims else Affine(d) for d, n in enumerate(x.shape))}


def _repeat(args: Arguments) -> TensorSpec:
    x, repeats = args["self"], args["repeats"]
    if len(repeats) < len(x.shape):
        raise ValueError(f"{len(repeats)} repeats for a tensor of {len(x.shape)} dimensions {x.shape}")
    padded = (1,) * (len(repeats) - len(x.shape)) + x.shape
    return TensorSpec(tuple(n * r for n, r in zip(padded, repeats, strict=True)), x.dtype)


def _places(args: Arguments) -> list[TensorSpec]:
    """Which dimensions of the copies belong together, as integers."""
    repeats = args["repeats"]
    return [TensorSpec((4 * len(repeats),), "int64")] if all(repeats) else []


def _repeat_access(call: OpCall, output: int) -> AccessMap:
    x = call.args["self"]
    new = len(call.args["repeats"]) - len(x.shape)
    return {"self": tuple(Fixed(0) if n == 1 else Rolled(d + new, 0, n) for d, n in enumerate(x.shape))}


def _batch_copied(args: Arguments) -> list[TensorSpec]:
    """A copy of a batch of matrices that do not follow one another; each matrix may be stored as it likes.

    Source: ``checkTrilTriuBatchContiguous`` in aten/src/ATen/native/TriangularOpsUtils.h.
    """
    x: TensorSpec = args["self"]
    following = contiguous_strides(x.shape)[:-2]
    return [] if x.is_contiguous or x.full_strides[:-2] == following else list(contiguous("self")(args))


def _unfold_copy(args: Arguments) -> TensorSpec:
    x, size = args["self"], args["size"]
    if not x.shape:
        return TensorSpec((size,), x.dtype)
    dim = args["dimension"] % len(x.shape)
    windows = (x.shape[dim] - size) // args["step"] + 1
    return TensorSpec((*x.shape[:dim], windows, *x.shape[dim + 1 :], size), x.dtype)


def _slice_scatter_access(call: OpCall, output: int) -> AccessMap:
    from fractions import Fraction

    x, src, step = call.args["self"], call.args["src"], call.args["step"]
    dim = call.args["dim"] % len(x.shape)
    start = slice_start(call.args["start"], x.shape[dim])
    back = Slice(dim, Fraction(1, step), Fraction(-start, step), Fraction(-start, step))
    return {
        "self": tuple(Affine(d) for d in range(len(x.shape))),
        "src": tuple(back if d == dim else Affine(d) for d in range(len(src.shape))),
    }


def _select_scatter_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    dim = call.args["dim"] % rank
    return {"self": tuple(map(Affine, range(rank))), "src": tuple(Affine(d) for d in range(rank) if d != dim)}


register(
    copy("aten.cat.default", kind="concat", outputs=_cat, access=_cat_access, examples=(
        example([_X, TensorSpec((2, 1, 4))], 1),
        example([_X, TensorSpec((2, 3, 2), "int64")], -1),
        example([TensorSpec((0,)), _X, _X]),
    )),
    copy("aten.stack.default", kind="concat", outputs=_stack, access=_stack_access,
         examples=(example([_X, _X], 1), example([_X, _X, _X], -1))),
    copy("aten.clone.default", outputs=_clone, access=pointwise, fusible=True,
         examples=(example(_IMAGE), example(_IMAGE, memory_format="channels_last"))),
    copy(TO, outputs=_clone, access=pointwise, fusible=True,
         examples=(example(_X, dtype="float16"), example(_IMAGE, memory_format="channels_last"))),
    copy("aten.copy_.default", "aten.copy.default", outputs=_same, access=_copied, traffic=_overwritten, fusible=True,
         examples=(example(_X, TensorSpec((3, 1))), example(_X, _X))),
    copy("aten._conj_physical.default", outputs=_same,
         access=pointwise, fusible=True, examples=(example(TensorSpec((2, 3), "complex64")),)),
    copy("aten.roll.default", outputs=_roll, access=_roll_access, temporaries=_rolled_once,
         examples=(example(_IMAGE, [1, -2], [2, 3]), example(_X, [3], [0]), example(_X, [3]))),
    copy("aten.flip.default", outputs=_same, access=_flip_access, examples=(example(_X, [0, -1]),)),
    copy("aten.repeat.default", outputs=_repeat, access=_repeat_access, temporaries=_places,
         examples=(example(_X, [2, 1, 1, 3]), example(TensorSpec((1, 3)), [2, 1]))),
    copy("aten.tril.default", "aten.triu.default", outputs=_contiguous, access=pointwise,
         temporaries=_batch_copied, examples=(example(_X, 1),), source="a selection by position, no arithmetic"),
    copy("aten.tril_.default", "aten.triu_.default", outputs=_contiguous, access=pointwise,
         examples=(example(_X, 1),), source="a selection by position, no arithmetic"),
    copy("aten.unfold_copy.default", outputs=_unfold_copy, access=unfolded, examples=(example(_X, 2, 2, 1),)),
    copy("aten.slice_scatter.default", outputs=_same, access=_slice_scatter_access,
         examples=(example(_X, TensorSpec((2, 2, 4)), 1, 1), example(_X, TensorSpec((2, 3, 2)), -1, 0, 4, 2))),
    copy("aten.select_scatter.default", outputs=_same, access=_select_scatter_access,
         examples=(example(_X, TensorSpec((2, 4)), 1, 2),)),
)  # fmt: skip
