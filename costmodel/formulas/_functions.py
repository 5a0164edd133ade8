"""Kernels that many layers have, each with its derivative."""

from __future__ import annotations

from costmodel.formulas._complex_numbers import on_numbers
from costmodel.formulas._kernels import Shape, broadcast, sum_of
from costmodel.formulas._tape import Tape, Tensor
from costmodel.formulas.cost import NO_WORK
from costmodel.quantities import Count, Work, prod

ADD, MULTIPLY, DIVIDE = Work(adds=1), Work(multiplies=1), Work(divides=1)
COMPARE, FUNCTION = Work(compares=1), Work(transcendentals=1)


def add(k: Tape, a: Tensor, b: Tensor, *, work: Work = ADD) -> Tensor:
    """a + b."""
    y = k.each("sum", a, b, work=work)
    for x in (a, b):
        k.back(y, x, lambda g, x=x: k.give(x, g, y.shape))  # type: ignore[misc]  # a default binds x now
    return y


def subtract(k: Tape, a: Tensor, b: Tensor, *, work: Work = ADD) -> Tensor:
    """a - b."""
    y = k.each("difference", a, b, work=work)
    k.back(y, a, lambda g: k.give(a, g, y.shape))
    k.derive(y, b)
    return y


def multiply(k: Tape, a: Tensor, b: Tensor) -> Tensor:
    """a b."""
    y = k.each("product", a, b, work=MULTIPLY)
    k.derive(y, a, b, each=MULTIPLY)
    k.derive(y, b, a, each=MULTIPLY)
    return y


def divide(k: Tape, a: Tensor, b: Tensor, *, work: Work = DIVIDE) -> Tensor:
    """a / b: of a, g / b; of b, -g ((a / b) / b)."""
    y = k.each("quotient", a, b, work=work)
    k.derive(y, a, b, each=DIVIDE)

    def of_divisor(g: Count) -> None:
        n = y.size
        k.run(read=a.stored + b.stored, written=n, work=DIVIDE.times(n))
        k.run(read=n + b.stored, written=n, work=DIVIDE.times(n))
        k.run(read=g, written=n)
        k.run(read=2 * n, written=n, work=MULTIPLY.times(n))
        k.give(b, n, y.shape)

    k.back(y, b, of_divisor, keeps=(a, b))
    return y


def plus_number(k: Tape, x: Tensor, *, work: Work = ADD) -> Tensor:
    """x + c, whose gradient is what arrives."""
    y = k.each("sum", x, work=work)
    k.back(y, x, lambda g: k.give(x, g, y.shape))
    return y


def minus_from_number(k: Tape, x: Tensor, *, work: Work = ADD) -> Tensor:
    """c - x, or -x, which is no arithmetic."""
    y = k.each("difference", x, work=work)
    k.derive(y, x)
    return y


def times_number(k: Tape, x: Tensor, *, work: Work = MULTIPLY) -> Tensor:
    """c x, or x / c."""
    y = k.each("multiple", x, work=work)
    k.derive(y, x, each=work)
    return y


def exp(k: Tape, x: Tensor) -> Tensor:
    """exp x: g y."""
    y = k.each("exp", x, work=FUNCTION)
    k.derive(y, x, y, each=MULTIPLY)
    return y


def log(k: Tape, x: Tensor) -> Tensor:
    """log x: g / x."""
    y = k.each("log", x, work=FUNCTION)
    k.derive(y, x, x, each=DIVIDE)
    return y


def sqrt(k: Tape, x: Tensor) -> Tensor:
    """The root of x: g / (2 y)."""
    y = k.each("root", x, work=FUNCTION)

    def back(g: Count) -> None:
        k.run(read=y.size, written=y.size, work=MULTIPLY.times(y.size))
        k.run(read=g + y.size, written=y.size, work=DIVIDE.times(y.size))
        k.give(x, y.size, y.shape)

    k.back(y, x, back, keeps=(y,))
    return y


def reciprocal_root(k: Tape, x: Tensor) -> Tensor:
    """1 / sqrt(x): -g y^3 / 2."""
    y = k.each("reciprocal root", x, work=FUNCTION)

    def back(g: Count) -> None:
        n = y.size
        k.run(read=n, written=n, work=power_of(3).times(n))
        k.run(read=n, written=n, work=MULTIPLY.times(n))
        k.run(read=g + n, written=n, work=MULTIPLY.times(n))
        k.give(x, n, y.shape)

    k.back(y, x, back, keeps=(y,))
    return y


def absolute(k: Tape, x: Tensor) -> Tensor:
    """The absolute value of a real number, which is no arithmetic: g times the sign."""
    y = k.each("absolute", x)

    def back(g: Count) -> None:
        k.run(read=x.size, written=x.size)
        k.run(read=g + x.size, written=x.size, work=MULTIPLY.times(x.size))
        k.give(x, x.size, x.shape)

    k.back(y, x, back, keeps=(x,))
    return y


def power_of(exponent: float) -> Work:
    """The work of x^c: products where c is a whole number above 0.

    >>> power_of(3).multiplies, power_of(0.75).transcendentals
    (2, 1)
    """
    if exponent == -1:
        return DIVIDE
    if exponent < 0 or exponent != int(exponent):
        return FUNCTION
    return Work(multiplies=max(int(exponent) - 1, 0))


def power(k: Tape, x: Tensor, *, work: Work, slope: Work) -> Tensor:
    """x^c: g (c x^(c - 1)), where ``slope`` is the work of the power of c - 1."""
    y = k.each("power", x, work=work)

    def back(g: Count) -> None:
        n = x.size
        k.run(read=n, written=n, work=slope.times(n))
        k.run(read=n, written=n, work=MULTIPLY.times(n))
        k.run(read=g + n, written=n, work=MULTIPLY.times(n))
        k.give(x, n, x.shape)

    k.back(y, x, back, keeps=(x,))
    return y


def square(k: Tape, x: Tensor, *, work: Work = MULTIPLY) -> Tensor:
    """x^2."""
    return power(k, x, work=work, slope=NO_WORK)


def at_least(k: Tape, x: Tensor, *, inplace: bool = True) -> Tensor:
    """max(x, c): g where x was not below, for which x is copied first, if the result takes its place."""
    if x.wanted and inplace:
        k.run(read=x.size, written=x.size)
    y = k.each("maximum", x, work=COMPARE)

    def back(g: Count) -> None:
        k.run(read=x.size, written=x.size, work=COMPARE.times(x.size))
        k.run(read=g + x.size + 1, written=x.size)
        k.give(x, x.size, x.shape)

    k.back(y, x, back, keeps=(x,))
    return y


def lesser(k: Tape, a: Tensor, b: Tensor) -> Tensor:
    """min(a, b): g of the lesser, and half of it where both are the same."""
    y = k.each("minimum", a, b, work=COMPARE)
    n = y.size
    for x in (a, b):

        def back(g: Count, x: Tensor = x) -> None:
            k.run(read=g, written=n, work=DIVIDE.times(n))
            k.run(read=2 * n, written=n, work=COMPARE.times(n))
            k.run(read=2 * n + g, written=n)
            k.run(read=2 * n, written=n, work=COMPARE.times(n))
            k.run(read=2 * n, written=n)
            k.give(x, n, y.shape)

        k.back(y, x, back, keeps=(a, b))
    return y


def where(k: Tape, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a where the condition holds, else b: of each, g or a zero."""
    y = k.each("choice", condition, a, b)
    for x in (a, b):

        def back(g: Count, x: Tensor = x) -> None:
            k.run(read=condition.stored + g + 1, written=y.size)
            k.give(x, y.size, y.shape)

        k.back(y, x, back, keeps=(condition,))
    return y


def total(
    k: Tape,
    x: Tensor,
    *,
    axis: int | None = None,
    mean: bool = False,
    keepdim: bool = False,
    complex_valued: bool = False,
) -> Tensor:
    """The sum or mean of all elements, or of those along one axis: g for each of them, over their number in a mean."""
    axes = range(len(x.shape)) if axis is None else (axis % len(x.shape),)
    rows = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape)) if keepdim else rows
    y = k.make(shape, "total", x)
    each = on_numbers(sum_of(prod(x.shape[i] for i in axes), mean=mean), complex_valued=complex_valued)
    k.run(read=x.stored, written=y.size, work=each.times(y.size))

    def back(g: Count) -> None:
        if mean:
            k.run(read=g, written=x.size, work=DIVIDE.times(x.size))
        k.give(x, x.size if mean else g, x.shape)

    k.back(y, x, back)
    return y


def reduced(k: Tape, terms: Tensor, reduction: str, *, complex_valued: bool = False) -> Tensor:
    """The terms of a loss by a kernel of its own: their mean, their sum, or, without a kernel, themselves."""
    if reduction == "none":
        return terms
    return total(k, terms, mean=reduction == "mean", complex_valued=complex_valued)


def masked(k: Tape, x: Tensor, mask: Tensor) -> Tensor:
    """x, and a constant where the mask holds: there no gradient."""
    y = k.each("masked", x, mask)
    k.derive(y, x, mask)
    return y


def view(k: Tape, x: Tensor, shape: Shape) -> Tensor:
    """Another shape of the same storage."""
    y = Tensor(shape, x.storage, x.wanted)
    k.back(y, x, lambda g: k.give(x, g, x.shape))
    return y


def copy(k: Tape, x: Tensor) -> Tensor:
    """A copy; its gradient is what arrives."""
    y = k.each("copy", x)
    k.back(y, x, lambda g: k.give(x, g, x.shape))
    return y


def constant(k: Tape, shape: Shape) -> Tensor:
    """A tensor of one number, written."""
    y = k.make(shape, "constant")
    k.run(read=0, written=y.size)
    return y


def log_sigmoid(k: Tape, x: Tensor) -> Tensor:
    """-log(1 + exp(-x)), which keeps z = exp(-|x|): g (1 - z / (1 + z)) or g z / (1 + z)."""
    y, z = k.each("logsigmoid", x, work=Work(transcendentals=2, adds=1)), k.make(x.shape, "exp")
    if k.is_trained:
        k.run(read=0, written=z.size)
    k.derive(y, x, x, z, each=Work(compares=1, adds=2, divides=1, multiplies=1))
    return y


def fused_loss(
    k: Tape,
    x: Tensor,
    t: Tensor,
    *weights: Tensor,
    work: Work,
    once: Work = NO_WORK,
    slope: Work,
    reduction: str,
    symmetric: bool = False,
) -> Tensor:
    """Terms of x and t and their mean or sum by one kernel, and one for the gradient; ``work`` is that of a term.

    ``symmetric``: the kernel also makes the gradient of t.
    """
    shape = broadcast(x.shape, t.shape, *(w.shape for w in weights))
    y = k.make(shape if reduction == "none" else (), "loss", x, t)
    done = work.times(prod(shape)) + once
    if reduction != "none":
        done = done + sum_of(prod(shape), mean=reduction == "mean")
    k.run(read=sum(a.stored for a in (x, t, *weights)), written=y.size, work=done)
    over = DIVIDE if reduction == "mean" else NO_WORK
    k.derive(y, x, x, t, *weights, each=slope, once=over, shape=shape)
    if symmetric:
        k.derive(y, t, t, x, *weights, each=slope, once=over, shape=shape)
    return y
