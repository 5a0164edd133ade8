"""Distances between pairs of vectors."""

from __future__ import annotations

from collections.abc import Sequence

from costmodel.formulas import _functions as fn
from costmodel.formulas._arguments import as_shape, public, require
from costmodel.formulas._norms import norm_of
from costmodel.formulas._tape import Tape, Tensor, defined
from costmodel.formulas.cost import LayerCost
from costmodel.quantities import Count


@public
def pairwise_distance(
    *, features: Count, rows: Count | Sequence[Count] = (), norm_type: float = 2, keepdim: bool = False
) -> LayerCost:
    """The norm of x - y + eps for each of R pairs of vectors of n = features, N = R n, in three kernels.

    flops = 2 N + R times the norm of n: 2 n (n multiplies, n - 1 adds, a root) for the 2-norm
    memory_access = 3 N + 2 N + N + R: a difference, eps added, the norm
    backward: the derivative of the norm, g d / norm of the difference d for the 2-norm, and its sign changed for y
    saved: x - y + eps, and the result

    Source: torch.nn.PairwiseDistance.

    >>> pairwise_distance(features=3, rows=2).flops                                          # 12 + 2 x 6
    24
    """
    leading = as_shape(rows)
    require(features=features, rows=leading)
    return defined(_pairwise_distance, (*leading, features), norm_type, keepdim)


def _pairwise_distance(k: Tape, shape: tuple[Count, ...], order: float, keepdim: bool) -> Tensor:
    difference = fn.plus_number(k, fn.subtract(k, k.input(shape, 0), k.input(shape, 1)))
    return norm_of(k, difference, order, keepdim=keepdim)
