"""Activations: what each costs per element, and softmax and GLU, which look along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from costmodel.formulas._arguments import as_shape, public, require_divisible, require_one_of
from costmodel.formulas._complex_numbers import MAGNITUDE, TANH, on_numbers
from costmodel.formulas.cost import NO_WORK, LayerCost, as_one
from costmodel.formulas.elementwise import pointwise_kernel, view
from costmodel.quantities import Count, Work, prod


@dataclass(frozen=True, kw_only=True, slots=True)
class Activation:
    """One row of the table: the formula, its work per element, and how often an element is read and written."""

    formula: str
    work: Work
    reads: int = 1
    writes: int = 1
    complex_work: Work | None = None
    """The work on a complex element, where torch takes some."""


_SIGMOID = Work(transcendentals=1, adds=1, divides=1)
_COMPLEX_SIGMOID = on_numbers(_SIGMOID, complex_valued=True)
_ELU = Work(compares=1, transcendentals=1, adds=1, multiplies=1)
_HARDSIGMOID = Work(adds=1, compares=2, divides=1)
_SLOPE = Work(compares=1, multiplies=1)

ACTIVATIONS: Mapping[str, Activation] = {
    "identity": Activation(formula="x", work=NO_WORK, reads=0, writes=0, complex_work=NO_WORK),
    "relu": Activation(formula="max(x, 0)", work=Work(compares=1)),
    "relu6": Activation(formula="min(max(x, 0), 6)", work=Work(compares=2)),
    "hardtanh": Activation(formula="min(max(x, low), high)", work=Work(compares=2)),
    "threshold": Activation(formula="x if x > t else v", work=Work(compares=1)),
    "leaky_relu": Activation(formula="x if x > 0 else a x", work=_SLOPE),
    "prelu": Activation(formula="x if x > 0 else w x, w learnt", work=_SLOPE),
    "rrelu": Activation(formula="x if x > 0 else a x, at inference", work=_SLOPE),
    "elu": Activation(formula="x if x > 0 else a (exp(x) - 1)", work=_ELU),
    "selu": Activation(formula="s elu(x)", work=_ELU + Work(multiplies=1)),
    "celu": Activation(formula="x if x > 0 else a (exp(x / a) - 1)", work=_ELU + Work(divides=1)),
    "sigmoid": Activation(formula="1 / (1 + exp(-x))", work=_SIGMOID, complex_work=_COMPLEX_SIGMOID),
    "logsigmoid": Activation(formula="-log(1 + exp(-x))", work=Work(transcendentals=2, adds=1)),
    "tanh": Activation(formula="tanh(x)", work=Work(transcendentals=1), complex_work=TANH),
    # Two kernels: tanh, and a difference that reads x and tanh(x).
    "tanhshrink": Activation(
        formula="x - tanh(x)",
        work=Work(transcendentals=1, adds=1),
        reads=3,
        writes=2,
        complex_work=TANH + on_numbers(Work(adds=1), complex_valued=True),
    ),
    "silu": Activation(
        formula="x sigmoid(x)",
        work=_SIGMOID + Work(multiplies=1),
        complex_work=_COMPLEX_SIGMOID + on_numbers(Work(multiplies=1), complex_valued=True),
    ),
    "gelu": Activation(formula="0.5 x (1 + erf(x / sqrt 2))", work=Work(multiplies=3, transcendentals=1, adds=1)),
    "gelu_tanh": Activation(
        formula="0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))",
        work=Work(multiplies=6, adds=2, transcendentals=1),
    ),
    "mish": Activation(formula="x tanh(log(1 + exp(x)))", work=Work(transcendentals=3, adds=1, multiplies=1)),
    "softplus": Activation(
        formula="log(1 + exp(b x)) / b, x above a threshold",
        work=Work(multiplies=1, transcendentals=2, adds=1, divides=1, compares=1),
    ),
    # Three kernels: |x|, 1 + |x|, and a quotient that reads two.
    "softsign": Activation(
        formula="x / (1 + |x|)",
        work=Work(adds=1, divides=1),
        reads=4,
        writes=3,
        complex_work=MAGNITUDE + Work(adds=1) + on_numbers(Work(divides=1), complex_valued=True),
    ),
    "hardsigmoid": Activation(formula="relu6(x + 3) / 6", work=_HARDSIGMOID),
    "hardswish": Activation(formula="x relu6(x + 3) / 6", work=_HARDSIGMOID + Work(multiplies=1)),
    "hardshrink": Activation(formula="x if |x| > l else 0", work=Work(compares=2)),
    "softshrink": Activation(formula="x -+ l if |x| > l else 0", work=Work(compares=2, adds=1)),
}
"""What one element costs, by name. Sign flips and absolute values of real numbers are not arithmetic."""

COMPLEX_VALUED = tuple(name for name, row in ACTIVATIONS.items() if row.complex_work is not None)
ALONG_AN_AXIS = ("softmax", "log_softmax", "softmin", "glu")


@public
def activation(
    *,
    name: str,
    shape: Sequence[Count] | Count,
    dim: int = -1,
    num_parameters: Count = 1,
    complex_valued: bool = False,
) -> LayerCost:
    """An activation of a tensor of ``shape``, or of that many elements.

    flops = elements times the operations of ACTIVATIONS[name]
    memory_access = x + y; prelu x + w + y; tanhshrink 5 x (two kernels), softsign 7 x (three), softmin 4 x (two)
    params = num_parameters for prelu

    Complex-valued, as torch has it, are identity, sigmoid, tanh, tanhshrink, silu and softsign.
    ``dim`` is the axis that softmax, log_softmax, softmin and glu look along, ``num_parameters`` prelu's.
    Sources: relu Nair & Hinton 2010; relu6 arXiv:1704.04861; prelu arXiv:1502.01852; elu arXiv:1511.07289; selu
    arXiv:1706.02515; gelu arXiv:1606.08415; silu arXiv:1710.05941; mish arXiv:1908.08681; hardswish arXiv:1905.02244.

    >>> activation(name="silu", shape=(1, 32, 112, 112)).flops == 4 * 32 * 112 * 112
    True
    >>> activation(name="hardswish", shape=100).flops
    500
    """
    require_one_of(name=name, choices=COMPLEX_VALUED if complex_valued else (*ACTIVATIONS, *ALONG_AN_AXIS))
    shape = as_shape(shape)
    if name == "glu":
        return glu(shape=shape, dim=dim)
    if name == "softmin":
        negated = pointwise_kernel("activation", shape, reads=prod(shape))
        return as_one("activation", negated, softmax(shape=shape, dim=dim))
    if name in ALONG_AN_AXIS:
        return softmax(shape=shape, dim=dim, log=name == "log_softmax")
    row = ACTIVATIONS[name]
    if name == "identity":
        return view(shape=shape)
    elements = prod(shape)
    weights = num_parameters if name == "prelu" else 0
    layer = pointwise_kernel(
        "activation",
        shape,
        per_element=row.complex_work if complex_valued and row.complex_work is not None else row.work,
        reads=row.reads * elements + weights,
        writes=row.writes * elements,
    )
    return as_one("activation", layer, params=weights)


@public
def softmax(*, shape: Sequence[Count], dim: int = -1, log: bool = False) -> LayerCost:
    """exp(x - max) / sum along ``dim``, or its logarithm; R rows of n.

    flops = R (n - 1) compares + R n and R (n - 1) adds + R n exp + R n divisions
    flops = R (n - 1) compares + 2 R n and R (n - 1) adds + R n exp + R log, for the logarithm
    memory_access = x + y

    Source: Bridle 1990; the maximum is subtracted first, as every library does.

    >>> softmax(shape=(1, 1000)).flops
    4998
    """
    rows = prod(shape[: dim % len(shape)]) * prod(shape[dim % len(shape) + 1 :])
    elements = prod(shape)
    work = Work(
        compares=elements - rows,
        adds=(2 * elements if log else elements) + elements - rows,
        transcendentals=elements + rows if log else elements,
        divides=0 if log else elements,
    )
    whole = pointwise_kernel("activation", shape, reads=elements)
    return LayerCost(
        kind="activation",
        output_shape=whole.output_shape,
        output_size=whole.output_size,
        read=whole.read,
        written=whole.written,
        work=work,
    )


@public
def glu(*, shape: Sequence[Count], dim: int = -1) -> LayerCost:
    """The first half of ``dim`` times the sigmoid of the second; ``shape`` is the input's.

    flops = 4 per output element: a sigmoid of 3, and a product
    memory_access = x + y, y half of x

    Source: Dauphin et al., arXiv:1612.08083, section 2.

    >>> glu(shape=(8, 64)).output_shape, glu(shape=(8, 64)).flops
    ((8, 32), 1024)
    """
    axis = dim % len(shape)
    require_divisible(**{f"shape[{dim}]": shape[axis]}, by="halves", divisor=2)
    halved = (*shape[:axis], shape[axis] // 2, *shape[axis + 1 :])
    return pointwise_kernel("activation", halved, per_element=_SIGMOID + Work(multiplies=1), reads=prod(shape))
