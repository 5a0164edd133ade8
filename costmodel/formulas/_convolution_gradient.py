"""The gradients of convolutions and of the padding before them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from costmodel.formulas._arguments import lesser, positive_part
from costmodel.formulas.gradient import NOTHING, BackwardCost, Extra, Needs, Saved
from costmodel.quantities import Count, Work, prod
from costmodel.records import dataclass

INSIDE = ("reflect", "replicate")
"""Modes of padding with what is inside that have a kernel of their own; circular padding is copies of slices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvolutionKernel:
    """What the kernel of a convolution, transposed or not, reads and writes, in elements, and its products."""

    x: Count
    w: Count
    b: Count
    y: Count
    product: Work
    """Its multiply-accumulates; the gradient of x takes as many, and so does that of w."""


def convolution_backward(
    forward: ConvolutionKernel, padding: BackwardCost, saved: tuple[Saved, ...], needs: Needs
) -> BackwardCost:
    """All gradients that are asked for by one kernel, and that of the padding before it.

    The forward keeps its input and its weight for each of the three, for they are one kernel's.
    """
    of_bias = needs.bias and not (isinstance(forward.b, int) and forward.b == 0)
    if not (needs.any_input or needs.weight or of_bias):
        return NOTHING
    cost = BackwardCost(read=forward.y, saved=saved, saved_weights=forward.w)
    if needs.any_input:
        cost += BackwardCost(read=forward.w, written=forward.x, work=forward.product) + padding
    if needs.weight:
        cost += BackwardCost(read=forward.x, written=forward.w, work=forward.product)
    if of_bias:
        cost += BackwardCost(written=forward.b, work=Work(adds=forward.y - forward.b))
    return cost


def kept(name: str, elements: Count) -> tuple[Saved, ...]:
    """A tensor that is kept, or nothing where it has no elements."""
    return () if isinstance(elements, int) and elements == 0 else (Saved(name, elements),)


def padding_backward(
    leading: Count, size: tuple[Count, ...], sides: tuple[tuple[Count, Count], ...], mode: str
) -> BackwardCost:
    """The gradient of padding ``leading`` maps of this size by (before, after) on each axis.

    Of zeros: cropped. Of what is inside, by reflection or replication: each gradient is added to the element that it
    was copied from; the input is kept. Of circular padding, which writes the middle, and then each side that has a
    width: what arrives is copied, and for each side again; the side is copied out, a zero of its size made and copied
    into the whole, and its gradient written into a whole of zeros; last the middle, sliced from each axis in turn.
    """
    x, padded = leading * prod(size), leading * prod(_padded(size, sides))
    if mode == "circular":
        sliced, slabs = _circular(leading, size, sides)
        copies = 1 + sum(lesser(positive_part(width), 1) for widths in sides for width in widths)
        whole, middle = copies * padded, sliced[-1]
        return BackwardCost(
            read=whole + 3 * slabs + sum(sliced[1:]) + middle,
            written=whole + 3 * slabs + (copies - 1) * padded + sum(sliced[:-1]) + middle,
        )
    if mode in INSIDE:
        return BackwardCost(read=padded, written=x, work=Work(adds=padded), saved=kept("input", x))
    return BackwardCost(read=padded, written=x)


def copies_of_circular_padding(
    leading: Count, size: tuple[Count, ...], sides: tuple[tuple[Count, Count], ...]
) -> Extra:
    """What circular padding moves more in a training step than as one kernel: it copies the middle, then each side."""
    sliced, slabs = _circular(leading, size, sides)
    copied = sliced[-1] + slabs
    return Extra(read=copied - leading * prod(size), written=copied - leading * prod(_padded(size, sides)))


def _circular(
    leading: Count, size: tuple[Count, ...], sides: tuple[tuple[Count, Count], ...]
) -> tuple[Sequence[Count], Count]:
    """The elements of the maps as they are, and cropped along each axis from the last on, and those of all sides.

    A side of a negative width is cropped.
    """

    def cropped(elements: Count, axis: tuple[Count, tuple[Count, Count]]) -> Count:
        n, (before, after) = axis
        return elements // n * (n + lesser(before, 0) + lesser(after, 0))

    axes = reversed(tuple(zip(size, sides, strict=True)))
    padded_size = _padded(size, sides)
    slabs = sum(
        leading * prod(padded_size) // extent * positive_part(width)
        for extent, widths in zip(padded_size, sides, strict=True) for width in widths
    )  # fmt: skip
    return list(accumulate(axes, cropped, initial=leading * prod(size))), slabs


def _padded(size: tuple[Count, ...], sides: tuple[tuple[Count, Count], ...]) -> tuple[Count, ...]:
    return tuple(before + n + after for n, (before, after) in zip(size, sides, strict=True))
