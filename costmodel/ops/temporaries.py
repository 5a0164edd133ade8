"""Temporaries that several families share: copies of arguments in a layout that a kernel cannot take.

A temporary is a tensor that an op allocates besides its outputs and frees before it returns. The trace sees the op
whole, so only its rule can say so. Sizes are those of torch's own kernels on the CPU, in inference; a GPU keeps indices
in one-dimensional max pooling too, and may fuse what are matrix products of attention here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from costmodel.graph import Arguments, TensorSpec, is_channels_last
from costmodel.ops.layout import suggested_channels_last


def contiguous(*names: str) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """A contiguous copy of each of these arguments that is not contiguous."""
    return lambda args: [copy(args[name]) for name in names if args[name].strides is not None]


def copy(t: TensorSpec) -> TensorSpec:
    """A contiguous copy."""
    return TensorSpec(t.shape, t.dtype)


def in_memory_format(x: TensorSpec) -> Iterable[TensorSpec]:
    """A copy into the memory format that the strides suggest, unless they are that already."""
    if x.strides is not None and not (suggested_channels_last(x) and is_channels_last(x)):
        yield copy(x)


def are_one(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether dimensions lie in memory as a single one would."""
    steps = [(n, stride) for n, stride in zip(sizes, strides, strict=True) if n != 1]
    return all(outer == n * stride for (_, outer), (n, stride) in pairwise(steps))
