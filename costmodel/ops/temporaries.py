"""Temporaries that several families share: copies of arguments in a layout that a kernel cannot take.

A temporary is a tensor that an op allocates besides its outputs and frees before it returns. The trace sees the op
whole, so only its rule can say so. What counts are tensors that one aten op hands to another on the way. The workspace
that a single kernel asks for and frees (packed filters, columns of patches, a buffer per thread, the noise of a
dropout) depends on the processor and the build, and is left out. Sizes are those of torch's CPU kernels without
autograd, and ``tests/ops/test_temporaries.py`` measures them; a GPU keeps indices in one-dimensional max pooling too,
and may fuse what are matrix products of attention here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from costmodel.graph import Arguments, TensorSpec, is_channels_last
from costmodel.ops.layout import is_either_format, suggested_channels_last


def contiguous(*names: str) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """A contiguous copy of each of these arguments that is not contiguous."""
    return lambda args: [copy(args[name]) for name in names if not args[name].is_contiguous]


def in_memory_format(name: str) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """A copy of this argument into the memory format that its strides suggest, unless they are that already."""
    return lambda args: copied_into_format(args[name])


def is_in_format(t: TensorSpec, *, channels_last: bool) -> bool:
    """Whether a tensor is stored channels last, or contiguously.

    A layout that is contiguous as well, with one channel or one position, is channels last too.
    """
    if not channels_last:
        return t.is_contiguous
    return is_channels_last(t) or (t.is_contiguous and is_either_format(t.shape))


def in_format_of(
    decides: str, *names: str, outputs: Callable[[Arguments], TensorSpec] | None = None
) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """Copies of arguments, and of the output where it is given, that are not in the memory format of one argument."""

    def temporaries(args: Arguments) -> list[TensorSpec]:
        last = suggested_channels_last(args[decides])
        given = [args[name] for name in names] + ([] if outputs is None else [outputs(args)])
        return [copy(t) for t in given if not is_in_format(t, channels_last=last)]

    return temporaries


def copy(t: TensorSpec) -> TensorSpec:
    """A contiguous copy."""
    return TensorSpec(t.shape, t.dtype)


def copied_into_format(x: TensorSpec) -> list[TensorSpec]:
    """A copy of a tensor into the memory format that its strides suggest, unless they are that already."""
    in_format = x.is_contiguous or (suggested_channels_last(x) and is_channels_last(x))
    return [] if in_format else [copy(x)]


def cast(name: str, dtype: str) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """A copy of this argument in a dtype that it does not have."""
    return lambda args: [] if args[name].dtype == dtype else [TensorSpec(args[name].shape, dtype)]


def cast_like(outputs: Callable[[Arguments], TensorSpec]) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """A copy of ``self`` in the dtype of the output, where it has another."""
    return lambda args: list(cast("self", outputs(args).dtype)(args))


def mean_of_half(x: TensorSpec, mean: TensorSpec) -> list[TensorSpec]:
    """A mean in half precision is one in single precision: the copy that is summed, and the sums."""
    if mean.dtype not in ("bfloat16", "float16"):
        return []
    return [*([] if x.dtype == "float32" else [TensorSpec(x.shape, "float32")]), TensorSpec(mean.shape, "float32")]


def bytes_besides(outputs: int, *moments: int) -> list[TensorSpec]:
    """The most bytes live at one of several moments, without ``outputs`` bytes, as one tensor of bytes."""
    n = max(moments) - outputs
    return [TensorSpec((n,), "uint8")] if n > 0 else []


def are_one(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether dimensions could be merged into one without a copy."""
    steps = [(n, stride) for n, stride in zip(sizes, strides, strict=True) if n != 1]
    return all(outer == n * stride for (_, outer), (n, stride) in pairwise(steps))
