"""Arithmetic on complex numbers, counted as arithmetic on their real and imaginary parts.

A rule states its work in numbers, and ``Rule`` counts it in real ones where an op computes with complex ones. A number
that meets a complex one is complex: torch casts both to their common dtype before it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from costmodel.graph import OpCall, TensorSpec
from costmodel.quantities import Work
from costmodel.records import dataclass

WorkOf = Callable[[OpCall], Work]

ABSOLUTE = Work(multiplies=2, adds=1, transcendentals=1)
"""|z| = sqrt(a a + b b), z = a + i b."""
EXP = Work(transcendentals=3, multiplies=2)
"""exp(z) = exp(a) (cos b + i sin b)."""


def in_parts(work: Work, function: Work = EXP) -> Work:
    """Operations on complex numbers as operations on their parts; ``function`` is what a transcendental one costs.

    (a + i b)(c + i d) = ac - bd + i (ad + bc), and the quotient is ((ac + bd) + i (bc - ad)) / (cc + dd).
    A multiply-accumulate is four real ones. Numbers are equal if both parts are.

    >>> in_parts(Work(multiplies=1)).flops, in_parts(Work(macs=1)).flops, in_parts(Work(divides=1)).flops
    (6, 8, 11)
    """
    products, quotients, functions = work.multiplies, work.divides, work.transcendentals
    return Work(
        macs=4 * work.macs,
        adds=2 * work.adds + 2 * products + 3 * quotients + function.adds * functions,
        multiplies=4 * products + 6 * quotients + function.multiplies * functions,
        divides=2 * quotients + function.divides * functions,
        compares=2 * work.compares + function.compares * functions,
        transcendentals=function.transcendentals * functions,
        macs_on_padding=4 * work.macs_on_padding,
    )


_ADD, _MULTIPLY, _DIVIDE = in_parts(Work(adds=1)), in_parts(Work(multiplies=1)), in_parts(Work(divides=1))
LOG = ABSOLUTE + Work(transcendentals=2)
"""log(z) = log |z| + i atan2(b, a)."""
_SQRT = ABSOLUTE + Work(adds=2, multiplies=2, transcendentals=2)
_SIN = Work(transcendentals=4, multiplies=2)
TANH = Work(multiplies=2, transcendentals=4, adds=1, divides=2)
"""tanh(z) = (sinh 2a + i sin 2b) / (cosh 2a + cos 2b)."""
_ARCSIN = _MULTIPLY + _ADD + _SQRT + _ADD + LOG
_ARCTAN = _ADD + _ADD + _DIVIDE + LOG + _MULTIPLY
LOG_ADD_EXP = Work(compares=1) + _ADD.times(3) + EXP + LOG
"""log(exp(z) + exp(w)) = m + log(1 + exp(l - m)), m of the greater real part, l the other."""

FUNCTIONS: Mapping[str, Work] = {
    "exp": EXP,
    "exp2": _MULTIPLY + EXP,  # exp(z log 2)
    "expm1": EXP + _ADD,
    "log": LOG,
    "log2": LOG + _MULTIPLY,
    "log10": LOG + _MULTIPLY,
    "log1p": _ADD + LOG,
    "pow": LOG + _MULTIPLY + EXP,  # exp(w log z)
    "sqrt": _SQRT,  # sqrt((|z| + a) / 2) +- i sqrt((|z| - a) / 2)
    "rsqrt": _SQRT + _DIVIDE,
    "sin": _SIN,  # sin a cosh b + i cos a sinh b
    "cos": _SIN,
    "sinh": _SIN,
    "cosh": _SIN,
    "tan": TANH,  # (sin 2a + i sinh 2b) / (cos 2a + cosh 2b)
    "tanh": TANH,
    "asin": _ARCSIN,  # -i log(i z + sqrt(1 - z z))
    "acos": _ARCSIN,  # -i log(z + i sqrt(1 - z z))
    "asinh": _ARCSIN,  # log(z + sqrt(z z + 1))
    "acosh": _ARCSIN,  # log(z + sqrt(z z - 1))
    "atan": _ARCTAN,  # i / 2 log((i + z) / (i - z))
    "atanh": _ARCTAN,  # 1 / 2 log((1 + z) / (1 - z))
}
"""What one value of a function costs. Multiplying by i swaps the parts, and is no arithmetic.

Source: Abramowitz & Stegun, Handbook of Mathematical Functions, section 3.7 for the root, chapter 4 for the others.
"""


def function_of(op: str) -> Work:
    """What one value of the function costs that an op is named after; as much as ``exp`` where none is listed.

    >>> function_of("aten.tanh_.default") == function_of("aten._foreach_tanh.default") == TANH
    True
    """
    return FUNCTIONS.get(op.split(".")[1].removeprefix("_foreach_").removesuffix("_"), EXP)


def is_complex(call: OpCall) -> bool:
    """Whether an op computes with complex numbers: it is given some."""
    for value in call.args.values():
        kind = type(value)
        if kind is TensorSpec:
            if "complex" in value.dtype:
                return True
        elif kind is list:
            if any(type(item) is TensorSpec and "complex" in item.dtype for item in value):
                return True
        elif kind is complex:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The work of an op: with real numbers, and with complex ones, counted in operations on real numbers."""

    real: WorkOf
    complex: WorkOf

    def __call__(self, call: OpCall) -> Work:
        """The work of one call."""
        return (self.complex if is_complex(call) else self.real)(call)


def by_parts(work: WorkOf, function: Work = EXP) -> Arithmetic:
    """What ``work`` does, with complex numbers on their parts; ``function`` is what its transcendental ones cost."""
    return Arithmetic(work, lambda call: in_parts(work(call), function))


def as_counted(work: WorkOf) -> Arithmetic:
    """Work that is stated in operations on real numbers, whatever the op is given."""
    return Arithmetic(work, work)
