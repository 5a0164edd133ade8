"""Fresh tensors: allocations move nothing, fills write every element."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

from costmodel.access import AccessMap
from costmodel.graph import Arguments, OpCall, TensorSpec, channels_last_strides
from costmodel.ops import layout
from costmodel.ops.access import nothing
from costmodel.ops.defaults import default_float
from costmodel.ops.rule import (
    Example,
    Rule,
    Torch,
    example,
    fill,
    free,
    moved,
    register,
)
from costmodel.quantities import Traffic

_X = TensorSpec((2, 3, 4))
_ALLOCATION = "an allocation: memory is reserved, nothing is written"


def number_dtype(*values: Any) -> str:
    """The dtype that torch gives to Python numbers."""
    return layout.result_dtype(values)


def _zeros(args: Arguments) -> TensorSpec:
    return TensorSpec(tuple(args["size"]), args["dtype"] or default_float(), stored_bytes=0)


def _sized(args: Arguments) -> TensorSpec:
    shape = tuple(args["size"])
    return TensorSpec(shape, args["dtype"] or default_float(), _formatted(shape, args.get("memory_format")))


def _formatted(shape: tuple[int, ...], memory_format: str | None) -> tuple[int, ...] | None:
    if memory_format in ("channels_last", "channels_last_3d"):
        return layout.normal(channels_last_strides(shape), shape)
    return None


def _strided(args: Arguments) -> TensorSpec:
    shape = tuple(args["size"])
    like = args["self"].dtype if "self" in args else default_float()
    return TensorSpec(shape, args["dtype"] or like, layout.normal(tuple(args["stride"]), shape))


def _full(args: Arguments) -> TensorSpec:
    return TensorSpec(tuple(args["size"]), args["dtype"] or number_dtype(args["fill_value"]))


def _like(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(x.shape, args["dtype"] or x.dtype, layout.in_memory_format(x, args["memory_format"], x.shape))


def _new(args: Arguments) -> TensorSpec:
    return TensorSpec(tuple(args["size"]), args["dtype"] or args["self"].dtype)


def _arange(args: Arguments) -> TensorSpec:
    start, end, step = args.get("start", 0), args["end"], args.get("step", 1)
    if step == 0 or (end - start) * step < 0:
        raise ValueError(f"arange from {start} to {end} never gets there by steps of {step}")
    # Exact for integers: a ceiling written as a floor.
    whole = all(isinstance(v, int) for v in (start, end, step))
    n = -((start - end) // step) if whole else ceil((end - start) / step)
    given = number_dtype(start, end, step)
    return TensorSpec((n,), args["dtype"] or ("int64" if layout.category(given) < 2 else given))


def _eye(args: Arguments) -> TensorSpec:
    rows: int = args["n"]
    columns: int = args.get("m", rows)
    return TensorSpec((rows, columns), args["dtype"] or default_float())


def _spaced(args: Arguments) -> TensorSpec:
    return TensorSpec((args["steps"],), args["dtype"] or default_float())


def _spaced_between(args: Arguments) -> TensorSpec:
    # Ends that are tensors say nothing of the dtype, unless they are complex.
    ends = [default_float(), *(layout.result_dtype([args[end]]) for end in ("start", "end"))]
    whole = next((dtype for dtype in ends if layout.category(dtype) == 3), default_float())
    return TensorSpec((args["steps"],), args["dtype"] or whole)


def _permuted(args: Arguments) -> TensorSpec:
    shape, order = tuple(args["size"]), args["physical_layout"]
    stored = TensorSpec(tuple(shape[d] for d in order)).full_strides
    strides = tuple(stored[list(order).index(d)] for d in range(len(shape)))
    return TensorSpec(shape, args["dtype"] or default_float(), layout.normal(strides, shape))


def _scalar(args: Arguments) -> TensorSpec:
    return TensorSpec((), args["dtype"] or default_float())


def _triangle_indices(lower: bool) -> Callable[[Arguments], TensorSpec]:
    def outputs(args: Arguments) -> TensorSpec:
        rows, columns, offset = args["row"], args["col"], args["offset"]
        # Row i holds the columns 0 .. i + offset of the lower triangle.
        below = sum(min(max(i + offset + (1 if lower else 0), 0), columns) for i in range(rows))
        n = below if lower else rows * columns - below
        dtype = args["dtype"]
        return TensorSpec((2, n), dtype if isinstance(dtype, str) else "int64")

    return outputs


def _filled(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(x.shape, x.dtype, layout.preserved_strides(x.shape, [x]))


def _ends_read(call: OpCall) -> Traffic:
    return moved((t for _, t in call.tensors()), call.outputs)


def _ends_seen(call: OpCall, output: int) -> AccessMap:
    return {name: () for name, _ in call.tensors()}


def _value_read(call: OpCall) -> Traffic:
    return moved([call.args["value"]], call.outputs)


def _value_seen(call: OpCall, output: int) -> AccessMap:
    return {"value": ()}


def allocation(*targets: str, outputs: Callable[[Arguments], TensorSpec], examples: tuple[Example, ...]) -> Rule:
    """The rule of an op that only reserves memory."""
    return free(*targets, because=_ALLOCATION, kind="other", outputs=outputs, access=nothing, examples=examples)


_SIZES = (example([2, 3]), example([2, 3], dtype="int64"), example([]))
_LIKE = (example(_X), example(TensorSpec((2, 3, 4, 5)), dtype="bool", memory_format="channels_last"))
_NEW = (example(_X, [3, 2]), example(_X, [], dtype="int64"))

register(
    allocation("aten.empty.memory_format", outputs=_sized,
               examples=(*_SIZES, example([2, 3, 4, 5], memory_format="channels_last"))),
    allocation("aten.empty_strided.default", outputs=_strided, examples=(example([2, 3], [1, 2]),)),
    allocation("aten.empty_permuted.default", outputs=_permuted, examples=(example([2, 3, 4], [2, 0, 1]),)),
    allocation("aten.new_empty_strided.default", outputs=_strided, examples=(example(_X, [2, 3], [1, 2]),)),
    allocation("aten.empty_like.default", outputs=_like, examples=_LIKE),
    allocation("aten.new_empty.default", outputs=_new, examples=_NEW),
    *(
        free(target, because=_ALLOCATION, kind="other", outputs=Torch.RESIZED, access=nothing, examples=(case,))
        for target, case in (
            ("aten.resize_.default", example(_X, [3, 2])),
            ("aten.resize_as_.default", example(_X, TensorSpec((3, 2)))),
        )
    ),
    free("aten._efficientzerotensor.default", because="zeros that have no memory", kind="other", outputs=_zeros,
         access=nothing, examples=(example([2, 3]), example([2, 3], dtype="bfloat16"))),
    fill("aten.zeros.default", "aten.ones.default", outputs=_sized, examples=_SIZES),
    fill("aten.full.default", outputs=_full,
         examples=(example([2, 3], 1), example([2], 0.5), example([2], True), example([2], 1, dtype="float16"))),
    fill("aten.zeros_like.default", "aten.ones_like.default", outputs=_like, examples=_LIKE),
    fill("aten.full_like.default", outputs=_like, examples=(example(_X, 2), example(_X, 2, dtype="int64"))),
    fill("aten.new_zeros.default", "aten.new_ones.default", outputs=_new, examples=_NEW),
    fill("aten.new_full.default", outputs=_new, examples=(example(_X, [3, 2], 1),)),
    fill("aten.fill_.Scalar", "aten.fill.Scalar", outputs=_filled, examples=(example(_X, 1),)),
    fill("aten.fill_.Tensor", "aten.fill.Tensor", outputs=_filled, traffic=_value_read, access=_value_seen,
         examples=(example(_X, TensorSpec(())),)),
    fill("aten.zero_.default", "aten.zero.default", outputs=_filled, examples=(example(_X),)),
    fill("aten.arange.default", outputs=_arange, examples=(example(5), example(2.5), example(3, dtype="float32"))),
    fill("aten.arange.start", outputs=_arange, examples=(example(2, 7), example(0.5, 4))),
    fill("aten.arange.start_step", outputs=_arange,
         examples=(example(2, 8, 3), example(8, 2, -4), example(0, 1, 0.25))),
    fill("aten.eye.default", outputs=_eye, examples=(example(3),)),
    fill("aten.eye.m", outputs=_eye, examples=(example(3, 4),)),
    fill("aten.linspace.default", "aten.logspace.default", outputs=_spaced,
         examples=(example(0, 1, 5), example(0.0, 1.0, 1))),
    *(
        fill(f"aten.{name}.{overload}", outputs=_spaced_between, traffic=_ends_read, access=_ends_seen,
             examples=(case,))
        for name in ("linspace", "logspace")
        for overload, case in (
            ("Tensor_Tensor", example(TensorSpec(()), TensorSpec(()), 5)),
            ("Tensor_Scalar", example(TensorSpec(()), 1, 5)),
            ("Scalar_Tensor", example(0, TensorSpec(()), 5)),
        )
    ),
    fill("aten.scalar_tensor.default", outputs=_scalar, examples=(example(3.0), example(3, dtype="int64"))),
    fill("aten.tril_indices.default", outputs=_triangle_indices(True),
         examples=(example(4, 3), example(3, 5, 1), example(5, 3, -2))),
    fill("aten.triu_indices.default", outputs=_triangle_indices(False),
         examples=(example(4, 3), example(3, 5, 1), example(5, 3, -2))),
)  # fmt: skip
