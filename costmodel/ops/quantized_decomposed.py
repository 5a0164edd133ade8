"""Quantisation as arithmetic on plain tensors (``quantized_decomposed``): what exported quantised models run."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.access import AccessMap, Affine, All, AxisMap, Fixed
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import aligned, all_of, everything
from costmodel.ops.quantisation import DEQUANTISED, QUANTISED, SOURCE
from costmodel.ops.rule import Outputs, Rule, always, every_argument, example, no_temporaries, no_work, register
from costmodel.quantities import Work

_X, _Q = TensorSpec((4, 8)), TensorSpec((4, 8), "int8")
_SCALE, _ZERO = TensorSpec(()), TensorSpec((), "int64")
_SCALES, _ZEROS = TensorSpec((4,)), TensorSpec((4,), "int64")
_ROW_SCALES, _ROW_ZEROS = TensorSpec((4, 1)), TensorSpec((4, 1), "int64")
_GROUP_SCALES, _GROUP_ZEROS = TensorSpec((4, 2)), TensorSpec((4, 2), "int64")


def _of_dtype(*names: str) -> Callable[[Arguments], TensorSpec]:
    """Like the input, in the dtype that one of these arguments says, or else in float32."""

    def outputs(args: Arguments) -> TensorSpec:
        x = args["input"]
        dtype = next((args[name] for name in names if args.get(name) is not None), "float32")
        if "group_size" in args:  # which cuts rows in pieces
            return TensorSpec(x.shape, dtype)
        return TensorSpec(x.shape, dtype, layout.preserved_strides(x.shape, [x]))

    return outputs


def _each(work: Work) -> Callable[[OpCall], Work]:
    return lambda call: work.times(call.args["input"].size)


def _dequantised(call: OpCall) -> Work:
    has_zero_points = call.args.get("zero_points", 0) is not None
    return (DEQUANTISED if has_zero_points else Work(multiplies=1)).times(call.args["input"].size)


def _pair(args: Arguments) -> Outputs:
    return TensorSpec((1,), "float64"), TensorSpec((1,), "int64")


def _range_work(call: OpCall) -> Work:
    # Least and greatest, either with 0. s: their distance by that of the grid, no less than eps. z: qmin - min / s,
    # clamped.
    return Work(compares=2 * (call.args["input"].size - 1) + 5, adds=2, divides=2)


def _symmetric_work(call: OpCall) -> Work:
    # Least and greatest, either with 0. s: the greater of both by half the grid, no less than eps. z is given; clamped.
    return Work(compares=2 * (call.args["input"].size - 1) + 6, divides=1)


def _pair_of_rows(args: Arguments) -> Outputs:
    x = args["input"]
    dtype = "float32" if x.dtype == "float16" else x.dtype
    return TensorSpec((*x.shape[:-1], 1), dtype), TensorSpec((*x.shape[:-1], 1), dtype)


def _wide_pair_of_rows(args: Arguments) -> Outputs:
    shape = (*args["input"].shape[:-1], 1)
    return TensorSpec(shape, "float64"), TensorSpec(shape, "int64")


def _rows(x: TensorSpec) -> int:
    return x.size // x.shape[-1]


def _row_work(call: OpCall) -> Work:
    # The greatest absolute value, no less than eps, by the grid's greatest.
    x = call.args["input"]
    return Work(compares=x.shape[-1], divides=1).times(_rows(x))


def _row_range_work(call: OpCall) -> Work:
    # Least and greatest, either with 0. s: their distance by the grid's, no less than eps. z: both bounds / s; their
    # distances from the grid's; whether the sum is positive; qmin - min / s and qmax - max / s; clamped.
    x = call.args["input"]
    return Work(compares=2 * (x.shape[-1] - 1) + 6, adds=6, divides=3).times(_rows(x))


def _access(call: OpCall, output: int) -> AccessMap:
    # One scale for all; one for each position along the axis; one for each row, or for each group in a row.
    x, args = call.args["input"], call.args
    own = aligned(x, call.outputs[output])
    maps: dict[str, tuple[AxisMap, ...]] = {"input": own}
    for name, t in call.tensors():
        if name.startswith(("scale", "zero_point")):
            along: AxisMap = Affine(args["axis"]) if "axis" in args else Fixed(0)
            if not t.shape:
                maps[name] = ()
            elif "group_size" in args:
                maps[name] = (*own[:-1], All())
            else:
                maps[name] = (along,) if len(t.shape) == 1 else (*own[:-1], Fixed(0))
    return maps


_SOURCE = f"torch.ao.quantization.fx._decomposed; {SOURCE}"
_TO_INTS = _of_dtype("dtype")
_TO_NUMBERS = _of_dtype("out_dtype", "output_dtype")
_OF_ROWS = all_of("input", (-1,))


def _rule(
    target: str,
    outputs: Callable[[Arguments], Outputs],
    work: Callable[[OpCall], Work],
    *cases: tuple[object, ...],
    access: Callable[[OpCall, int], AccessMap] = _access,
    fusible: bool = True,
) -> Rule:
    return Rule(
        targets=(f"quantized_decomposed.{target}",), kind=always("other"), outputs=outputs, work=work,
        traffic=every_argument, access=access, temporaries=no_temporaries, fusible=fusible, source=_SOURCE,
        free_because=None, examples=tuple(example(*case) for case in cases),
    )  # fmt: skip


_GRID = (-128, 127, "int8")

register(
    _rule("quantize_per_tensor.default", _TO_INTS, _each(QUANTISED), (_X, 0.1, 0, *_GRID)),
    _rule("quantize_per_tensor.tensor", _TO_INTS, _each(QUANTISED), (_X, _SCALE, _ZERO, *_GRID)),
    _rule("quantize_per_tensor.tensor2", _TO_INTS, _each(QUANTISED), (_X, _SCALE, _ZERO, _ZERO, _ZERO, "int8")),
    _rule("quantize_per_channel.default", _TO_INTS, _each(QUANTISED), (_X, _SCALES, _ZEROS, 0, *_GRID)),
    _rule("quantize_per_token.default", _TO_INTS, _each(QUANTISED), (_X, _ROW_SCALES, _ROW_ZEROS, *_GRID)),
    _rule("quantize_per_channel_group.default", _TO_INTS, _each(QUANTISED),
          (_X, _GROUP_SCALES, _GROUP_ZEROS, *_GRID, 4)),
    _rule("dequantize_per_tensor.default", _TO_NUMBERS, _dequantised, (_Q, 0.1, 0, *_GRID)),
    _rule("dequantize_per_tensor.tensor", _TO_NUMBERS, _dequantised, (_Q, _SCALE, _ZERO, *_GRID)),
    _rule("dequantize_per_tensor.tensor2", _TO_NUMBERS, _dequantised, (_Q, _SCALE, _ZERO, _ZERO, _ZERO, "int8")),
    _rule("dequantize_per_channel.default", _TO_NUMBERS, _dequantised, (_Q, _SCALES, _ZEROS, 0, *_GRID),
          (_Q, _SCALES, None, 0, *_GRID)),
    _rule("dequantize_per_token.default", _TO_NUMBERS, _dequantised,
          (_Q, _ROW_SCALES, _ROW_ZEROS, *_GRID, "float32")),
    _rule("dequantize_per_channel_group.default", _TO_NUMBERS, _dequantised,
          (_Q, _GROUP_SCALES, _GROUP_ZEROS, *_GRID, 4, "float32"), (_Q, _GROUP_SCALES, None, *_GRID, 4, "float32")),
    _rule("fake_quant_per_channel.default", _of_dtype(), _each(QUANTISED + DEQUANTISED),
          (_X, _SCALES, _ZEROS, 0, -128, 127)),
    _rule("convert_element_type.no_fuse", _TO_INTS, no_work, (_X, "float16"), fusible=False),
    _rule("choose_qparams.tensor", _pair, _range_work, (_X, -128, 127, 1e-5, "int8"), access=everything,
          fusible=False),
    _rule("choose_qparams_symmetric.tensor", _pair, _symmetric_work, (_X, -128, 127, 1e-5, "int8"),
          access=everything, fusible=False),
    _rule("choose_qparams_per_token.default", _pair_of_rows, _row_work, (_X, "int8"), access=_OF_ROWS,
          fusible=False),
    _rule("choose_qparams_per_token_asymmetric.default", _wide_pair_of_rows, _row_range_work,
          (_X, "int8"), access=_OF_ROWS, fusible=False),
)  # fmt: skip
