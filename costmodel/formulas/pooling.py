"""Pooling: maximum, average, adaptive, global, fractional and of power p, over one to three axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from costmodel.formulas._arguments import per_axis, public, require, spatial
from costmodel.formulas._complex_numbers import on_numbers
from costmodel.formulas.activations import activation
from costmodel.formulas.cost import NO_WORK, LayerCost, as_one
from costmodel.formulas.elementwise import pointwise_kernel
from costmodel.formulas.geometry import adaptive_window_elements, pool_output_size, taps_inside
from costmodel.formulas.gradient import BackwardCost, Extra, Saved, always, of_input
from costmodel.quantities import Count, Work, prod


def _pool(
    *,
    channels: Count,
    batch: Count,
    size: Sequence[Count],
    out: tuple[Count, ...],
    work: Work,
    backward: BackwardCost,
    indices: bool = False,
) -> LayerCost:
    """A pool; ``work`` and ``backward`` are those of one channel of one sample."""
    require(channels=channels, batch=batch)
    outputs = batch * channels * prod(out)
    makes_indices = not indices and any(kept.tensor == "indices" for kept in backward.saved)
    return LayerCost(
        kind="pool",
        output_shape=(batch, channels, *out),
        output_size=out,
        read=batch * channels * prod(size),
        written=2 * outputs if indices else outputs,
        work=work.times(batch * channels),
        gradient=partial(of_input, backward.times(batch * channels)),
        when_trained=partial(always, Extra(written=outputs)) if makes_indices else None,
    )


def _of_maximum(size: Sequence[Count], out: tuple[Count, ...]) -> BackwardCost:
    """Each gradient is added to the element that was the greatest, of which the forward has kept the index."""
    x, y = prod(size), prod(out)
    saved = (Saved("input", x), Saved("indices", y, 8))
    return BackwardCost(read=2 * y, written=x, work=Work(adds=y), saved=saved)


def _of_mean(size: Sequence[Count], out: tuple[Count, ...], seen: Count) -> BackwardCost:
    """Each gradient is divided among the elements of its window, and added to each; ``seen`` of them in all."""
    x, y = prod(size), prod(out)
    return BackwardCost(read=y, written=x, work=Work(adds=seen, divides=y), saved=(Saved("input", x),))


@public
def max_pool(
    *,
    channels: Count,
    size: Sequence[Count],
    kernel: Count,
    stride: Count | None = None,
    padding: Count = 0,
    dilation: Count = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    batch: Count = 1,
) -> LayerCost:
    """The maximum of each window. stride None is the kernel's.

    flops = outputs (prod(kernel) - 1), compares; taps on padding included
    memory_access = x + y (+ indices, as many as y)
    backward: each gradient is added to the greatest of its window: y adds, y and indices read, x written
    saved: x, and the indices, 8 bytes each

    Source: Krizhevsky et al. 2012, section 3.4 (overlapping: kernel 3, stride 2).

    >>> max_pool(channels=64, size=(112, 112), kernel=3, stride=2, padding=1).output_shape    # ResNet's stem
    (1, 64, 56, 56)
    """
    out = pool_output_size(
        size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    taps = prod(per_axis(kernel, axes=len(size), name="kernel"))
    return _pool(
        channels=channels,
        batch=batch,
        size=size,
        out=out,
        work=Work(compares=prod(out) * (taps - 1)),
        backward=_of_maximum(size, out),
        indices=return_indices,
    )


@public
def avg_pool(
    *,
    channels: Count,
    size: Sequence[Count],
    kernel: Count,
    stride: Count | None = None,
    padding: Count = 0,
    ceil_mode: bool = False,
    batch: Count = 1,
) -> LayerCost:
    """The mean of each window. stride None is the kernel's.

    flops = outputs prod(kernel): prod(kernel) - 1 adds and one division; taps on padding included
    memory_access = x + y
    backward: y divisions, and an add for each tap within x; y read, x written
    saved: x

    The taps within x need the kernel as an int; with a symbol or an array there, taps on padding are among them.
    Source: LeCun et al. 1998, section II.B (subsampling), without its weights.

    >>> avg_pool(channels=2, size=(4, 4), kernel=2).flops
    32
    """
    out = pool_output_size(size=size, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
    kernels = per_axis(kernel, axes=len(size), name="kernel")
    taps = prod(kernels)
    work = Work(adds=prod(out) * (taps - 1), divides=prod(out))
    strides = kernels if stride is None else per_axis(stride, axes=len(size), name="stride")
    paddings = per_axis(padding, axes=len(size), name="padding")
    if all(isinstance(k, int) for k in kernels):
        seen = prod(
            taps_inside(positions=o, kernel=k, stride=s, padding=p, dilation=1, extent=n)
            for n, o, k, s, p in zip(size, out, kernels, strides, paddings, strict=True)
        )
    else:
        seen = prod(out) * taps
    return _pool(channels=channels, batch=batch, size=size, out=out, work=work, backward=_of_mean(size, out, seen))


@public
def adaptive_avg_pool(
    *,
    channels: Count,
    size: Sequence[Count],
    output_size: int | Sequence[int | None],
    batch: Count = 1,
    complex_valued: bool = False,
) -> LayerCost:
    """The mean of windows chosen so that ``output_size`` comes out; None keeps an axis.

    flops = batch channels prod over axes of the windows' summed lengths: as many adds and divisions
    flops = 2 for each add and 11 for each division, complex-valued
    memory_access = x + y
    backward: as of avg_pool, over these windows; y read, x written
    saved: x

    With one window in all, torch takes the mean of the map: its backward divides what arrives, repeated over x, x
    divisions, y read, x written; and keeps nothing.
    Window i of ``out`` goes from floor(i size / out) to ceil((i + 1) size / out); see adaptive_window_elements.
    Source: torch, aten/src/ATen/native/AdaptivePooling.h.

    >>> adaptive_avg_pool(channels=2048, size=(7, 7), output_size=1).flops                    # ResNet-50's last
    100352
    """
    out, elements = _adaptive(size=size, output_size=output_size)
    is_global = all(isinstance(n, int) and n == 1 for n in out)
    return _pool(
        channels=channels,
        batch=batch,
        size=size,
        out=out,
        work=on_numbers(Work(adds=elements - prod(out), divides=prod(out)), complex_valued=complex_valued),
        backward=_of_global_mean(size, complex_valued) if is_global else _of_mean(size, out, elements),
    )


def _of_global_mean(size: Sequence[Count], complex_valued: bool) -> BackwardCost:
    work = on_numbers(Work(divides=prod(size)), complex_valued=complex_valued)
    return BackwardCost(read=1, written=prod(size), work=work)


@public
def adaptive_max_pool(
    *,
    channels: Count,
    size: Sequence[Count],
    output_size: int | Sequence[int | None],
    return_indices: bool = False,
    batch: Count = 1,
) -> LayerCost:
    """The maximum of windows chosen so that ``output_size`` comes out; None keeps an axis.

    flops = batch channels (prod over axes of the windows' summed lengths - prod(output_size)), compares
    memory_access = x + y (+ indices, as many as y)
    backward: as of max_pool
    saved: x, and the indices, 8 bytes each

    Source: torch, aten/src/ATen/native/AdaptivePooling.h.

    >>> adaptive_max_pool(channels=1, size=(10,), output_size=(7,)).flops                     # 16 elements seen, 7 out
    9
    """
    out, elements = _adaptive(size=size, output_size=output_size)
    return _pool(
        channels=channels,
        batch=batch,
        size=size,
        out=out,
        work=Work(compares=elements - prod(out)),
        backward=_of_maximum(size, out),
        indices=return_indices,
    )


def _adaptive(*, size: Sequence[Count], output_size: int | Sequence[int | None]) -> tuple[tuple[Count, ...], Count]:
    size = spatial(size)
    wanted = per_axis(output_size, axes=len(size), name="output_size")
    require(output_size=tuple(o for o in wanted if o is not None))
    seen = prod(
        n if o is None else adaptive_window_elements(size=n, output_size=o) for n, o in zip(size, wanted, strict=True)
    )
    return tuple(n if o is None else o for n, o in zip(size, wanted, strict=True)), seen


@public
def global_avg_pool(
    *, channels: Count, size: Sequence[Count], batch: Count = 1, complex_valued: bool = False
) -> LayerCost:
    """The mean of every channel.

    flops = batch channels prod(size); complex-valued: batch channels (2 prod(size) + 9)
    memory_access = batch channels (prod(size) + 1)
    backward: a division for each element of x; batch channels read, x written
    saved: nothing

    Source: Lin et al., Network in Network, arXiv:1312.4400, section 3.2.

    >>> global_avg_pool(channels=1280, size=(7, 7)).memory_access
    64000
    """
    return adaptive_avg_pool(channels=channels, size=size, output_size=1, batch=batch, complex_valued=complex_valued)


@public
def global_max_pool(*, channels: Count, size: Sequence[Count], batch: Count = 1) -> LayerCost:
    """The maximum of every channel.

    flops = batch channels (prod(size) - 1)
    memory_access = batch channels (prod(size) + 1)
    backward, saved: as of max_pool

    Source: torch.nn.AdaptiveMaxPool2d(1).

    >>> global_max_pool(channels=10, size=(7, 7)).flops
    480
    """
    return adaptive_max_pool(channels=channels, size=size, output_size=1, batch=batch)


@public
def fractional_max_pool(
    *,
    channels: Count,
    size: Sequence[Count],
    kernel: Count,
    output_size: Count | Sequence[Count],
    batch: Count = 1,
    samples_given: bool = False,
) -> LayerCost:
    """The maximum of windows that start at random places, ``output_size`` of them along each of d axes.

    flops = outputs (prod(kernel) - 1), compares
    memory_access = x + s + y + indices, as many as y; s = d batch channels random samples, written first if not given
    backward, saved: as of max_pool

    Source: Graham, arXiv:1412.6071, section 2; torch.nn.FractionalMaxPool2d.

    >>> fractional_max_pool(channels=1, size=(5, 7), kernel=2, output_size=(2, 3)).flops      # 6 windows of 4
    18
    """
    size = spatial(size)
    out = per_axis(output_size, axes=len(size), name="output_size")
    require(output_size=out)
    taps = prod(per_axis(kernel, axes=len(size), name="kernel"))
    work = Work(compares=prod(out) * (taps - 1))
    backward = _of_maximum(size, out)
    pool = _pool(channels=channels, batch=batch, size=size, out=out, work=work, backward=backward, indices=True)
    samples = batch * channels * len(size)
    return replace(pool, read=pool.read + samples, written=pool.written + (0 if samples_given else samples))


@public
def lp_pool(
    *,
    channels: Count,
    size: Sequence[Count],
    kernel: Count,
    stride: Count | None = None,
    norm_type: float = 2,
    ceil_mode: bool = False,
    batch: Count = 1,
) -> LayerCost:
    """(sum of x^p)^(1/p) over each window, in the eight kernels that torch runs.

    flops = power of x + avg_pool + 3 outputs (relu, times sign, times prod(kernel)) + root of y
    memory_access = 2 x + (x + y) + 3 2 y + 3 y + 2 2 y
    backward: of the kernels from the last to the first; of a power, x^(p - 1), times p, times what arrives
    saved: x and x^p; the mean, its sign, its magnitude, and what the root is taken of

    Kernels: x^p, average pool, sign, abs, relu, product, times the kernel's elements, root.
    Source: torch.nn.functional.lp_pool2d.

    >>> lp_pool(channels=1, size=(4,), kernel=2).memory_access                               # x is 4, y is 2
    40
    """
    mean = avg_pool(channels=channels, size=size, kernel=kernel, stride=stride, ceil_mode=ceil_mode, batch=batch)
    x, y = (batch, channels, *size), mean.output_shape
    free = pointwise_kernel("pool", y, reads=prod(y))
    forward = as_one(
        "pool",
        pointwise_kernel("pool", x, per_element=_power(norm_type), reads=prod(x)),
        mean,
        free,
        free,
        activation(name="relu", shape=y),
        pointwise_kernel("pool", y, per_element=Work(multiplies=1), reads=2 * prod(y)),
        pointwise_kernel("pool", y, per_element=Work(multiplies=1), reads=prod(y)),
        pointwise_kernel("pool", y, per_element=NO_WORK if norm_type == 1 else Work(transcendentals=1), reads=prod(y)),
    )
    return replace(forward, gradient=partial(of_input, _power_pool_backward(norm_type, prod(x), prod(y), mean)))


def _power_pool_backward(norm_type: float, x: Count, y: Count, mean: LayerCost) -> BackwardCost:
    """From the root back to the power. Of x^p: x^(p - 1), times p, times what arrives; of the root likewise."""

    def of_power(exponent: float, elements: Count) -> BackwardCost:
        work = (_power(exponent - 1) + Work(multiplies=2)).times(elements)
        return BackwardCost(read=4 * elements, written=3 * elements, work=work)

    scaled = BackwardCost(read=y, written=y, work=Work(multiplies=y))
    product = BackwardCost(read=4 * y, written=2 * y, work=Work(multiplies=2 * y))
    relu = BackwardCost(read=2 * y, written=y, work=Work(compares=y))
    magnitude = BackwardCost(read=3 * y, written=2 * y, work=Work(multiplies=y))
    sign = BackwardCost(written=y)
    of_mean = replace(mean.backward(), saved=(Saved("powers", x),))
    made = ("mean", "sign", "magnitude", "scaled")
    kept = BackwardCost(saved=(Saved("input", x), *(Saved(name, y) for name in made)))
    steps = (of_power(1 / norm_type, y), scaled, product, relu, magnitude, sign, of_mean, of_power(norm_type, x))
    return sum(steps, kept)


def _power(exponent: float) -> Work:
    """x^p: p - 1 multiplies for a whole p, a transcendental function otherwise; x^0 is 1."""
    if exponent == 0:
        return NO_WORK
    if exponent >= 1 and int(exponent) == exponent:
        return Work(multiplies=int(exponent) - 1)
    return Work(transcendentals=1)
