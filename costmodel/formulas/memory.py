"""ShuffleNet V2's guidelines: the memory access of a 1x1 convolution, and the least it can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt as float_sqrt
from typing import Any

from costmodel.formulas._arguments import exact_quotient, public, require, require_divisible, spatial
from costmodel.quantities import Count, prod


@public
def pointwise_memory_access(*, c_in: Count, c_out: Count, size: Sequence[Count], groups: Count = 1) -> Count:
    """Elements that a 1x1 convolution of one image reads and writes, in ``groups`` groups, without a bias.

    memory_access = h w (c1 + c2) + c1 c2 / g

    G1: at equal macs it is least for c1 = c2. G2: at equal macs it grows with g.
    Source: Ma et al., ShuffleNet V2, arXiv:1807.11164, section 2, eqs. 1 and 2.

    >>> pointwise_memory_access(c_in=128, c_out=128, size=(28, 28))
    217088
    """
    require(c_in=c_in, c_out=c_out, groups=groups)
    require_divisible(c_in=c_in, c_out=c_out, by="groups", divisor=groups)
    return prod(spatial(size)) * (c_in + c_out) + exact_quotient(c_in * c_out, groups)


@public
def pointwise_memory_access_bound(
    *, macs: Count, size: Sequence[Count], sqrt: Callable[[Any], Any] = float_sqrt
) -> Any:
    """The least memory access of a 1x1 convolution that does B macs: a bound, not a count, so no exact integer.

    memory_access >= 2 sqrt(h w B) + B / (h w), reached where c1 = c2

    ``sqrt`` chooses the carrier: math.sqrt for numbers, numpy.sqrt for arrays, sympy.sqrt for symbols.
    Source: Ma et al., ShuffleNet V2, arXiv:1807.11164, section 2, eq. 1 (its inequality).

    >>> pointwise_memory_access_bound(macs=28 * 28 * 128 * 128, size=(28, 28))
    217088.0
    """
    area = prod(spatial(size))
    return 2 * sqrt(area * macs) + macs / area
