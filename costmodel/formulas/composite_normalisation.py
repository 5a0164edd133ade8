"""Normalisations other than batch, layer, group and instance norm: root mean square, and AlexNet's local response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from costmodel.formulas import _functions as fn
from costmodel.formulas._arguments import as_shape, public, require
from costmodel.formulas._complex_numbers import RECIPROCAL_ROOT, on_numbers
from costmodel.formulas._tape import Tape, Tensor, defined, difference
from costmodel.formulas.cost import NO_WORK, LayerCost
from costmodel.formulas.gradient import always
from costmodel.quantities import Count, Work, prod


@public
def rms_norm(
    *,
    normalized_shape: Count | Sequence[Count],
    rows: Count = 1,
    affine: bool = True,
    complex_valued: bool = False,
) -> LayerCost:
    """Root-mean-square normalisation of ``rows`` (a count or a leading shape) of n elements, N in all, R rows.

    params = n if affine
    flops = R (3 n + 2) + N if affine: n squares, n - 1 adds, a division, eps, a rsqrt, n products per row
    memory_access = x + w + y
    backward: the derivatives of the six kernels that it is made of where autograd records it: x x, the mean, eps, the
    root r, x r, and the product with w
    saved: x, r of each row, and x r where the gradient of w is asked for

    Complex-valued: a sum is 2 flops, a product 6, a quotient 11, a reciprocal root 21.
    Source: Zhang & Sennrich, arXiv:1910.07467, section 3, eq. 4.

    >>> rms_norm(normalized_shape=4096, rows=(1, 8)).memory_access
    69632
    """
    inner, leading = as_shape(normalized_shape), as_shape(rows)
    require(normalized_shape=inner)
    require(rows=leading, least=0)
    n, count = prod(inner), prod(leading)
    elements, weights = count * n, n if affine else 0
    per_row = Work(multiplies=2 * n, adds=n, divides=1, transcendentals=1)
    composite = defined(_rms_norm, leading, n, affine)
    fused = LayerCost(
        kind="norm",
        output_shape=(*leading, *inner),
        read=elements + weights,
        written=elements,
        work=on_numbers(
            per_row.times(count) + Work(multiplies=elements if affine else 0),
            complex_valued=complex_valued,
            function=RECIPROCAL_ROOT,
        ),
        params=weights,
        gradient=None if complex_valued else composite.gradient,
    )
    return replace(fused, when_trained=partial(always, replace(difference(composite, fused), work=NO_WORK)))


def _rms_norm(k: Tape, leading: tuple[Count, ...], n: Count, affine: bool) -> Tensor:
    x = k.input((*leading, n))
    mean = fn.total(k, fn.square(k, x), axis=-1, mean=True, keepdim=True)
    y = fn.multiply(k, x, fn.reciprocal_root(k, fn.plus_number(k, mean)))
    return fn.multiply(k, y, k.weight(n)) if affine else y


@public
def local_response_norm(
    *, channels: Count, size: Sequence[Count], local_size: Count, batch: Count = 1, beta: float = 0.75
) -> LayerCost:
    """AlexNet's normalisation across ``local_size`` neighbouring channels, in the seven kernels that torch runs.

    flops = N (local_size + 5): square, a mean (local_size - 1 adds, a division), alpha, k, power, quotient
    memory_access = 13 N + 2 P, P = batch (channels + local_size - 1) prod(size) the channel-padded squares

    Kernels: x x (2 N), pad (N + P), mean (P + N), times alpha, plus k, power beta (2 N each), quotient (3 N). With beta
    1 the power is no arithmetic; beta 2 is a product, every other that is no whole number a transcendental function.
    backward: the derivative of each kernel, in reverse, 9 of them N elements each and more; of the mean, each of its
    local_size channels gets its part
    saved: x, the padded squares, and the quotient's divisor, before and after the power
    Source: Krizhevsky et al. 2012, section 3.3; torch.nn.functional.local_response_norm.

    >>> local_response_norm(channels=96, size=(55, 55), local_size=5).flops == 96 * 55 * 55 * 10
    True
    """
    require(channels=channels, batch=batch, local_size=local_size)
    layer = defined(_local_response_norm, (batch, channels, *size), local_size, beta, kind="norm")
    return replace(layer, output_size=tuple(size))


def _local_response_norm(k: Tape, shape: tuple[Count, ...], local_size: Count, beta: float) -> Tensor:
    batch, channels, *size = shape
    x = k.input(shape)
    mean = _mean_of_channels(k, fn.multiply(k, x, x), (batch, channels + local_size - 1, *size), local_size)
    divisor = fn.plus_number(k, fn.times_number(k, mean))
    powered = fn.power(k, divisor, work=fn.power_of(beta), slope=fn.power_of(beta - 1))
    return fn.divide(k, x, powered)


def _mean_of_channels(k: Tape, x: Tensor, padded: tuple[Count, ...], local_size: Count) -> Tensor:
    """Channels of zeros are put before and behind, and windows of ``local_size`` channels become their mean."""
    wide = k.make(padded, "padded", x)
    k.run(read=x.size, written=wide.size)

    def unpad(g: Count) -> None:
        k.run(read=g, written=x.size)
        k.give(x, x.size, x.shape)

    k.back(wide, x, unpad)
    y = k.make(x.shape, "mean", wide)
    k.run(read=wide.size, written=y.size, work=Work(adds=local_size - 1, divides=1).times(y.size))

    def spread(g: Count) -> None:
        k.run(read=g, written=wide.size, work=Work(adds=local_size, divides=1).times(y.size))
        k.give(wide, wide.size, padded)

    k.back(y, wide, spread, keeps=(wide,))
    return y
