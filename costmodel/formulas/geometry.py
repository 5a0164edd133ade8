"""Output sizes of windows, and the receptive fields of chains of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import NamedTuple

from costmodel.formulas._arguments import ceil_div, lesser, per_axis, positive_part, public, require, spatial
from costmodel.quantities import Count, prod
from costmodel.records import dataclass


def padding_of_each_side(
    *, padding: Count | str, kernel: tuple[Count, ...], dilation: tuple[Count, ...]
) -> tuple[tuple[Count, Count], ...]:
    """(before, after) of every axis. "same" spreads dilation (kernel - 1); an odd rest goes after, as in torch.

    >>> padding_of_each_side(padding="same", kernel=(3, 4), dilation=(1, 1))
    ((1, 1), (1, 2))
    """
    if isinstance(padding, str) and padding == "same":
        whole = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
        return tuple((w // 2, w - w // 2) for w in whole)
    if isinstance(padding, str):
        if padding != "valid":
            raise ValueError(f"padding={padding!r} is unknown: give a number per axis, 'same' or 'valid'")
        padding = 0
    each = per_axis(padding, axes=len(kernel), name="padding")
    require(padding=each, least=0)
    return tuple((p, p) for p in each)


@public
def conv_output_size(
    *, size: Sequence[Count], kernel: Count, stride: Count = 1, padding: Count | str = 0, dilation: Count = 1
) -> tuple[Count, ...]:
    """Spatial sizes after a convolution.

    out = (size + 2 padding - dilation (kernel - 1) - 1) // stride + 1, per axis; "same" keeps the size.

    Source: Dumoulin & Visin, arXiv:1603.07285, relationships 6 and 15.

    >>> conv_output_size(size=(224, 224), kernel=7, stride=2, padding=3)
    (112, 112)
    """
    size = spatial(size)
    kernel = per_axis(kernel, axes=len(size), name="kernel")
    stride = per_axis(stride, axes=len(size), name="stride")
    dilation = per_axis(dilation, axes=len(size), name="dilation")
    require(kernel=kernel, stride=stride, dilation=dilation)
    if isinstance(padding, str) and padding == "same":
        if any(isinstance(s, int) and s != 1 for s in stride):
            raise ValueError(f"stride={stride} does not go with padding='same': give the padding as numbers")
        return size
    sides = padding_of_each_side(padding=padding, kernel=kernel, dilation=dilation)
    spans = [n + before + after for n, (before, after) in zip(size, sides, strict=True)]
    reaches = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    for axis, (span, reach) in enumerate(zip(spans, reaches, strict=True)):
        if isinstance(span, int) and isinstance(reach, int) and span < reach:
            raise ValueError(
                f"kernel={kernel} with dilation={dilation} reaches over {reach} positions of axis {axis}, "
                f"which has {span} with its padding: enlarge size={size} or the padding"
            )
    return tuple((n - r) // s + 1 for n, r, s in zip(spans, reaches, stride, strict=True))


@public
def conv_transpose_output_size(
    *,
    size: Sequence[Count],
    kernel: Count,
    stride: Count = 1,
    padding: Count = 0,
    output_padding: Count = 0,
    dilation: Count = 1,
) -> tuple[Count, ...]:
    """Spatial sizes after a transposed convolution.

    out = (size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1, per axis.

    Source: Dumoulin & Visin, arXiv:1603.07285, relationship 14; torch.nn.ConvTranspose2d for the dilation.

    >>> conv_transpose_output_size(size=(7, 7), kernel=4, stride=2, padding=1)
    (14, 14)
    """
    size = spatial(size)
    kernel, stride, padding, output_padding, dilation = (
        per_axis(value, axes=len(size), name=name)
        for name, value in (
            ("kernel", kernel),
            ("stride", stride),
            ("padding", padding),
            ("output_padding", output_padding),
            ("dilation", dilation),
        )
    )
    require(kernel=kernel, stride=stride, dilation=dilation)
    require(padding=padding, output_padding=output_padding, least=0)
    for extra, s, d in zip(output_padding, stride, dilation, strict=True):
        if isinstance(extra, int) and isinstance(s, int) and isinstance(d, int) and extra >= s and extra >= d:
            raise ValueError(
                f"output_padding={output_padding} must be smaller than stride={stride} or dilation={dilation}"
            )
    out = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + o + 1
        for n, k, s, p, o, d in zip(size, kernel, stride, padding, output_padding, dilation, strict=True)
    )
    require(output_size=out)
    return out


@public
def pool_output_size(
    *,
    size: Sequence[Count],
    kernel: Count,
    stride: Count | None = None,
    padding: Count = 0,
    dilation: Count = 1,
    ceil_mode: bool = False,
) -> tuple[Count, ...]:
    """Spatial sizes after pooling; stride None is the kernel's.

    out = (size + 2 padding - dilation (kernel - 1) - 1) // stride + 1, per axis.

    With ceil_mode the quotient is rounded up, and a last window that would start in the padding after the input is
    dropped: out <= (size + padding - 1) // stride + 1.

    Source: torch, aten/src/ATen/native/Pool.h, pooling_output_shape.

    >>> pool_output_size(size=(112, 112), kernel=3, stride=2, ceil_mode=True)
    (56, 56)
    """
    size = spatial(size)
    kernel = per_axis(kernel, axes=len(size), name="kernel")
    stride = kernel if stride is None else per_axis(stride, axes=len(size), name="stride")
    padding = per_axis(padding, axes=len(size), name="padding")
    dilation = per_axis(dilation, axes=len(size), name="dilation")
    for p, k in zip(padding, kernel, strict=True):
        if isinstance(p, int) and isinstance(k, int) and 2 * p > k:
            raise ValueError(
                f"padding={padding} is more than half of kernel={kernel}: a window could lie in it entirely"
            )
    if not ceil_mode:
        return conv_output_size(size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    require(kernel=kernel, stride=stride, dilation=dilation)
    out = tuple(
        lesser(ceil_div(n + 2 * p - d * (k - 1) - 1, s) + 1, (n + p - 1) // s + 1)
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )
    require(output_size=out)
    return out


@public
def adaptive_window_elements(*, size: Count, output_size: int) -> Count:
    """Elements that the windows of one adaptively pooled axis see together.

    Window i of ``out`` goes from floor(i size / out) to ceil((i + 1) size / out). For ints the sum of the lengths is
    size + out - gcd(size, out): neighbours share an element wherever the border falls inside one.

    >>> adaptive_window_elements(size=10, output_size=7), 10 + 7 - 1
    (16, 16)
    """
    if not isinstance(output_size, int):
        raise ValueError(f"output_size={output_size!r}: the windows are summed one by one, give it as an int")
    if isinstance(size, int):
        return size + output_size - gcd(size, output_size)
    lengths: Count = 0
    for i in range(output_size):
        lengths = lengths + ceil_div((i + 1) * size, output_size) - i * size // output_size
    return lengths


def taps_inside(
    *, positions: Count, kernel: int, stride: Count, padding: Count, dilation: Count, extent: Count
) -> Count:
    """Pairs (position, tap) of one axis that meet inside 0 ... extent - 1.

    Position i and tap t meet at i stride + t dilation - padding. For a convolution the positions are outputs and the
    extent is the input's; for a transposed one the other way round.

    >>> taps_inside(positions=4, kernel=3, stride=1, padding=1, dilation=1, extent=4)
    10
    """
    if all(isinstance(n, int) for n in (positions, stride, padding, dilation, extent)):
        # Position i meets tap t at a place up to ``end`` where i <= (end + padding - t dilation) / stride.
        up_to = (_pairs_up_to(end + padding, positions, kernel, stride, dilation) for end in (extent - 1, -1))
        return next(up_to) - next(up_to)
    inside: Count = 0
    for tap in range(kernel):
        shift = tap * dilation - padding
        first = positive_part(ceil_div(-shift, stride))
        end = lesser(positions, (extent - 1 - shift) // stride + 1)
        inside = inside + positive_part(end - first)
    return inside


def _pairs_up_to(end: int, positions: int, taps: int, stride: int, dilation: int) -> int:
    """Pairs (i, t) below (positions, taps) with i stride + t dilation <= end, without going through them."""
    # Up to the tap ``all_meet`` every position counts, from there to ``none_meets`` the first
    # floor((end - t dilation) / stride) + 1 of them, and none beyond.
    all_meet = min(max((end - (positions - 1) * stride) // dilation + 1, 0), taps)
    none_meets = min(max(end // dilation + 1, 0), taps)
    rest = none_meets - all_meet
    first = end - (none_meets - 1) * dilation
    return positions * all_meet + (rest + _floor_sum(rest, stride, dilation, first) if rest > 0 else 0)


def _floor_sum(n: int, divisor: int, slope: int, offset: int) -> int:
    """The sum of floor((slope i + offset) / divisor) over i below n, by Euclid's algorithm on the two.

    >>> _floor_sum(4, 10, 6, 3), (3 // 10) + (9 // 10) + (15 // 10) + (21 // 10)
    (3, 3)
    """
    found = 0
    while n > 0:
        found += n * (n - 1) // 2 * (slope // divisor) + n * (offset // divisor)
        slope, offset = slope % divisor, offset % divisor
        n, offset = divmod(slope * n + offset, divisor)
        slope, divisor = divisor, slope
    return found


class Window(NamedTuple):
    """One layer of a chain, along one axis."""

    kernel: Count
    stride: Count = 1
    padding: Count = 0
    dilation: Count = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """What one output position sees: ``size`` input positions from ``start + i stride`` on, for output i."""

    size: Count
    stride: Count
    start: Count

    @property
    def padding(self) -> Count:
        """Positions that output 0 sees before the input begins."""
        return -self.start


@public
def receptive_field(*, layers: Sequence[Sequence[Count]]) -> Field:
    """The receptive field of a chain of (kernel, stride, padding, dilation), from the first layer forwards.

    size = 1 + sum of dilation_l (kernel_l - 1) jump_l, jump_l the product of the strides before l; start = - sum of
    padding_l jump_l.

    Source: Araujo, Norris & Sim, "Computing receptive fields of convolutional neural networks", Distill 2019, eq. 2.

    >>> receptive_field(layers=[(3,), (3,)])                    # two 3x3 see as far as one 5x5
    Field(size=5, stride=1, start=0)
    """
    chain = [Window(*layer) for layer in layers]
    jumps = [prod(before.stride for before in chain[:place]) for place in range(len(chain))]
    seen: Count = 1
    start: Count = 0
    for layer, jump in zip(chain, jumps, strict=True):
        seen = seen + layer.dilation * (layer.kernel - 1) * jump
        start = start - layer.padding * jump
    return Field(size=seen, stride=prod(layer.stride for layer in chain), start=start)


@public
def receptive_field_backwards(*, layers: Sequence[Sequence[Count]]) -> Field:
    """The same field, from the last layer backwards: what one output needs of each layer's input in turn.

    size <- (size - 1) stride_l + dilation_l (kernel_l - 1) + 1; start <- start stride_l - padding_l.

    Source: Araujo, Norris & Sim, Distill 2019, eq. 1.

    >>> receptive_field_backwards(layers=[(7, 2, 3), (3, 2, 1)])          # ResNet's stem
    Field(size=11, stride=4, start=-5)
    """
    seen: Count = 1
    stride: Count = 1
    start: Count = 0
    for layer in reversed([Window(*layer) for layer in layers]):
        seen = (seen - 1) * layer.stride + layer.dilation * (layer.kernel - 1) + 1
        start = start * layer.stride - layer.padding
        stride = stride * layer.stride
    return Field(size=seen, stride=stride, start=start)
