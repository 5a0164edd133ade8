"""Elementwise arithmetic, comparisons and functions: one result per position, by broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import pointwise
from costmodel.ops.complex_numbers import ABSOLUTE, FUNCTIONS, Arithmetic, by_parts, function_of
from costmodel.ops.defaults import default_float
from costmodel.ops.rule import Example, Rule, always, every_argument, example, no_temporaries, register
from costmodel.quantities import Work

_X = TensorSpec((2, 3, 4))
_Y = TensorSpec((3, 1))
_I = TensorSpec((2, 3), "int64")
_B = TensorSpec((2, 3), "bool")
_C = TensorSpec((2, 3), "complex64")


def promoted(args: Arguments) -> TensorSpec:
    """A tensor of the operands' common shape and dtype."""
    return layout.elementwise(args)


def floating(args: Arguments) -> TensorSpec:
    """Likewise, of a floating dtype: functions of real numbers turn integers into the default one."""
    y = layout.elementwise(args)
    return y if layout.category(y.dtype) >= 2 else TensorSpec(y.shape, default_float(), y.strides)


def magnitude(args: Arguments) -> TensorSpec:
    """Likewise, of the real dtype of a complex one."""
    y = layout.elementwise(args)
    return TensorSpec(y.shape, layout.real_dtype(y.dtype), y.strides)


def _squared(args: Arguments) -> TensorSpec:
    # A power with the number 2, to which a truth value counts as an integer.
    y = layout.elementwise(args)
    return TensorSpec(y.shape, "int64" if y.dtype == "bool" else y.dtype, y.strides)


def _squared_cast(args: Arguments) -> list[TensorSpec]:
    x, y = args["self"], _squared(args)
    return [] if x.dtype == y.dtype else [TensorSpec(x.shape, y.dtype)]


def _boolean(args: Arguments) -> TensorSpec:
    return layout.elementwise(args, "bool")


def casts(args: Arguments) -> list[TensorSpec]:
    """Copies of the operands that do not have the dtype in which the op computes."""
    tensors = [v for v in args.values() if type(v) is TensorSpec]
    first = tensors[0].dtype
    if "float" in first and all(t.dtype == first for t in tensors) and complex not in map(type, args.values()):
        return []
    dtype = layout.elementwise(args).dtype
    return [TensorSpec(t.shape, dtype) for t in tensors if t.dtype != dtype]


def float_casts(args: Arguments) -> list[TensorSpec]:
    """The same of an op that computes with real numbers: integers become floating."""
    dtype = floating(args).dtype
    tensors = [v for v in args.values() if type(v) is TensorSpec]
    return [TensorSpec(t.shape, dtype) for t in tensors if t.dtype != dtype]


def _masked_fill(args: Arguments) -> TensorSpec:
    # Filled in a copy that torch makes contiguous, whatever the input's layout.
    x = args["self"]
    return TensorSpec(layout.broadcast([x.shape, args["mask"].shape]), x.dtype)


def _selected_casts(args: Arguments) -> list[TensorSpec]:
    dtype = layout.result_dtype([args["self"], args["other"]])
    return [TensorSpec(t.shape, dtype) for t in (args["self"], args["other"]) if t.dtype != dtype]


def _absolute(args: Arguments) -> list[TensorSpec]:
    """Of floats, |x| is compared with infinity; the answer for imaginary parts is joined to that for real ones."""
    x = args["self"]
    parts = layout.category(x.dtype) - 1
    if parts < 1:
        return []
    return [TensorSpec(x.shape, layout.real_dtype(x.dtype)), *[TensorSpec(x.shape, "bool")] * (parts - 1)]


def _absolute_and_comparisons(args: Arguments) -> list[TensorSpec]:
    """Of floats: x == x and |x| != infinity."""
    absolute = _absolute(args)
    return [*absolute, *[TensorSpec(args["self"].shape, "bool")] * 2] if absolute else []


def _power_of_number(args: Arguments) -> TensorSpec:
    y = layout.elementwise(args)
    return TensorSpec(y.shape, y.dtype)


def each(**counts: int) -> Callable[[OpCall], Work]:
    """So many operations of each kind for every output element."""
    return per_element(Work(**counts))


def per_element(work: Work) -> Callable[[OpCall], Work]:
    """The same work for every output element."""
    return lambda call: work.times(call.outputs[0].size)


def value_of_function(call: OpCall) -> Work:
    """One value of the function that the op is named after, for every output element, of complex numbers."""
    return function_of(call.op).times(call.outputs[0].size)


ONE_FUNCTION = Arithmetic(each(transcendentals=1), value_of_function)
"""One transcendental function of every element, which the op is named after."""


def elementwise(
    *targets: str,
    work: Callable[[OpCall], Work],
    kind: str,
    examples: tuple[Example, ...],
    outputs: Callable[[Arguments], TensorSpec] = promoted,
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = casts,
    source: str = "torch.Tensor, elementwise",
) -> Rule:
    """The rule of an op that works on each position separately."""
    return Rule(
        targets=targets, kind=always(kind), outputs=outputs, work=work, traffic=every_argument, access=pointwise,
        temporaries=temporaries, fusible=True, source=source, free_because=None, examples=examples,
    )  # fmt: skip


def _add_work(call: OpCall) -> Work:
    # self + alpha * other
    n = call.outputs[0].size
    return Work(adds=n, multiplies=n if call.args.get("alpha", 1) != 1 else 0)


def _pow_work(call: OpCall) -> Work:
    n, exponent = call.outputs[0].size, call.args["exponent"]
    if isinstance(exponent, (int, float)):
        if exponent == -1:
            return Work(divides=n)
        if exponent in (0, 1):
            return Work()
        if float(exponent).is_integer() and exponent > 1:
            return Work(multiplies=n * (int(exponent) - 1))
    return Work(transcendentals=n)


_POWER = by_parts(_pow_work, FUNCTIONS["pow"])


def _clamp_work(call: OpCall) -> Work:
    bounds = sum(call.args.get(side) is not None for side in ("min", "max"))
    return Work(compares=bounds * call.outputs[0].size)


def _scaled(base: Work) -> Callable[[OpCall], Work]:
    # self + value * (a op b)
    def work(call: OpCall) -> Work:
        n = call.outputs[0].size
        return base.times(n) + Work(multiplies=n if call.args.get("value", 1) != 1 else 0)

    return work


def _inplace(*names: str) -> tuple[str, ...]:
    """Each ``name.overload`` and its in-place variant ``name_.overload``."""
    targets = []
    for name in names:
        stem, overload = name.split(".")
        targets += [f"aten.{stem}.{overload}", f"aten.{stem}_.{overload}"]
    return tuple(targets)


_UNARY, _SCALAR = (example(_X),), (example(_X, 2),)
_BINARY = (example(_X, _Y), example(_X, TensorSpec((2, 3, 4), "int64")))

register(
    elementwise(*_inplace("add.Tensor", "sub.Tensor"), work=_add_work, kind="add", examples=_BINARY),
    elementwise(*_inplace("add.Scalar", "sub.Scalar"), work=_add_work, kind="add", examples=_SCALAR),
    elementwise("aten.rsub.Scalar", work=_add_work, kind="add", examples=_SCALAR),
    elementwise("aten.rsub.Tensor", work=_add_work, kind="add", examples=_BINARY),
    elementwise(*_inplace("mul.Tensor"), work=each(multiplies=1), kind="multiply", examples=_BINARY),
    elementwise(*_inplace("mul.Scalar"), work=each(multiplies=1), kind="multiply", examples=_SCALAR),
    elementwise(
        "aten.div.Tensor", work=each(divides=1), kind="multiply", outputs=floating, temporaries=float_casts,
        examples=(*_BINARY, example(_I, _I)),
    ),
    elementwise("aten.div_.Tensor", work=each(divides=1), kind="multiply", examples=_BINARY),
    elementwise(*_inplace("div.Scalar"), work=each(divides=1), kind="multiply", outputs=floating,
                temporaries=float_casts, examples=_SCALAR),
    elementwise(
        *_inplace("div.Tensor_mode"), work=each(divides=1), kind="multiply",
        examples=(example(_X, _Y, rounding_mode="floor"),),
    ),
    elementwise(
        *_inplace("div.Scalar_mode"), work=each(divides=1), kind="multiply",
        examples=(example(_X, 2, rounding_mode="trunc"),),
    ),
    elementwise(
        "aten.floor_divide.default", "aten.floor_divide_.Tensor", *_inplace("remainder.Tensor", "fmod.Tensor"),
        work=each(divides=1), kind="other", examples=(example(_X, _X),),
    ),
    elementwise(
        *_inplace("floor_divide.Scalar", "remainder.Scalar", "fmod.Scalar"), work=each(divides=1), kind="other",
        examples=_SCALAR,
    ),
    elementwise(*_inplace("addcmul.default"), work=_scaled(Work(multiplies=1, adds=1)), kind="add",
                examples=(example(_X, _X, _Y), example(_X, _X, _Y, value=2))),
    elementwise(*_inplace("addcdiv.default"), work=_scaled(Work(divides=1, adds=1)), kind="add",
                examples=(example(_X, _X, _Y),)),
    elementwise(*_inplace("lerp.Scalar"), work=each(adds=2, multiplies=1), kind="add",
                examples=(example(_X, _X, 0.5),)),
    elementwise(*_inplace("lerp.Tensor"), work=each(adds=2, multiplies=1), kind="add", examples=(example(_X, _X, _X),)),
    elementwise(
        "aten.maximum.default", "aten.minimum.default", "aten.fmax.default", "aten.fmin.default",
        work=each(compares=1), kind="other", examples=_BINARY,
    ),
    elementwise(
        *(f"aten.{c}{suffix}.Tensor" for c in ("eq", "ne", "lt", "le", "gt", "ge") for suffix in ("",)),
        work=each(compares=1), kind="other", outputs=_boolean, examples=_BINARY,
    ),
    elementwise(
        *(f"aten.{c}.Scalar" for c in ("eq", "ne", "lt", "le", "gt", "ge")),
        work=each(compares=1), kind="other", outputs=_boolean, examples=_SCALAR,
    ),
    elementwise(*_inplace("clamp.default"), work=_clamp_work, kind="activation",
                examples=(example(_X, 0, 6), example(_X, 0.0))),
    elementwise(*_inplace("clamp.Tensor"), work=_clamp_work, kind="other", examples=(example(_X, _Y),)),
    elementwise(*_inplace("clamp_min.default", "clamp_max.default"), work=each(compares=1), kind="activation",
                examples=_SCALAR),
    elementwise(*_inplace("clamp_min.Tensor", "clamp_max.Tensor"), work=each(compares=1), kind="other",
                examples=_BINARY),
    elementwise("aten.pow.Tensor_Scalar", "aten.pow_.Scalar", work=_POWER, kind="other",
                examples=(example(_X, 2), example(_X, 0.5))),
    elementwise("aten.pow.Tensor_Tensor", "aten.pow_.Tensor", work=_POWER, kind="other",
                examples=(example(_X, _X),)),
    elementwise("aten.pow.Scalar", work=_POWER, kind="other", outputs=_power_of_number,
                examples=(example(2.0, _X),)),
    elementwise(*_inplace("square.default"), work=each(multiplies=1), kind="multiply", outputs=_squared,
                temporaries=_squared_cast, examples=_UNARY),
    elementwise(
        *_inplace("reciprocal.default"), work=each(divides=1), kind="multiply", outputs=floating,
        temporaries=float_casts, examples=_UNARY,
    ),
    elementwise(
        *_inplace(*(f"{f}.default" for f in (
            "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan", "asin",
            "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "erf", "erfc", "erfinv", "lgamma", "digamma",
        ))),
        work=ONE_FUNCTION, kind="other", outputs=floating, temporaries=float_casts, examples=_UNARY,
    ),
    elementwise(
        *_inplace(*(f"{f}.default" for f in ("neg", "sign", "round", "floor", "ceil", "trunc", "frac"))),
        work=each(), kind="other", examples=_UNARY,
        source="sign flips and rounding are bit operations, not arithmetic",
    ),
    elementwise(
        *_inplace("abs.default"), work=Arithmetic(each(), per_element(ABSOLUTE)), kind="other", outputs=magnitude,
        examples=_UNARY, source="a sign flip, no arithmetic; of a complex number sqrt(a a + b b)",
    ),
    elementwise(
        *_inplace("sgn.default"), work=Arithmetic(each(), per_element(ABSOLUTE + Work(divides=2))), kind="other",
        examples=_UNARY, source="a selection, no arithmetic; of a complex number z / |z|",
    ),
    elementwise(
        *_inplace("logical_not.default"), work=each(), kind="other", outputs=_boolean,
        examples=(example(_B), example(_X)), source="bit operations, not arithmetic",
    ),
    elementwise(
        *_inplace("bitwise_not.default"), work=each(), kind="other", examples=(example(_B), example(_I)),
        source="bit operations, not arithmetic",
    ),
    elementwise(
        *_inplace(*(f"{f}.default" for f in ("logical_and", "logical_or", "logical_xor"))),
        work=each(), kind="other", outputs=_boolean, examples=(example(_B, _B),),
        source="bit operations, not arithmetic",
    ),
    elementwise(
        *_inplace(*(f"{f}.Tensor" for f in ("bitwise_and", "bitwise_or", "bitwise_xor"))),
        work=each(), kind="other", examples=(example(_B, _B),), source="bit operations, not arithmetic",
    ),
    elementwise(
        "aten.isnan.default", "aten.isneginf.default", "aten.isposinf.default", work=each(compares=1), kind="other",
        outputs=_boolean, temporaries=no_temporaries, examples=_UNARY,
    ),
    elementwise("aten.isinf.default", work=each(compares=1), kind="other", outputs=_boolean,
                temporaries=_absolute, examples=(*_UNARY, example(_C))),
    elementwise("aten.isfinite.default", work=each(compares=1), kind="other", outputs=_boolean,
                temporaries=_absolute_and_comparisons, examples=(*_UNARY, example(_C))),
    elementwise(
        "aten.where.self", work=each(), kind="other",
        examples=(example(TensorSpec((2, 3, 4), "bool"), _X, _X), example(_B, TensorSpec((2, 3)), _I)),
        outputs=lambda args: layout.elementwise(args, layout.result_dtype([args["self"], args["other"]])),
        temporaries=_selected_casts, source="a selection, no arithmetic",
    ),
    elementwise(
        *_inplace("masked_fill.Scalar"), work=each(), kind="other", outputs=_masked_fill, temporaries=no_temporaries,
        examples=(example(_X, TensorSpec((3, 1), "bool"), 0.0),), source="a selection, no arithmetic",
    ),
    elementwise(
        *_inplace("masked_fill.Tensor"), work=each(), kind="other", outputs=_masked_fill, temporaries=no_temporaries,
        examples=(example(_X, TensorSpec((3, 1), "bool"), TensorSpec(())),), source="a selection, no arithmetic",
    ),
)  # fmt: skip
