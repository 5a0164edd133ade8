"""The norm of vectors: its arithmetic, of real and of complex numbers, and the kernels of its gradient."""

from __future__ import annotations

from costmodel.formulas._complex_numbers import MAGNITUDE
from costmodel.formulas._functions import COMPARE, DIVIDE, MULTIPLY, power_of
from costmodel.formulas._tape import Tape, Tensor
from costmodel.formulas.cost import NO_WORK
from costmodel.quantities import Count, Work

INFINITE = (float("inf"), float("-inf"))


def vector_norm(*, of: Count, order: float = 2, complex_valued: bool = False) -> Work:
    """The norm of ``of`` numbers: powers, their sum, and its root; order 2 needs no magnitudes of complex numbers.

    >>> vector_norm(of=3).flops, vector_norm(of=3, order=1).flops, vector_norm(of=3, order=0.5).flops
    (6, 2, 6)
    """
    if order == 2:
        parts = 2 * of if complex_valued else of
        return Work(multiplies=parts, adds=parts - 1, transcendentals=1)
    if order == 0:  # how many are not zero
        return Work(compares=2 * of if complex_valued else of, adds=of - 1)
    magnitudes = MAGNITUDE.times(of) if complex_valued else Work()
    if order == 1:
        return magnitudes + Work(adds=of - 1)
    if order in INFINITE:
        return magnitudes + Work(compares=of - 1)
    return magnitudes + Work(transcendentals=of + 1, adds=of - 1)


def norm_of(k: Tape, x: Tensor, order: float, *, keepdim: bool = False) -> Tensor:
    """The norm along the last axis, of real numbers, by one kernel; its gradient by several."""
    rows = x.shape[:-1]
    y = k.make((*rows, 1) if keepdim else rows, "norm", x)
    k.run(read=x.stored, written=y.size, work=vector_norm(of=x.shape[-1], order=order).times(y.size))

    def back(g: Count) -> None:
        _slopes(k, x.size, y.size, g, order)
        if order != 0:
            k.give(x, x.size, x.shape)

    k.back(y, x, back, keeps=(x, y))
    return y


def _slopes(k: Tape, n: Count, rows: Count, g: Count, order: float) -> None:
    """Of n elements in so many rows, from the gradient g of each row's norm; 0 where a norm is 0."""

    def kernel(*read: Count, written: Count = n, work: Work = NO_WORK) -> None:
        k.run(read=sum(read), written=written, work=work.times(written))

    def zeros(of: Count, at: Count) -> None:
        """In place of what is not a number: where the tensor ``at`` is 0."""
        kernel(at, written=at, work=COMPARE)
        kernel(of, at, written=of)

    if order == 0:
        return
    if order == 1:  # the sign, times g
        kernel(n)
        kernel(n, g, work=MULTIPLY)
    elif order == 2:  # g (x / norm)
        kernel(n, rows, work=DIVIDE)
        zeros(n, rows)
        kernel(g, n, work=MULTIPLY)
    elif order in INFINITE:  # the sign where |x| is the norm, times g over how many there are
        kernel(n)
        kernel(n, rows, work=COMPARE)
        kernel(n, work=COMPARE)
        kernel(n, n)
        k.run(read=n, written=rows, work=Work(adds=n - rows))
        kernel(g, rows, written=rows, work=DIVIDE)
        kernel(rows, n, work=MULTIPLY)
        kernel(n)
        kernel(n, n, work=MULTIPLY)
    else:
        # sign(x) |x|^(p - 1), from 2 on as x |x|^(p - 2), times g / norm^(p - 1)
        if 1 < order < 2:
            kernel(n)
        kernel(n)
        kernel(n, work=power_of(order - 2 if order > 2 else order - 1))
        if order < 1:
            zeros(n, n)
            kernel(n)
        kernel(n, n, work=MULTIPLY)
        kernel(rows, written=rows, work=power_of(1 - order if order < 1 else order - 1))
        if order < 1:
            kernel(n, g, work=MULTIPLY)
        else:
            kernel(g, rows, written=rows, work=DIVIDE)
            zeros(rows, rows)
        kernel(n, rows, work=MULTIPLY)
