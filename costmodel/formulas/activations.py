"""Activations: what each costs per element, and softmax and GLU, which look along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from costmodel.formulas._arguments import as_shape, exact_quotient, public, require_divisible, require_one_of
from costmodel.formulas._complex_numbers import MAGNITUDE, TANH, on_numbers
from costmodel.formulas.cost import NO_WORK, LayerCost, as_one
from costmodel.formulas.elementwise import pointwise_kernel, view
from costmodel.formulas.gradient import (
    NOTHING,
    BackwardCost,
    Extra,
    Gradient,
    Needs,
    Saved,
    WhenTrained,
    always,
    free,
    of_input,
)
from costmodel.quantities import Count, Work, prod
from costmodel.records import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Activation:
    """One row of the table: the formula, its work per element, and how often an element is read and written."""

    formula: str
    work: Work
    reads: int = 1
    writes: int = 1
    complex_work: Work | None = None
    """The work on a complex element, where torch takes some."""
    slope: Work = NO_WORK
    """The work of the gradient: what arrives, times the slope at each position."""
    slope_reads: int = 2
    """What arrives, and what was kept."""
    slope_writes: int = 1
    complex_slope: Work | None = None
    keeps: tuple[str, ...] = ("input",)
    """What is kept for the gradient."""
    slope_of_result: Work | None = None
    """The work of the gradient in place, where it is computed from the result; else the input is copied before."""
    makes: int = 0
    """How often a forward in a training step writes an element that is kept alone."""


_SIGMOID = Work(transcendentals=1, adds=1, divides=1)
_COMPLEX_SIGMOID = on_numbers(_SIGMOID, complex_valued=True)
_ELU = Work(compares=1, transcendentals=1, adds=1, multiplies=1)
_ELU_SLOPE = Work(compares=1, transcendentals=1, multiplies=2)
_ELU_OF_RESULT = Work(compares=1, adds=1, multiplies=1)  # y + a, times what arrives
_HARDSIGMOID = Work(adds=1, compares=2, divides=1)
_LEAKY = Work(compares=1, multiplies=1)
_TWO_CASES, _BETWEEN = Work(compares=1), Work(compares=2)
_OF_RESULT = Work(adds=1, multiplies=2)
_COMPLEX_OF_RESULT = on_numbers(_OF_RESULT, complex_valued=True)

ACTIVATIONS: Mapping[str, Activation] = {
    "identity": Activation(formula="x", work=NO_WORK, reads=0, writes=0, complex_work=NO_WORK),
    "relu": Activation(formula="max(x, 0)", work=Work(compares=1), slope=_TWO_CASES, keeps=("output",)),
    "relu6": Activation(formula="min(max(x, 0), 6)", work=Work(compares=2), slope=_BETWEEN),
    "hardtanh": Activation(formula="min(max(x, low), high)", work=Work(compares=2), slope=_BETWEEN),
    "threshold": Activation(formula="x if x > t else v", work=Work(compares=1), slope=_TWO_CASES),
    "leaky_relu": Activation(formula="x if x > 0 else a x", work=_LEAKY, slope=_LEAKY, slope_of_result=_LEAKY),
    # One kernel makes w g and x g, of the input and of the weight, whichever is asked for.
    "prelu": Activation(
        formula="x if x > 0 else w x, w learnt", work=_LEAKY, slope=Work(compares=1, multiplies=2), slope_writes=2
    ),
    "rrelu": Activation(
        formula="x if x > 0 else a x, at inference", work=_LEAKY, slope=_LEAKY, slope_reads=3, keeps=("input", "slopes")
    ),
    "elu": Activation(
        formula="x if x > 0 else a (exp(x) - 1)", work=_ELU, slope=_ELU_SLOPE, slope_of_result=_ELU_OF_RESULT
    ),
    "selu": Activation(
        formula="s elu(x)",
        work=_ELU + Work(multiplies=1),
        slope=_ELU_SLOPE + Work(multiplies=1),
        slope_of_result=_ELU_OF_RESULT + Work(multiplies=1),
    ),
    "celu": Activation(
        formula="x if x > 0 else a (exp(x / a) - 1)",
        work=_ELU + Work(divides=1),
        slope=_ELU_SLOPE + Work(multiplies=2),  # x / a, and the slope of that
        slope_of_result=_ELU_OF_RESULT,
    ),
    "sigmoid": Activation(
        formula="1 / (1 + exp(-x))",
        work=_SIGMOID,
        complex_work=_COMPLEX_SIGMOID,
        slope=_OF_RESULT,  # g y (1 - y)
        complex_slope=_COMPLEX_OF_RESULT,
        keeps=("output",),
    ),
    "logsigmoid": Activation(
        formula="-log(1 + exp(-x))",
        work=Work(transcendentals=2, adds=1),
        slope=Work(compares=1, adds=2, divides=1, multiplies=1),  # g (1 - z / (1 + z)) or g z / (1 + z), z = exp(-|x|)
        slope_reads=3,
        keeps=("input", "exp(-|input|)"),
        makes=1,
    ),
    "tanh": Activation(
        formula="tanh(x)",
        work=Work(transcendentals=1),
        complex_work=TANH,
        slope=_OF_RESULT,  # g (1 - y y)
        complex_slope=_COMPLEX_OF_RESULT,
        keeps=("output",),
    ),
    # Two kernels: tanh, and a difference that reads x and tanh(x). Its gradient: -g, and the slope of tanh times that.
    "tanhshrink": Activation(
        formula="x - tanh(x)",
        work=Work(transcendentals=1, adds=1),
        reads=3,
        writes=2,
        complex_work=TANH + on_numbers(Work(adds=1), complex_valued=True),
        slope=_OF_RESULT,
        slope_reads=3,
        slope_writes=2,
        complex_slope=_COMPLEX_OF_RESULT,
        keeps=("tanh(input)",),
    ),
    "silu": Activation(
        formula="x sigmoid(x)",
        work=_SIGMOID + Work(multiplies=1),
        complex_work=_COMPLEX_SIGMOID + on_numbers(Work(multiplies=1), complex_valued=True),
        slope=_SIGMOID + Work(adds=2, multiplies=3),  # g s (1 + x (1 - s))
    ),
    # The slope is cdf + x pdf, of cdf = (1 + erf(x / sqrt 2)) / 2 and pdf = exp(-x x / 2) / sqrt(2 pi).
    "gelu": Activation(
        formula="0.5 x (1 + erf(x / sqrt 2))",
        work=Work(multiplies=3, transcendentals=1, adds=1),
        slope=Work(multiplies=2 + 3 + 2, transcendentals=2, adds=2),
    ),
    # Of u = sqrt(2 / pi) (x + c x^3) and t = tanh u: (1 + t) / 2 + x / 2 (1 - t t) sqrt(2 / pi) (1 + 3 c x x).
    "gelu_tanh": Activation(
        formula="0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))",
        work=Work(multiplies=6, adds=2, transcendentals=1),
        slope=Work(multiplies=4 + 7 + 1, adds=1 + 4, transcendentals=1),
    ),
    # g (t + x s (1 - t t)), of t = tanh(log(1 + exp(x))) and s = sigmoid(x)
    "mish": Activation(
        formula="x tanh(log(1 + exp(x)))",
        work=Work(transcendentals=3, adds=1, multiplies=1),
        slope=Work(transcendentals=3, adds=1) + _SIGMOID + Work(adds=2, multiplies=4),
    ),
    "softplus": Activation(
        formula="log(1 + exp(b x)) / b, x above a threshold",
        work=Work(multiplies=1, transcendentals=2, adds=1, divides=1, compares=1),
        slope=Work(multiplies=2, transcendentals=1, adds=1, divides=1, compares=1),  # g z / (z + 1), z = exp(b x)
    ),
    # Three kernels: |x|, d = 1 + |x|, and a quotient that reads two. Seven for its gradient: g / d of x; of d: x / d,
    # that over d, -g, the product; then the sign of x, and the product with it.
    "softsign": Activation(
        formula="x / (1 + |x|)",
        work=Work(adds=1, divides=1),
        reads=4,
        writes=3,
        complex_work=MAGNITUDE + Work(adds=1) + on_numbers(Work(divides=1), complex_valued=True),
        slope=Work(divides=3, multiplies=2),
        slope_reads=12,
        slope_writes=7,
        keeps=("input", "1 + |input|"),
    ),
    "hardsigmoid": Activation(formula="relu6(x + 3) / 6", work=_HARDSIGMOID, slope=_BETWEEN + Work(divides=1)),
    "hardswish": Activation(
        formula="x relu6(x + 3) / 6",
        work=_HARDSIGMOID + Work(multiplies=1),
        slope=_BETWEEN + Work(adds=1, divides=1, multiplies=1),  # g (x / 3 + 1 / 2)
    ),
    "hardshrink": Activation(formula="x if |x| > l else 0", work=Work(compares=2), slope=_BETWEEN),
    "softshrink": Activation(formula="x -+ l if |x| > l else 0", work=Work(compares=2, adds=1), slope=_BETWEEN),
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
    inplace: bool = False,
) -> LayerCost:
    """An activation of a tensor of ``shape``, or of that many elements.

    flops = elements times the operations of ACTIVATIONS[name]
    memory_access = x + y; prelu x + w + y; tanhshrink 5 x (two kernels), softsign 7 x (three), softmin 4 x (two)
    params = num_parameters for prelu
    backward: g times the slope, by one kernel: elements times the operations of ACTIVATIONS[name].slope; prelu's kernel
    makes the gradients of x and of w at each element, whichever is asked for, and those of w are added up
    saved: x, or y where the slope is a function of it (relu, sigmoid, tanh; in place leaky_relu, elu, selu and celu);
    in place, all others copy x first where they are trained

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
        positive = softmax(shape=shape, dim=dim)
        backward = positive.backward() + BackwardCost(read=prod(shape), written=prod(shape))
        return replace(as_one("activation", negated, positive), gradient=partial(of_input, backward))
    if name in ALONG_AN_AXIS:
        return softmax(shape=shape, dim=dim, log=name == "log_softmax")
    row = ACTIVATIONS[name]
    if name == "identity":
        return replace(view(shape=shape), gradient=free)
    elements = prod(shape)
    weights = num_parameters if name == "prelu" else 0
    layer = pointwise_kernel(
        "activation",
        shape,
        per_element=row.complex_work if complex_valued and row.complex_work is not None else row.work,
        reads=row.reads * elements + weights,
        writes=row.writes * elements,
    )
    slope = row.complex_slope if complex_valued else row.slope
    if inplace and row.slope_of_result is not None:
        slope = row.slope_of_result
    gradient: Gradient | None = None
    if slope is not None:
        backward = BackwardCost(
            read=row.slope_reads * elements,
            written=row.slope_writes * elements,
            work=slope.times(elements),
            saved=tuple(Saved(kept, elements) for kept in row.keeps),
        )
        gradient = (
            partial(_prelu_backward, backward, weights, len(shape)) if name == "prelu" else partial(of_input, backward)
        )
    extra: WhenTrained | None = None
    if row.makes:
        extra = partial(always, Extra(written=row.makes * elements))
    elif inplace and row.slope_of_result is None and "input" in row.keeps:
        extra = partial(_copied, elements)
    return replace(layer, params=weights, gradient=gradient, when_trained=extra)


def _copied(elements: Count, needs: Needs) -> Extra:
    return Extra(read=elements, written=elements) if needs.any_input else Extra()


def _prelu_backward(kernel: BackwardCost, weights: Count, axes: int, needs: Needs) -> BackwardCost:
    if not (needs.any_input or needs.weight):
        return NOTHING
    cost = kernel + BackwardCost(read=weights, saved_weights=weights)
    elements = kernel.saved[0].elements
    if needs.weight and not (axes < 2 and isinstance(elements, int) and elements == 1):  # one is its own sum
        cost += BackwardCost(read=elements, written=weights, work=Work(adds=elements - weights))
    return cost


@public
def softmax(*, shape: Sequence[Count], dim: int = -1, log: bool = False) -> LayerCost:
    """exp(x - max) / sum along ``dim``, or its logarithm; R rows of n.

    flops = R (n - 1) compares + R n and R (n - 1) adds + R n exp + R n divisions
    flops = R (n - 1) compares + 2 R n and R (n - 1) adds + R n exp + R log, for the logarithm
    memory_access = x + y
    backward: y (g - sum(g y)) of each row: R n (4 flops) - R; of the logarithm g - exp(y) sum(g), as many
    saved: y

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
    slopes = Work(transcendentals=elements, multiplies=elements) if log else Work(multiplies=2 * elements)
    backward = BackwardCost(
        read=2 * elements,
        written=elements,
        work=slopes + Work(adds=elements - rows + elements),
        saved=(Saved("output", elements),),
    )
    whole = pointwise_kernel("activation", shape, reads=elements)
    return LayerCost(
        kind="activation",
        output_shape=whole.output_shape,
        output_size=whole.output_size,
        read=whole.read,
        written=whole.written,
        work=work,
        gradient=partial(of_input, backward),
    )


@public
def glu(*, shape: Sequence[Count], dim: int = -1) -> LayerCost:
    """The first half of ``dim`` times the sigmoid of the second; ``shape`` is the input's.

    flops = 4 per output element: a sigmoid of 3, and a product
    memory_access = x + y, y half of x
    backward: of y = a s(b), g s of the half a and a g s (1 - s) of the half b: 7 flops per output element
    saved: x

    Source: Dauphin et al., arXiv:1612.08083, section 2.

    >>> glu(shape=(8, 64)).output_shape, glu(shape=(8, 64)).flops
    ((8, 32), 1024)
    """
    axis = dim % len(shape)
    require_divisible(**{f"shape[{dim}]": shape[axis]}, by="halves", divisor=2)
    halved = (*shape[:axis], exact_quotient(shape[axis], 2), *shape[axis + 1 :])
    kernel = pointwise_kernel("activation", halved, per_element=_SIGMOID + Work(multiplies=1), reads=prod(shape))
    backward = BackwardCost(
        read=prod(halved) + prod(shape),
        written=prod(shape),
        work=(_SIGMOID + Work(multiplies=3, adds=1)).times(prod(halved)),
        saved=(Saved("input", prod(shape)),),
    )
    return replace(kernel, gradient=partial(of_input, backward))
