"""Distances between pairs of vectors."""

from __future__ import annotations

from collections.abc import Sequence

from costmodel.formulas._arguments import as_shape, public, require
from costmodel.formulas._norms import vector_norm
from costmodel.formulas.cost import LayerCost, as_one
from costmodel.formulas.elementwise import pointwise_kernel
from costmodel.quantities import Count, Work, prod


@public
def pairwise_distance(
    *, features: Count, rows: Count | Sequence[Count] = (), norm_type: float = 2, keepdim: bool = False
) -> LayerCost:
    """The norm of x - y + eps for each of R pairs of vectors of n = features, N = R n, in three kernels.

    flops = 2 N + R times the norm of n: 2 n (n multiplies, n - 1 adds, a root) for the 2-norm
    memory_access = 3 N + 2 N + N + R: a difference, eps added, the norm

    Source: torch.nn.PairwiseDistance.

    >>> pairwise_distance(features=3, rows=2).flops                                          # 12 + 2 x 6
    24
    """
    leading = as_shape(rows)
    require(features=features, rows=leading)
    x = (*leading, features)
    result = (*leading, 1) if keepdim else leading
    norm = vector_norm(of=features, order=norm_type)
    return as_one(
        "other",
        pointwise_kernel("other", x, per_element=Work(adds=1), reads=2 * prod(x)),
        pointwise_kernel("other", x, per_element=Work(adds=1), reads=prod(x)),
        pointwise_kernel("other", result, per_element=norm, reads=prod(x)),
    )
