"""The receptive-field algebra of one axis: what a position of an output sees of an input. It knows no op.

Every op's window is one of a few statements ("taps"), one for each dimension of each tensor it reads:
the dimension follows an output dimension through an affine map, is seen whole, or is fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import TypeAlias

from costmodel.quantities import Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What one output position sees along one input axis, in input positions.

    Two stacked 3x3 convolutions see what one 5x5 sees:

    >>> Window(size=3, pad=1).after(Window(size=3, pad=1))
    Window(size=5, stride=1, pad=2)
    """

    size: Count = 1
    stride: Count = 1
    pad: Count = 0

    def after(self, first: Window) -> Window:
        """This window on top of ``first``. Associative."""
        return Window(
            size=first.size + (self.size - 1) * first.stride,
            stride=first.stride * self.stride,
            pad=first.pad + self.pad * first.stride,
        )


@dataclass(frozen=True, slots=True)
class Follow:
    """The input dimension follows output dimension ``dim``.

    The output positions ``low..high`` see the input positions ``floor(slope * low + first)`` to
    ``floor(slope * high + last)``; both may lie outside the input, where they see padding.
    """

    dim: int
    slope: Fraction | int = 1
    first: Fraction | int = 0
    last: Fraction | int = 0

    def pull(self, low: int, high: int) -> tuple[int, int]:
        """The input interval that the output interval ``low..high`` sees.

        >>> sliding(2, size=3, stride=2, pad=1).pull(0, 4)
        (-1, 9)
        """
        if self.slope < 0:
            low, high = high, low
        return floor(self.slope * low + self.first), floor(self.slope * high + self.last)


@dataclass(frozen=True, slots=True)
class Rolled:
    """The input dimension of ``length`` follows output dimension ``dim``, shifted by ``shift`` and wrapped around."""

    dim: int
    shift: int
    length: int


@dataclass(frozen=True, slots=True)
class Whole:
    """Every output position sees the whole input dimension."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every output position sees the same one position of the input dimension."""

    index: int = 0


Tap: TypeAlias = Follow | Rolled | Whole | Fixed


@dataclass(frozen=True, slots=True)
class Regrouped:
    """The output is the tensor ``arg`` read in the same row-major order under another shape (view, reshape)."""

    arg: str


Sight: TypeAlias = Mapping[str, tuple[Tap, ...]] | Regrouped
"""What one output sees: for each tensor argument by name one tap a dimension. An argument left out (a weight) is not
part of the network's input path; an empty mapping sees no input at all."""


def sliding(dim: int, *, size: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> Follow:
    """A convolution's or pooling's window along one axis.

    >>> sliding(2, size=3, dilation=2).pull(5, 5)
    (5, 9)
    """
    return Follow(dim, stride, -pad, dilation * (size - 1) - pad)


def transposed(dim: int, *, size: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> Follow:
    """A transposed convolution's window: input i reaches the outputs i * stride - pad + (0 .. dilation * (size - 1)).

    >>> [transposed(2, size=4, stride=2, pad=1).pull(o, o) for o in range(3)]
    [(-1, 0), (0, 1), (0, 1)]
    """
    reach = dilation * (size - 1)
    # Of the inputs i with 0 <= o + pad - i * stride <= reach: the least is a ceiling, written as a floor.
    return Follow(dim, Fraction(1, stride), Fraction(pad - reach + stride - 1, stride), Fraction(pad, stride))


def adaptive(dim: int, *, size_in: int, size_out: int) -> Follow:
    """Adaptive pooling: output o covers floor(o * in / out) to ceil((o + 1) * in / out) - 1.

    >>> [adaptive(2, size_in=7, size_out=5).pull(o, o) for o in range(5)]
    [(0, 1), (1, 2), (2, 4), (4, 5), (5, 6)]
    """
    slope = Fraction(size_in, size_out)
    return Follow(dim, slope, 0, slope + Fraction(size_out - 1, size_out) - 1)
