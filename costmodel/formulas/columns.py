"""Sliding windows as columns and back, and max pooling undone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from costmodel.formulas._arguments import per_axis, public, require, spatial
from costmodel.formulas.cost import LayerCost
from costmodel.formulas.elementwise import pointwise_kernel
from costmodel.formulas.geometry import conv_output_size
from costmodel.formulas.gradient import BackwardCost, Saved, of_input
from costmodel.quantities import Count, Work, prod


@public
def unfold(
    *,
    channels: Count,
    size: Sequence[Count],
    kernel: Count,
    stride: Count = 1,
    padding: Count = 0,
    dilation: Count = 1,
    batch: Count = 1,
) -> LayerCost:
    """Sliding windows as columns (im2col): every window of channels x kernel elements is copied.

    flops = 0
    memory_access = x + y, y of batch x channels prod(kernel) x windows
    backward: fold, so y adds; y read, x written
    saved: nothing

    Source: torch.nn.Unfold; Chellapilla et al., High Performance Convolutional Neural Networks, 2006, section 2.1.

    >>> unfold(channels=3, size=(4, 4), kernel=2).memory_access                              # 48 and 12 x 9
    156
    """
    require(channels=channels, batch=batch)
    size = spatial(size)
    out = conv_output_size(size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    taps = prod(per_axis(kernel, axes=len(size), name="kernel"))
    x, y = batch * channels * prod(size), batch * channels * taps * prod(out)
    gradient = partial(of_input, BackwardCost(read=y, written=x, work=Work(adds=y)))
    return pointwise_kernel("resample", (batch, channels * taps, prod(out)), reads=x, gradient=gradient)


@public
def fold(
    *,
    channels: Count,
    output_size: Sequence[Count],
    kernel: Count,
    stride: Count = 1,
    padding: Count = 0,
    dilation: Count = 1,
    batch: Count = 1,
) -> LayerCost:
    """Columns summed back to where their windows lay (col2im); ``channels`` are the output's.

    flops = batch channels prod(kernel) windows: each element is added to a sum that begins at 0
    memory_access = x + y, x of batch x channels prod(kernel) x windows
    backward: unfold; y read, x written
    saved: nothing

    Source: torch.nn.Fold.

    >>> fold(channels=3, output_size=(4, 4), kernel=2).flops                                 # 3 x 4 x 9
    108
    """
    require(channels=channels, batch=batch)
    size = spatial(output_size)
    windows = conv_output_size(size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    columns = batch * channels * prod(per_axis(kernel, axes=len(size), name="kernel")) * prod(windows)
    shape = (batch, channels, *size)
    return LayerCost(
        kind="resample",
        output_shape=shape,
        output_size=size,
        read=columns,
        written=prod(shape),
        work=Work(adds=columns),
        gradient=partial(of_input, BackwardCost(read=prod(shape), written=columns)),
    )


@public
def max_unpool(*, channels: Count, size: Sequence[Count], output_size: Sequence[Count], batch: Count = 1) -> LayerCost:
    """Each value goes to where its index says, in zeros of ``output_size``: max pooling undone.

    flops = 0
    memory_access = x + indices, as many as x, + y
    backward: each value's gradient is read where its index says: indices and as many elements read, x written
    saved: the indices, 8 bytes each

    Source: Zeiler et al., ICCV 2011, section 3.2; torch.nn.MaxUnpool2d.

    >>> max_unpool(channels=2, size=(3, 3), output_size=(6, 6)).memory_access                # 18 + 18 + 72
    108
    """
    require(channels=channels, batch=batch)
    size, out = spatial(size), spatial(output_size)
    values = batch * channels * prod(size)
    backward = BackwardCost(read=2 * values, written=values, saved=(Saved("input 1", values, 8),))
    gradient = partial(of_input, backward)
    return pointwise_kernel("resample", (batch, channels, *out), reads=2 * values, gradient=gradient)
