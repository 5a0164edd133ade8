"""Resampling: interpolation, pixel and channel shuffles, and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod as int_prod

from costmodel.formulas._arguments import (
    exact_quotient,
    per_axis,
    public,
    require,
    require_divisible,
    require_one_of,
    spatial,
)
from costmodel.formulas._convolution_gradient import copies_of_circular_padding, padding_backward
from costmodel.formulas.cost import LayerCost
from costmodel.formulas.elementwise import pointwise_kernel
from costmodel.formulas.gradient import BackwardCost, always, of_input
from costmodel.quantities import Count, Work, prod

TAPS_PER_AXIS = {"nearest": 1, "linear": 2, "bilinear": 2, "trilinear": 2, "bicubic": 4}
PADDING_MODES = ("constant", "reflect", "replicate", "circular")
_AXES = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}


@public
def upsample(
    *,
    channels: Count,
    size: Sequence[Count],
    factor: Count | None = None,
    output_size: Sequence[Count] | None = None,
    mode: str = "nearest",
    batch: Count = 1,
) -> LayerCost:
    """Interpolation to ``output_size``, or to a whole ``factor`` times the size, with t taps per output.

    flops = outputs (2 t - 1): t multiplies and t - 1 adds; t = 2 linear, 4 bilinear, 8 trilinear, 16 bicubic
    flops = 0 for nearest
    memory_access = x + y
    backward: each gradient is added to its t neighbours, weighted: t adds and t multiplies, none of these for nearest;
    y read, x written
    saved: nothing

    The weights of the taps are separable, and made once.
    Source: Keys 1981 (cubic convolution); torch.nn.Upsample.

    >>> upsample(channels=1, size=(2, 2), factor=2, mode="bilinear").flops
    112
    """
    require(channels=channels, batch=batch)
    require_one_of(mode=mode, choices=tuple(TAPS_PER_AXIS))
    size = spatial(size)
    axes = _AXES.get(mode, len(size))
    if axes != len(size):
        raise ValueError(f"mode={mode!r} works on {axes} axes and size={size} has {len(size)}: choose another mode")
    if (factor is None) == (output_size is None):
        raise ValueError("give either factor or output_size")
    if output_size is None:
        output_size = tuple(n * f for n, f in zip(size, per_axis(factor, axes=axes, name="factor"), strict=True))
    taps = int_prod([TAPS_PER_AXIS[mode]] * axes)
    weighted = 0 if mode == "nearest" else taps
    x, y = (batch * channels * prod(s) for s in (size, output_size))
    given_back = BackwardCost(read=y, written=x, work=Work(multiplies=weighted, adds=taps).times(y))
    return pointwise_kernel(
        "resample",
        (batch, channels, *output_size),
        per_element=Work(multiplies=weighted, adds=taps - 1),
        reads=x,
        gradient=partial(of_input, given_back),
    )


def _moved(shape: Sequence[Count]) -> LayerCost:
    """A copy of all elements to other places; the gradient is copied back."""
    n = prod(shape)
    return pointwise_kernel("resample", shape, reads=n, gradient=partial(of_input, BackwardCost(read=n, written=n)))


@public
def pixel_shuffle(*, channels: Count, size: Sequence[Count], factor: Count, batch: Count = 1) -> LayerCost:
    """Channels r^2 c over h x w become c over r h x r w, in one copy.

    flops = 0
    memory_access = 2 batch channels prod(size)
    backward: the other way round, in one copy
    saved: nothing

    Source: Shi et al., arXiv:1609.05158, section 2.2, eq. 4.

    >>> pixel_shuffle(channels=64, size=(8, 8), factor=4).output_shape
    (1, 4, 32, 32)
    """
    require(channels=channels, factor=factor, batch=batch)
    require_divisible(channels=channels, by="factor**2", divisor=factor * factor)
    height, width = spatial(size)
    shape = (batch, exact_quotient(channels, factor * factor), height * factor, width * factor)
    return _moved(shape)


@public
def pixel_unshuffle(*, channels: Count, size: Sequence[Count], factor: Count, batch: Count = 1) -> LayerCost:
    """The inverse of pixel_shuffle: space becomes channels, in one copy.

    flops = 0
    memory_access = 2 batch channels prod(size)
    backward: the other way round, in one copy
    saved: nothing

    Source: torch.nn.PixelUnshuffle; Shi et al., arXiv:1609.05158.

    >>> pixel_unshuffle(channels=4, size=(32, 32), factor=4).output_shape
    (1, 64, 8, 8)
    """
    height, width = spatial(size)
    require(channels=channels, factor=factor, batch=batch)
    require_divisible(height=height, width=width, by="factor", divisor=factor)
    shape = (batch, channels * factor * factor, exact_quotient(height, factor), exact_quotient(width, factor))
    return _moved(shape)


@public
def channel_shuffle(*, channels: Count, size: Sequence[Count], groups: Count, batch: Count = 1) -> LayerCost:
    """Channels (groups, n) become (n, groups), in one copy.

    flops = 0
    memory_access = 2 batch channels prod(size)
    backward: the other way round, in one copy
    saved: nothing

    Source: Zhang et al., ShuffleNet, arXiv:1707.01083, section 3.1.

    >>> channel_shuffle(channels=240, size=(28, 28), groups=3).memory_access
    376320
    """
    require(channels=channels, groups=groups, batch=batch)
    require_divisible(channels=channels, by="groups", divisor=groups)
    shape = (batch, channels, *size)
    return _moved(shape)


@public
def pad(
    *,
    channels: Count,
    size: Sequence[Count],
    before: Count = 0,
    after: Count = 0,
    batch: Count = 1,
    mode: str = "constant",
) -> LayerCost:
    """Padding as a kernel of its own, ``before`` and ``after`` each axis (one count, or one per axis).

    flops = 0
    memory_access = x + y; circular in a training step, copies of slices, 2 (x + sides)
    backward: of a constant, cropped, y read and x written; reflected or replicated, also y adds; circular, as many
    copies back (see padding_backward)
    saved: x, reflected or replicated; else nothing

    Source: torch.nn.functional.pad.

    >>> pad(channels=3, size=(224, 224), after=1).output_shape
    (1, 3, 225, 225)
    """
    require(channels=channels, batch=batch)
    require_one_of(mode=mode, choices=PADDING_MODES)
    size = spatial(size)
    befores = per_axis(before, axes=len(size), name="before")
    afters = per_axis(after, axes=len(size), name="after")
    out = tuple(b + n + a for b, n, a in zip(befores, size, afters, strict=True))
    sides, maps = tuple(zip(befores, afters, strict=True)), batch * channels
    gradient = partial(of_input, padding_backward(maps, size, sides, mode))
    kernel = pointwise_kernel("resample", (batch, channels, *out), reads=maps * prod(size), gradient=gradient)
    if mode != "circular":
        return kernel
    return replace(kernel, when_trained=partial(always, copies_of_circular_padding(maps, size, sides)))
