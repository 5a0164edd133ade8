"""Convolutions: standard, depthwise, pointwise, grouped and dilated, over one to three axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from costmodel.formulas._arguments import (
    exact_quotient,
    holds_everywhere,
    per_axis,
    public,
    require,
    require_divisible,
    require_one_of,
    spatial,
)
from costmodel.formulas._complex_numbers import on_numbers
from costmodel.formulas._convolution_gradient import (
    ConvolutionKernel,
    convolution_backward,
    copies_of_circular_padding,
    kept,
    padding_backward,
)
from costmodel.formulas.cost import LayerCost
from costmodel.formulas.geometry import conv_output_size, padding_of_each_side, taps_inside
from costmodel.formulas.gradient import BackwardCost, always
from costmodel.quantities import Count, Work, prod

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


@public
def conv(
    *,
    c_in: Count,
    c_out: Count,
    kernel: Count,
    size: Sequence[Count],
    stride: Count = 1,
    padding: Count | str = 0,
    dilation: Count = 1,
    groups: Count = 1,
    bias: bool = True,
    batch: Count = 1,
    padding_mode: str = "zeros",
    complex_valued: bool = False,
) -> LayerCost:
    """A convolution over as many axes as ``size`` has; dilated and grouped ones included.

    params = c_out (c_in / groups) prod(kernel) + c_out if bias
    macs = batch prod(out) c_out (c_in / groups) prod(kernel), taps on padding included
    flops = 2 macs + output elements if bias; complex-valued: each mac is 4, each add 2
    memory_access = x + w + b + y, and a padded copy of x where a kernel of its own pads
    backward, with g the gradient of y: as many macs each for that of x (g spread over w) and of w (g times x), taps on
    padding included; b: output elements - c_out adds; one kernel, which reads g once, w for x, and x for w
    saved: x, or its padded copy; and x for the gradient of x, where a kernel of its own reflects or replicates it

    Shapes: x (batch, c_in, *size), w (c_out, c_in / groups, *kernel), y (batch, c_out, *out).
    A kernel of its own pads for reflect, replicate and circular, and for "same" where dilation (kernel - 1) is odd.
    ``work.macs_on_padding`` needs the kernel as an int; with a symbol or an array there it stays 0.
    Source: Dumoulin & Visin, arXiv:1603.07285, section 2; groups: Krizhevsky et al. 2012, section 3.2.

    >>> conv(c_in=3, c_out=64, kernel=7, size=(224, 224), stride=2, padding=3, bias=False).macs       # ResNet's first
    118013952
    """
    size = spatial(size)
    kernel = per_axis(kernel, axes=len(size), name="kernel")
    dilation = per_axis(dilation, axes=len(size), name="dilation")
    _check(c_in=c_in, c_out=c_out, groups=groups, batch=batch)
    require_one_of(padding_mode=padding_mode, choices=PADDING_MODES)
    out = conv_output_size(size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    sides = padding_of_each_side(padding=padding, kernel=kernel, dilation=dilation)

    of_group = exact_quotient(c_in, groups)
    filters = c_out * of_group * prod(kernel)
    biases = c_out if bias else 0
    outputs = batch * c_out * prod(out)
    on_padding: Count = 0
    if padding_mode == "zeros" and all(isinstance(k, int) for k in kernel):
        pairs = _pairs_on_padding(size=size, kernel=kernel, stride=stride, sides=sides, dilation=dilation, out=out)
        on_padding = batch * c_out * of_group * pairs
    copied_from, copied_to, padded = _padding_copy(size=size, sides=sides, mode=padding_mode)
    maps = batch * c_in
    product = Work(macs=batch * prod(out) * filters, macs_on_padding=on_padding)
    whole = ConvolutionKernel(x=maps * padded, w=filters, b=biases, y=outputs, product=product)
    if padding_mode == "zeros":
        padding = BackwardCost(read=maps * copied_to, written=maps * copied_from)
        saved = (*kept("input", maps * (prod(size) - copied_from)), *kept("padded input", maps * copied_to))
    else:
        padding = padding_backward(maps, size, sides, padding_mode)
        saved = kept("padded input", maps * padded)
    is_circular = padding_mode == "circular"
    return LayerCost(
        kind=_kind(c_in=c_in, groups=groups, kernel=kernel),
        output_shape=(batch, c_out, *out),
        output_size=out,
        read=maps * (copied_from + padded) + filters + biases,
        written=maps * copied_to + outputs,
        work=on_numbers(product + Work(adds=outputs if bias else 0), complex_valued=complex_valued),
        params=filters + biases,
        activations=outputs,
        gradient=None if complex_valued else partial(convolution_backward, whole, padding, saved),
        when_trained=partial(always, copies_of_circular_padding(maps, size, sides)) if is_circular else None,
    )


@public
def conv_macs_on_padding(
    *,
    c_in: int,
    c_out: int,
    kernel: int | Sequence[int],
    size: Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    batch: int = 1,
) -> int:
    """Multiply-accumulates of a zero-padded convolution whose tap lies on the padding. The kernel is given in ints.

    macs = batch c_out (c_in / groups) (prod(out) prod(kernel) - pairs of output and tap that meet inside the input)

    The pairs inside are a product over the axes, for an axis does not ask the others. Part of conv(...).macs.
    Source: counting; tests visit the loop nest.

    >>> conv_macs_on_padding(c_in=1, c_out=1, kernel=3, size=(4, 4), padding=1)             # 144 in all, 100 inside
    44
    """
    if not all(isinstance(k, int) for k in per_axis(kernel, axes=len(size), name="kernel")):
        raise ValueError(f"kernel={kernel!r}: taps are visited one by one, give ints")
    layer = conv(
        c_in=c_in,
        c_out=c_out,
        kernel=kernel,
        size=size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        batch=batch,
    )
    on_padding: int = layer.work.macs_on_padding
    return on_padding


@public
def depthwise_conv(
    *,
    channels: Count,
    kernel: Count,
    size: Sequence[Count],
    multiplier: Count = 1,
    stride: Count = 1,
    padding: Count | str = 0,
    dilation: Count = 1,
    bias: bool = True,
    batch: Count = 1,
    complex_valued: bool = False,
) -> LayerCost:
    """A convolution of every channel with filters of its own: groups = channels.

    params = M multiplier D_K^2 + M multiplier if bias
    macs = batch D_K^2 M multiplier D_F^2; complex-valued: each is 4

    In the letters of the paper: M channels, D_K the kernel's side, D_F the output's.
    Source: Howard et al., MobileNets, arXiv:1704.04861, section 3.1, eq. 4.

    >>> depthwise_conv(channels=512, kernel=3, size=(14, 14), padding=1, bias=False).macs
    903168
    """
    return conv(
        c_in=channels,
        c_out=channels * multiplier,
        kernel=kernel,
        size=size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=channels,
        bias=bias,
        batch=batch,
        complex_valued=complex_valued,
    )


@public
def pointwise_conv(
    *,
    c_in: Count,
    c_out: Count,
    size: Sequence[Count],
    stride: Count = 1,
    groups: Count = 1,
    bias: bool = True,
    batch: Count = 1,
    complex_valued: bool = False,
) -> LayerCost:
    """A convolution with a kernel of one position: a matrix product over the channels.

    params = M N + N if bias
    macs = batch M N D_F^2; complex-valued: each is 4
    memory_access = hw (c1 + c2) + c1 c2 for batch 1, no bias, stride 1 and groups 1

    In the letters of the paper: M channels in, N out, D_F the output's side.
    Source: Howard et al., arXiv:1704.04861, section 3.1, eq. 5; the access: Ma et al., ShuffleNet V2,
    arXiv:1807.11164, section 2, G1.

    >>> pointwise_conv(c_in=512, c_out=512, size=(14, 14), bias=False).macs
    51380224
    """
    return conv(
        c_in=c_in,
        c_out=c_out,
        kernel=1,
        size=size,
        stride=stride,
        groups=groups,
        bias=bias,
        batch=batch,
        complex_valued=complex_valued,
    )


@public
def grouped_conv(
    *,
    c_in: Count,
    c_out: Count,
    groups: Count,
    kernel: Count,
    size: Sequence[Count],
    stride: Count = 1,
    padding: Count | str = 0,
    dilation: Count = 1,
    bias: bool = True,
    batch: Count = 1,
    complex_valued: bool = False,
) -> LayerCost:
    """A convolution in ``groups`` that do not see each other.

    params = k^2 (c1 / g) c2 + c2 if bias: 1 / g of the standard one's
    macs = batch prod(out) k^2 (c1 / g) c2, likewise; complex-valued: each is 4

    Source: Xie et al., ResNeXt, arXiv:1611.05431, section 3.3; Zhang et al., ShuffleNet, arXiv:1707.01083, section 3.

    >>> grouped_conv(c_in=128, c_out=128, groups=32, kernel=3, size=(56, 56), padding=1, bias=False).params
    4608
    """
    return conv(
        c_in=c_in,
        c_out=c_out,
        kernel=kernel,
        size=size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
        batch=batch,
        complex_valued=complex_valued,
    )


def _check(*, c_in: Count, c_out: Count, groups: Count, batch: Count) -> None:
    require(c_in=c_in, c_out=c_out, groups=groups, batch=batch)
    require_divisible(c_in=c_in, c_out=c_out, by="groups", divisor=groups)


def _kind(*, c_in: Count, groups: Count, kernel: tuple[Count, ...]) -> str:
    if holds_everywhere(groups == 1):
        return "pointwise conv" if all(holds_everywhere(k == 1) for k in kernel) else "standard conv"
    return "depthwise conv" if holds_everywhere(groups == c_in) else "grouped conv"


def _padding_copy(
    *, size: tuple[Count, ...], sides: tuple[tuple[Count, Count], ...], mode: str
) -> tuple[Count, Count, Count]:
    """Per channel: elements that a padding kernel reads and writes, and those that the convolution then reads."""
    widths = tuple(before + after for before, after in sides)
    padded = tuple(n + w for n, w in zip(size, widths, strict=True))
    if mode != "zeros":
        return prod(size), prod(padded), prod(padded)
    # A kernel takes one padding for both sides; what is more after than before (0 or 1) needs a copy.
    odd = tuple(after - before for before, after in sides)
    happens = 1 - prod(1 - o for o in odd)
    evened = prod(n + o for n, o in zip(size, odd, strict=True))
    return happens * prod(size), happens * evened, evened


def _pairs_on_padding(
    *,
    size: tuple[Count, ...],
    kernel: tuple[Count, ...],
    stride: Count,
    sides: tuple[tuple[Count, Count], ...],
    dilation: tuple[Count, ...],
    out: tuple[Count, ...],
) -> Count:
    strides = per_axis(stride, axes=len(size), name="stride")
    inside = prod(
        o * k
        if holds_everywhere(before == 0) and holds_everywhere(after == 0)
        else taps_inside(positions=o, kernel=k, stride=s, padding=before, dilation=d, extent=n)
        for o, k, s, (before, after), d, n in zip(out, kernel, strides, sides, dilation, size, strict=True)
    )
    return prod(out) * prod(kernel) - inside
