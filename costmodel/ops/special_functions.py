"""Special functions: each is one transcendental function, unless it is defined by others."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import pointwise
from costmodel.ops.elementwise import each, elementwise, float_casts, floating
from costmodel.ops.rule import Example, Outputs, Rule, always, every_argument, example, no_temporaries, register
from costmodel.ops.versions import Change, has
from costmodel.quantities import Work

_X = TensorSpec((2, 3, 4))
_Y = TensorSpec((3, 1))
_I = TensorSpec((3, 4), "int64")
_ONE = "one transcendental function (Abramowitz & Stegun, Handbook of Mathematical Functions)"
_BITS = "bit operations, not arithmetic"


def _order_first(args: Arguments) -> TensorSpec:
    return floating({"self": args["self"]})


def _gamma_work(call: OpCall) -> Work:
    # The sum of lgamma(x - j / 2) for j below p, and a constant.
    p = call.args["p"]
    return Work(transcendentals=p, adds=(p - 1) + (p - 1) + 1).times(call.outputs[0].size)


def _arguments_of_gamma(args: Arguments) -> list[TensorSpec]:
    """Each x - j / 2."""
    y = _contiguous({"self": args["self"]})
    return [TensorSpec((*y.shape, args["p"]), y.dtype)]


def _arguments_and_sum(args: Arguments) -> list[TensorSpec]:
    """The same, and their sum, which is then copied."""
    return [*_arguments_of_gamma(args), _contiguous({"self": args["self"]})]


def _powers(tensors: int) -> Callable[[Arguments], list[TensorSpec]]:
    """The power of two; in place the exponent in its dtype weighs too, which is gone when another output is made."""

    def temporaries(args: Arguments) -> list[TensorSpec]:
        x, exponent = args["self"], args["other"]
        if has(Change.POWER_OF_TWO_IN_PLACE) and layout.category(x.dtype) == 2 and layout.category(exponent.dtype) < 2:
            return []
        y = floating(args)
        cast = [] if x.dtype == y.dtype else [TensorSpec(x.shape, y.dtype)]
        power = TensorSpec(exponent.shape, floating({"other": exponent}).dtype)
        return [*[power] * tensors, *cast]

    return temporaries


def _decimals_work(call: OpCall) -> Work:
    # Times a power of ten, rounded, and back.
    return Work() if call.args["decimals"] == 0 else Work(multiplies=1, divides=1).times(call.outputs[0].size)


def _mantissa_and_exponent(args: Arguments) -> Outputs:
    x = layout.elementwise(args)
    return x, TensorSpec(x.shape, "int32", x.strides)


def _contiguous(args: Arguments) -> TensorSpec:
    y = floating(args)
    return TensorSpec(y.shape, y.dtype)


def _functions(*names: str, examples: tuple[Example, ...], source: str = _ONE) -> Rule:
    return elementwise(
        *(f"aten.{name}.default" for name in names), work=each(transcendentals=1), kind="other", outputs=floating,
        temporaries=float_casts, source=source, examples=examples,
    )  # fmt: skip


_UNARY, _BINARY, _INTS = (example(_X), example(_I)), (example(_X, _Y), example(_X, _I)), (example(_I, _I),)

register(
    _functions(
        "i0", "i0_", "special_i0e", "special_i1", "special_i1e", "special_erfcx", "special_ndtri", "special_log_ndtr",
        "special_airy_ai", "special_bessel_j0", "special_bessel_j1", "special_bessel_y0", "special_bessel_y1",
        "special_modified_bessel_i0", "special_modified_bessel_i1", "special_modified_bessel_k0",
        "special_modified_bessel_k1", "special_scaled_modified_bessel_k0", "special_scaled_modified_bessel_k1",
        "special_spherical_bessel_j0", examples=(example(_X),),
    ),
    _functions("igamma", "igamma_", "igammac", "igammac_", examples=(example(_X, _Y),)),
    _functions(
        "special_zeta",
        *(f"special_{kind}" for kind in (
            "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w",
            "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
            "shifted_chebyshev_polynomial_w", "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l",
            "legendre_polynomial_p",
        )),
        examples=_BINARY, source="one function, for only values tell a polynomial's degree",
    ),
    elementwise("aten.polygamma.default", work=each(transcendentals=1), kind="other", outputs=_order_first,
                temporaries=float_casts,
                source=_ONE, examples=(example(2, _X),)),
    elementwise("aten.polygamma_.default", work=each(transcendentals=1), kind="other", outputs=_order_first,
                source=_ONE, examples=(example(_X, 2),)),
    *(
        elementwise(f"aten.{name}.default", work=_gamma_work, kind="other", outputs=_contiguous,
                    temporaries=temporaries, source="torch.special.multigammaln",
                    examples=(example(TensorSpec((2, 3)), 1),))
        for name, temporaries in (("mvlgamma", _arguments_of_gamma), ("mvlgamma_", _arguments_and_sum))
    ),
    elementwise("aten.special_entr.default", work=each(transcendentals=1, multiplies=1), kind="other",
                outputs=floating, temporaries=float_casts, source="-x log(x)", examples=_UNARY),
    elementwise("aten.special_xlog1py.default", work=each(transcendentals=1, multiplies=1), kind="other",
                outputs=floating, temporaries=float_casts, source="x log(1 + y)", examples=_BINARY),
    elementwise("aten.logaddexp2.default", work=each(compares=1, adds=3, transcendentals=2), kind="other",
                source="max(a, b) + log2(1 + 2^(-|a - b|))", examples=(example(_X, _Y),)),
    elementwise("aten.gcd.default", "aten.gcd_.default", work=each(transcendentals=1), kind="other", examples=_INTS,
                source="one function, for only values tell how often Euclid's algorithm divides"),
    elementwise("aten.lcm.default", "aten.lcm_.default", work=each(transcendentals=1, divides=1, multiplies=1),
                kind="other", examples=_INTS, source="|a| / gcd(a, b) * |b|"),
    *(
        elementwise(target, work=each(transcendentals=1, multiplies=1), kind="other", outputs=floating,
                    temporaries=temporaries, examples=(example(_X, _I),), source="x * 2^e")
        for target, temporaries in (("aten.ldexp.Tensor", _powers(1)), ("aten.ldexp_.default", _powers(2)))
    ),
    elementwise("aten.nextafter.default", "aten.nextafter_.default", work=each(), kind="other",
                examples=(example(_X, _Y),), source=_BITS),
    elementwise("aten.round.decimals", "aten.round_.decimals", work=_decimals_work, kind="other",
                examples=(example(_X, decimals=2), example(_X, decimals=-1)), source="round(x * 10^d) / 10^d"),
    Rule(
        targets=("aten.frexp.Tensor",), kind=always("other"), outputs=_mantissa_and_exponent, work=each(),
        traffic=every_argument, access=pointwise, temporaries=no_temporaries, fusible=True, source=_BITS,
        free_because=None, examples=(example(_X),),
    ),
)  # fmt: skip
