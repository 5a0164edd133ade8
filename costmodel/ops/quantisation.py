"""Real numbers to integers on a grid and back: what every op on quantised tensors is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from costmodel.access import AccessMap
from costmodel.errors import NeedsValuesError
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import pointwise
from costmodel.ops.complex_numbers import Arithmetic, by_parts
from costmodel.ops.rule import Outputs, Rule, Torch, always, moved, no_temporaries
from costmodel.quantities import Traffic, Work

SOURCE = "Jacob et al., Quantization and Training of Neural Networks, arXiv:1712.05877"

QUANTISED = Work(multiplies=1, adds=1, compares=2)
"""One number to an integer, q = clamp(round(x / s) + z): times 1 / s, plus z, clamped from both sides. Sums of products
of integers are brought to another grid by as much: their scale s1 s2 / s3 is one number, too (sections 2.1, 2.4)."""

DEQUANTISED = Work(adds=1, multiplies=1)
"""One integer to a number: x = s (q - z)."""


def on_grids(work: Callable[[OpCall], Work]) -> Arithmetic:
    """Of a function of real numbers: what is quantised becomes real first, and the result an integer again."""
    counted = work if isinstance(work, Arithmetic) else by_parts(work)

    def real(call: OpCall) -> Work:
        y = call.outputs[0]
        is_quantised = y.dtype.startswith("q")
        return counted.real(call) + (DEQUANTISED + QUANTISED).times(y.size if is_quantised else 0)

    return Arithmetic(real, counted.complex)


def requantised(x: TensorSpec, y: TensorSpec) -> Work:
    """Sums of integers to real numbers, on which a function is computed, and to integers: one scale each."""
    return Work(multiplies=1).times(y.size) + QUANTISED.times(y.size)


def range_of(x: TensorSpec) -> Work:
    """The grid of a tensor by its values: least and greatest, and from those a scale and a zero point."""
    return Work(compares=2 * max(x.size - 1, 0), adds=2, divides=2)


def needs_values(args: Arguments) -> Outputs:
    """A quantised tensor, of which torch has no views without values."""
    raise NeedsValuesError("a quantised tensor is made, which torch cannot look into without values")


def all_but_out(call: OpCall) -> Traffic:
    """All tensor arguments read once, all outputs written once; some ops list what they write as an argument."""
    return moved((t for name, t in call.tensors() if name != "out"), call.outputs)


def quantised_rule(
    *targets: str,
    work: Callable[[OpCall], Work],
    kind: str,
    access: Callable[[OpCall, int], AccessMap] = pointwise,
    outputs: Callable[[Arguments], Outputs] | Torch = needs_values,
    traffic: Callable[[OpCall], Traffic] = all_but_out,
    fusible: bool = True,
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
) -> Rule:
    """The rule of an op on quantised tensors."""
    return Rule(
        targets=targets, kind=always(kind), outputs=outputs, work=work, traffic=traffic, access=access,
        temporaries=temporaries, fusible=fusible, source=SOURCE, free_because=None, examples=(),
    )  # fmt: skip
