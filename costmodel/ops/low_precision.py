"""Matrix products of numbers of 8 and 4 bits, with the scales that give them their range."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from costmodel.access import AccessMap, Affine, All
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.experts import grouped_product, grouped_work
from costmodel.ops.rule import Outputs, Rule, always, every_argument, example, no_temporaries, no_work, register
from costmodel.ops.temporaries import contiguous
from costmodel.quantities import Work


def _rows_and_columns(call: OpCall, output: int) -> AccessMap:
    return {**everything(call, output), "self": (Affine(0), All()), "mat2": (All(), Affine(1))}


def _rows(call: OpCall, output: int) -> AccessMap:
    return {**everything(call, output), "self": (Affine(0), All()), "mat2": (Affine(1), All())}


def _fit(a: TensorSpec, b: TensorSpec, k: int) -> None:
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] != k:
        raise ValueError(f"a product of matrices {a.shape} and {b.shape} does not fit")


# -- integers -------------------------------------------------------------------------------------------------------


def _int_mm(args: Arguments) -> TensorSpec:
    a, b = args["self"], args["mat2"]
    _fit(a, b, b.shape[0])
    return TensorSpec((a.shape[0], b.shape[1]), "int32")


def _int_mm_work(call: OpCall) -> Work:
    return Work(macs=call.outputs[0].size * call.args["self"].shape[1])


def _int8_weight(args: Arguments) -> TensorSpec:
    x, w = args["self"], args["mat2"]
    _fit(x, w, w.shape[1])
    return TensorSpec((x.shape[0], w.shape[0]), x.dtype)


def _int8_weight_work(call: OpCall) -> Work:
    # Each column of the product has a scale.
    n = call.outputs[0].size
    return Work(macs=n * call.args["self"].shape[1], multiplies=n)


def _int4_weight(args: Arguments) -> TensorSpec:
    # Scales and zero points are (groups, columns, 2), or two tensors of (groups, columns), however weights are packed.
    x = args["self"]
    scales: TensorSpec = args["qScaleAndZeros"] if "qScaleAndZeros" in args else args["qScale"]
    return TensorSpec((x.shape[0], scales.shape[1]), x.dtype)


def _int4_weight_work(call: OpCall) -> Work:
    # Each weight, once: q s + z. Then the product.
    rows, inner = call.args["self"].shape
    columns = call.outputs[0].shape[1]
    return Work(macs=rows * columns * inner, multiplies=columns * inner, adds=columns * inner)


def _pack_int4(args: Arguments) -> TensorSpec:
    # Tiles of 8 columns and 16 ``innerKTiles`` rows, given as two numbers a byte: aten/src/ATen/native/cuda/int4mm.cu.
    (n, half), tiles = args["self"].shape, args["innerKTiles"]
    return TensorSpec((n // 8, 2 * half // (16 * tiles), 32, tiles // 2), "int32")


def _pack_int4_for_cpu(args: Arguments) -> TensorSpec:
    n, k = args["self"].shape
    return TensorSpec((n, k // 2), "uint8")


# -- 4-bit weights, inputs quantised by the op itself ---------------------------------------------------------------

_OF_A_ROW = Work(compares=5, adds=5, multiplies=2, divides=2)
"""What quantises a row besides its elements: both bounds with 0; their distance, the scale and its inverse; the errors
of a zero point from either bound and their sum, whose sign picks the zero point; that, clamped."""


def _dynamic(args: Arguments) -> TensorSpec:
    x = args["inp"]
    return TensorSpec((*x.shape[:-1], args["out_features"]), x.dtype)


def _dynamic_work(call: OpCall) -> Work:
    # Rows: least and greatest, then x s + z, clamped. Outputs: of each block of the weight's row the product, less the
    # zero point times the sum of the block's weights (a constant), and scaled; their sum, the row's scale, clamped.
    args = call.args
    k, n = args["in_features"], args["out_features"]
    rows, blocks = args["inp"].size // k, -(-k // args["block_size"])
    of_a_row = _OF_A_ROW + Work(compares=2 * (k - 1)) + Work(multiplies=1, adds=1, compares=2).times(k)
    of_an_output = Work(macs=k, multiplies=2 * blocks + 1, adds=2 * blocks - 1, compares=2)
    return of_a_row.times(rows) + of_an_output.times(rows * n)


def _pack_dynamic(args: Arguments) -> TensorSpec:
    # Without a kernel for packed weights: numbers, scales and bias, one after the other.
    given = (args["weights"], args["scales_zeros"], args["bias"])
    return TensorSpec((sum(t.size for t in given if t is not None),))


# -- floats of 8 and 4 bits ------------------------------------------------------------------------------------------

_PAIRS = "float4_e2m1fn_x2"
"""A dtype whose elements are two numbers each."""

_SHARED_BY = {"float8_e8m0fnu": 32, "float8_e4m3fn": 16}
"""Numbers that share a scale, by its dtype: microscaling formats, and NVFP4. Such scales lie in padded tiles."""


def _numbers(a: TensorSpec) -> int:
    """How many numbers of a row are multiplied."""
    return a.shape[-1] * (2 if a.dtype == _PAIRS else 1)


def _scaled(args: Arguments) -> TensorSpec:
    a, b = args["self"], args["mat2"]
    _fit(a, b, b.shape[0])
    return TensorSpec((a.shape[0], b.shape[1]), args["out_dtype"] or a.dtype)


def _scaling(args: Arguments, outputs: int) -> Work:
    # Scales that are one number are multiplied with each other first. Each other one is a multiplication for each
    # output, and for each of its blocks where a row has several, which are then summed.
    scales = [t for name in ("scale_a", "scale_b") for t in _listed(args[name])]
    single = [t for t in scales if t.size == 1]
    work = Work(multiplies=len(single) - 1 + outputs) if single else Work()
    if len(single) < len(scales):
        blocks = max(_blocks(args, name) for name in ("scale_a", "scale_b"))
        work += Work(multiplies=(len(scales) - len(single)) * blocks, adds=blocks - 1).times(outputs)
    if args.get("scale_result") is not None:
        work += Work(multiplies=outputs)
    return work


def _listed(scales: TensorSpec | list[TensorSpec]) -> list[TensorSpec]:
    return scales if isinstance(scales, list) else [scales]


def _blocks(args: Arguments, name: str) -> int:
    scale = _listed(args[name])[0]
    if scale.dtype in _SHARED_BY and scale.size > 1:
        return -(-_numbers(args["self"]) // _SHARED_BY[scale.dtype])
    # (rows, blocks) and (blocks, columns); in groups one scale for each row or column.
    if len(scale.shape) != 2 or len(args["self"].shape) != 2 or len(args["mat2"].shape) != 2:
        return 1
    return scale.shape[1 if name == "scale_a" else 0]


def _scaled_work(call: OpCall) -> Work:
    (y,), args = call.outputs, call.args
    biased = Work(adds=y.size if args["bias"] is not None else 0)
    return Work(macs=y.size * _numbers(args["self"])) + biased + _scaling(args, y.size)


def _scaled_groups_work(call: OpCall) -> Work:
    return grouped_work(call) + _scaling(call.args, call.outputs[0].size)


def _mixed(args: Arguments) -> TensorSpec:
    x = args["input"]
    return TensorSpec((*x.shape[:-1], args["scale"].shape[0]), x.dtype)


_ACTIVATION = {"relu": Work(compares=1), "silu": Work(transcendentals=1, adds=1, divides=1, multiplies=1)}


def _mixed_work(call: OpCall) -> Work:
    # Each column of the product has a scale.
    (y,), args = call.outputs, call.args
    after = Work(multiplies=1, adds=args["bias"] is not None) + _ACTIVATION.get(args["activation"], Work())
    return Work(macs=y.size * args["input"].shape[-1]) + after.times(y.size)


_I8, _F8 = "int8", "float8_e4m3fn"
_X = TensorSpec((3, 64), "bfloat16")
_SCALES = TensorSpec((2, 32, 2), "bfloat16")
_ONE = TensorSpec(())
_A8, _B8 = TensorSpec((16, 32), _F8), TensorSpec((32, 48), _F8, (1, 32))
_ROW = TensorSpec((4, 64))
_CHANNELS = TensorSpec((32, 32), "uint8")


def _product(
    target: str,
    outputs: Callable[[Arguments], Outputs],
    work: Callable[[OpCall], Work],
    source: str,
    *examples: tuple[object, ...],
    access: Callable[[OpCall, int], AccessMap] = everything,
) -> Rule:
    return Rule(
        targets=(target,), kind=always("matmul"), outputs=outputs, work=work, traffic=every_argument, access=access,
        temporaries=no_temporaries, fusible=False, source=source, free_because=None,
        examples=tuple(example(*case) for case in examples),
    )  # fmt: skip


def _in_rows(args: Arguments) -> Iterable[TensorSpec]:
    return contiguous("self")(args) if "self" in args else ()


def _packing(target: str, outputs: Callable[[Arguments], Outputs], *examples: tuple[object, ...]) -> Rule:
    return Rule(
        targets=(target,), kind=always("other"), outputs=outputs, work=no_work, traffic=every_argument,
        access=everything, temporaries=_in_rows, fusible=False, source="torch: weights in the order of a kernel",
        free_because=None, examples=tuple(example(*case) for case in examples),
    )  # fmt: skip


register(
    _product("aten._int_mm.default", _int_mm, _int_mm_work, "torch._int_mm: 8-bit integers, summed in 32 bits",
             (TensorSpec((3, 4), _I8), TensorSpec((4, 5), _I8)), access=_rows_and_columns),
    _product("aten._weight_int8pack_mm.default", _int8_weight, _int8_weight_work,
             "aten/src/ATen/native/cpu/int8mm_kernel.cpp: (x q^T) s", (_X, TensorSpec((16, 64), _I8),
             TensorSpec((16,), "bfloat16")), access=_rows),
    _product("aten._weight_int4pack_mm.default", _int4_weight, _int4_weight_work,
             "aten/src/ATen/native/cuda/int4mm.cu: x (q s + z)^T",
             (_X, TensorSpec((4, 2, 32, 1), "int32"), 32, _SCALES)),
    _product("aten._weight_int4pack_mm_for_cpu.default", _int4_weight, _int4_weight_work,
             "aten/src/ATen/native/cpu/int4mm_kernel.cpp: x (q s + z)^T", (_X, TensorSpec((32, 32), "uint8"), 32,
             _SCALES)),
    _product("aten._weight_int4pack_mm_with_scales_and_zeros.default", _int4_weight, _int4_weight_work,
             "torch, for XPU: x (q s + z)^T", (_X, TensorSpec((32, 8), "int32"), 32, TensorSpec((2, 32), "bfloat16"),
             TensorSpec((2, 32), "int8"))),
    _packing("aten._convert_weight_to_int4pack.default", _pack_int4, (TensorSpec((32, 32), "uint8"), 2)),
    _packing("aten._convert_weight_to_int4pack_for_cpu.default", _pack_int4_for_cpu,
             (TensorSpec((32, 64), "int32"), 1)),
    _packing("aten._dyn_quant_pack_4bit_weight.default", _pack_dynamic,
             (_CHANNELS, TensorSpec((32, 2)), None, 32, 64, 32),
             (_CHANNELS, TensorSpec((32,)), TensorSpec((32,)), 64, 64, 32)),
    _product("aten._dyn_quant_matmul_4bit.default", _dynamic, _dynamic_work,
             "aten/src/ATen/native/cpu/int4mm_kernel.cpp: rows quantised to 8 bits, weights of 4 bits",
             (_ROW, TensorSpec((1088,)), 32, 64, 32), (_ROW, TensorSpec((1088,)), 64, 64, 32)),
    _product("aten._scaled_mm.default", _scaled, _scaled_work, "torch._scaled_mm: (a b) s_a s_b + bias",
             (_A8, _B8, _ONE, _ONE, None, None, "bfloat16"),
             (_A8, _B8, TensorSpec((16, 1)), TensorSpec((1, 48)), TensorSpec((48,), "bfloat16"), None, "bfloat16"),
             access=_rows_and_columns),
    _product("aten._scaled_mm_v2.default", _scaled, _scaled_work, "torch.nn.functional.scaled_mm",
             (_A8, _B8, [_ONE], [0], [0], [_ONE], [0], [0], None, "bfloat16"), access=_rows_and_columns),
    *(
        _product(f"aten._scaled_grouped_mm{version}.default", grouped_product, _scaled_groups_work,
                 "torch._scaled_grouped_mm: a scale for each row and column, of groups that cover every row", case)
        for version, case in (
            ("", (TensorSpec((16, 32), _F8), TensorSpec((2, 32, 48), _F8), TensorSpec((16,)), TensorSpec((2, 48)),
                  TensorSpec((2,), "int32"), None, None, "bfloat16")),
            ("_v2", (TensorSpec((16, 32), _F8), TensorSpec((2, 32, 48), _F8), [TensorSpec((16,))], [1], [0],
                     [TensorSpec((2, 48))], [1], [0], TensorSpec((2,), "int32"), None, "bfloat16")),
        )
    ),
    _product("aten._mixed_dtypes_linear.default", _mixed, _mixed_work,
             "aten/src/ATen/native/cuda/cutlass: (x q) s + bias, activated",
             (TensorSpec((16, 64), "float16"), TensorSpec((64, 32), _I8), TensorSpec((32,), "float16"))),
)  # fmt: skip
