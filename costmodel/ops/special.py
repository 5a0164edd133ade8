"""The long tail of elementwise ops: bits, complex numbers, rarer functions."""

from __future__ import annotations

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.complex_numbers import FUNCTIONS, LOG_ADD_EXP, Arithmetic, as_counted, by_parts
from costmodel.ops.elementwise import each, elementwise, float_casts, floating, per_element
from costmodel.ops.rule import Rule, always, every_argument, example, no_temporaries, register

_X = TensorSpec((2, 3, 4))
_Y = TensorSpec((3, 1))
_I = TensorSpec((2, 3), "int64")
_B = TensorSpec((2, 3), "bool")
_C = TensorSpec((2, 3), "complex64")
_BITS = "bit operations, not arithmetic"


def _boolean(args: Arguments) -> TensorSpec:
    return layout.elementwise(args, "bool")


def _like_self(args: Arguments) -> TensorSpec:
    return layout.elementwise(args, args["self"].dtype)


def _angle(args: Arguments) -> TensorSpec:
    y = floating(args)
    if layout.category(y.dtype) == 3:
        return TensorSpec(y.shape, layout.real_dtype(y.dtype))
    return y


def _complex(args: Arguments) -> TensorSpec:
    y = layout.elementwise(args)
    return TensorSpec(y.shape, layout.complex_dtype(y.dtype), y.strides)


def _cross_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.outputs[0].shape)
    dim = call.args["dim"] % rank
    axis_maps: tuple[AxisMap, ...] = tuple(All() if d == dim else Affine(d) for d in range(rank))
    return {name: axis_maps for name, _ in call.tensors()}


def _cross(args: Arguments) -> TensorSpec:
    shape = layout.broadcast([args["self"].shape, args["other"].shape])
    return TensorSpec(shape, layout.result_dtype([args["self"], args["other"]]))


_TWO_INTS, _INT_AND_NUMBER = (example(_I, _I),), (example(_I, 2),)

register(
    *(
        elementwise(f"aten.{c}_.Tensor", work=each(compares=1), kind="other", outputs=_like_self,
                    examples=(example(_X, _Y),))
        for c in ("eq", "ne", "lt", "le", "gt", "ge")
    ),
    *(
        elementwise(f"aten.{c}_.Scalar", work=each(compares=1), kind="other", outputs=_like_self,
                    examples=(example(_X, 2),))
        for c in ("eq", "ne", "lt", "le", "gt", "ge")
    ),
    elementwise(
        *(f"aten.bitwise_{f}{place}.Scalar" for f in ("and", "or", "xor") for place in ("", "_")),
        work=each(), kind="other", examples=_INT_AND_NUMBER, source=_BITS,
    ),
    elementwise(
        *(f"aten.bitwise_{side}_shift{place}.Tensor" for side in ("left", "right") for place in ("", "_")),
        work=each(), kind="other", examples=_TWO_INTS, source=_BITS,
    ),
    elementwise(
        *(f"aten.bitwise_{side}_shift{place}.Tensor_Scalar" for side in ("left", "right") for place in ("", "_")),
        "aten.__lshift__.Scalar", "aten.__rshift__.Scalar",
        work=each(), kind="other", examples=_INT_AND_NUMBER, source=_BITS,
    ),
    elementwise("aten.signbit.default", work=each(), kind="other", outputs=_boolean,
                examples=(example(_X),), source=_BITS),
    elementwise("aten.copysign.Tensor", work=each(), kind="other", outputs=floating, temporaries=float_casts,
                examples=(example(_X, _Y),), source=_BITS),
    elementwise("aten.copysign.Scalar", work=each(), kind="other", outputs=floating, temporaries=float_casts,
                examples=(example(_X, -1.0),), source=_BITS),
    elementwise(
        "aten.heaviside.default", work=each(compares=1), kind="other", examples=(example(_X, _X),),
        source="0, 1 or the given value, by the sign",
    ),
    elementwise(
        "aten.nan_to_num.default", "aten.nan_to_num_.default", work=each(compares=3), kind="other",
        examples=(example(_X),),
        source="NaN, +inf and -inf are each compared for",
    ),
    elementwise(
        "aten.atan2.default", "aten.atan2_.default", work=each(transcendentals=1), kind="other", outputs=floating,
        temporaries=float_casts,
        examples=(example(_X, _Y),) , source="one transcendental function",
    ),
    elementwise(
        "aten.hypot.default", work=each(multiplies=2, adds=1, transcendentals=1), kind="other",
        examples=(example(_X, _Y),),
        source="sqrt(a**2 + b**2)",
    ),
    elementwise(
        "aten.logaddexp.default", kind="other", examples=(example(_X, _Y),),
        source="max(a, b) + log(1 + exp(-|a - b|))",
        work=Arithmetic(each(compares=1, adds=3, transcendentals=2), per_element(LOG_ADD_EXP)),
    ),
    elementwise(
        "aten.xlogy.Tensor", work=each(multiplies=1, transcendentals=1), kind="other", outputs=floating,
        temporaries=float_casts,
        examples=(example(_X, _Y),), source="a * log(b)",
    ),
    elementwise(
        "aten.sinc.default", kind="other", outputs=floating, temporaries=float_casts,
        work=by_parts(each(multiplies=1, transcendentals=1, divides=1), FUNCTIONS["sin"]),
        examples=(example(_X),), source="sin(pi x) / (pi x)",
    ),
    elementwise(
        "aten.deg2rad.default", "aten.rad2deg.default", work=each(multiplies=1), kind="multiply", outputs=floating,
        temporaries=float_casts,
        examples=(example(_X),), source="times a constant",
    ),
    elementwise(
        "aten.angle.default", work=as_counted(each(transcendentals=1)), kind="other", outputs=_angle,
        temporaries=float_casts,
        examples=(example(_X), example(_C)), source="atan2 of the parts",
    ),
    elementwise(
        "aten.complex.default", work=each(), kind="other", outputs=_complex, examples=(example(_X, _Y),),
        source="two parts side by side: a copy",
    ),
    elementwise(
        "aten.polar.default", work=each(transcendentals=2, multiplies=2), kind="other", outputs=_complex,
        examples=(example(_X, _X),), source="(r cos a, r sin a)",
    ),
    Rule(
        targets=("aten.linalg_cross.default",), kind=always("other"), outputs=_cross, work=each(multiplies=2, adds=1),
        traffic=every_argument, access=_cross_access, temporaries=no_temporaries, fusible=False,
        source="each of three components is a difference of two products", free_because=None,
        examples=(example(TensorSpec((2, 3)), TensorSpec((2, 3))),),
    ),
)  # fmt: skip
