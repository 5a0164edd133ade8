"""Normalisations other than batch, layer, group and instance norm: root mean square, and AlexNet's local response."""

from __future__ import annotations

from collections.abc import Sequence

from costmodel.formulas._arguments import as_shape, public, require
from costmodel.formulas._complex_numbers import RECIPROCAL_ROOT, on_numbers
from costmodel.formulas.cost import NO_WORK, LayerCost, as_one
from costmodel.formulas.elementwise import pointwise_kernel
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
    return LayerCost(
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
    )


@public
def local_response_norm(
    *, channels: Count, size: Sequence[Count], local_size: Count, batch: Count = 1, beta: float = 0.75
) -> LayerCost:
    """AlexNet's normalisation across ``local_size`` neighbouring channels, in the seven kernels that torch runs.

    flops = N (local_size + 5): square, a mean (local_size - 1 adds, a division), alpha, k, power, quotient
    memory_access = 13 N + 2 P, P = batch (channels + local_size - 1) prod(size) the channel-padded squares

    Kernels: x x (2 N), pad (N + P), mean (P + N), times alpha, plus k, power beta (2 N each), quotient (3 N). With beta
    1 the power is no arithmetic; every other beta is one transcendental function.
    Source: Krizhevsky et al. 2012, section 3.3; torch.nn.functional.local_response_norm.

    >>> local_response_norm(channels=96, size=(55, 55), local_size=5).flops == 96 * 55 * 55 * 10
    True
    """
    require(channels=channels, batch=batch, local_size=local_size)
    x = (batch, channels, *size)
    padded = (batch, channels + local_size - 1, *size)
    elements, one = prod(x), Work(multiplies=1)
    power = NO_WORK if beta == 1 else Work(transcendentals=1)
    return as_one(
        "norm",
        pointwise_kernel("norm", x, per_element=one, reads=elements),
        pointwise_kernel("norm", padded, reads=elements),
        pointwise_kernel("norm", x, per_element=Work(adds=local_size - 1, divides=1), reads=prod(padded)),
        pointwise_kernel("norm", x, per_element=one, reads=elements),
        pointwise_kernel("norm", x, per_element=Work(adds=1), reads=elements),
        pointwise_kernel("norm", x, per_element=power, reads=elements),
        pointwise_kernel("norm", x, per_element=Work(divides=1), reads=2 * elements),
    )
