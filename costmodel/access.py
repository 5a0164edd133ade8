"""Access maps: which positions of each input a position of an output depends on. No op is known here.

An op's access map has one ``AxisMap`` for each dimension of each tensor that it reads: the dimension follows an output
dimension through an affine map, is seen whole, or is fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from typing import TYPE_CHECKING, TypeAlias

from costmodel.records import dataclass

if TYPE_CHECKING:
    from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Affine:
    """The input dimension follows output dimension ``dim``.

    The output positions ``low..high`` see the input positions ``floor(slope * low + first)`` to
    ``floor(slope * high + last)``; both may lie outside the input, where they see padding.
    """

    dim: int
    slope: Fraction | int = 1
    first: Fraction | int = 0
    last: Fraction | int = 0
    step: int = 1
    """Between neighbours of the input positions that one output position sees: a dilation leaves gaps."""
    unit: int = 1
    """Input positions come in runs of this length, seen as one (the channels of a group); the map counts runs."""

    def pull(self, low: int, high: int) -> tuple[int, int]:
        """The input interval that the output interval ``low..high`` sees.

        >>> sliding(2, size=3, stride=2, pad=1).pull(0, 4)
        (-1, 9)
        """
        if self.slope < 0:
            low, high = high, low
        low, high = floor(self.slope * low + self.first), floor(self.slope * high + self.last)
        return self.unit * low, self.unit * (high + 1) - 1


@dataclass(frozen=True, slots=True)
class Slice(Affine):
    """The input is a piece of the output (``cat``): outside the piece the output sees nothing of it, nor padding."""


@dataclass(frozen=True, slots=True)
class Adaptive(Affine):
    """A window that is a share of the input's length, whatever that is: adaptive pooling, the head of a network.

    Where the output has one position, that is the whole input.
    """


@dataclass(frozen=True, slots=True)
class GridAxis(Affine):
    """Output dimension ``dim`` holds a grid in row-major order; the input follows one of the grid's dimensions.

    That has ``length`` positions, ``inner`` output positions apart. The columns of 2 x 3 patches, of stride 4:

    >>> columns = GridAxis(2, 4, 0, 3, inner=1, length=3)
    >>> columns.pull(4, 4)
    (4, 7)
    """

    inner: int = 1
    length: int = 1

    def pull(self, low: int, high: int) -> tuple[int, int]:
        """The input interval that the output interval ``low..high`` sees."""
        first, last = low // self.inner, high // self.inner
        begins_again = last - first >= self.length or first % self.length > last % self.length
        if begins_again:
            return Affine.pull(self, 0, self.length - 1)
        return Affine.pull(self, first % self.length, last % self.length)


@dataclass(frozen=True, slots=True)
class Sparse(Affine):
    """Of the interval, an output sees only the inputs i with ``(output + offset - spread * i) % modulus == 0``."""

    offset: int = 0
    spread: int = 1
    modulus: int = 1


@dataclass(frozen=True, slots=True)
class Reflected(Affine):
    """A padded input of ``length``: outside it, the output sees positions inside, mirrored at the edge or the edge."""

    length: int = 1
    repeats_edge: bool = False


@dataclass(frozen=True, slots=True)
class Rolled:
    """The input dimension of ``length`` follows output dimension ``dim``, shifted by ``shift`` and wrapped around."""

    dim: int
    shift: int
    length: int


@dataclass(frozen=True, slots=True)
class Wrapped(Rolled):
    """The same as padding: the wrapped positions are the border around an input that keeps its place."""


@dataclass(frozen=True, slots=True)
class All:
    """Every output position sees the whole input dimension."""


@dataclass(frozen=True, slots=True)
class Statistic(All):
    """The input dimension follows output dimension ``dim``, and is seen whole through a statistic (a norm's mean)."""

    dim: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every output position sees the same one position of the input dimension."""

    index: int


AxisMap: TypeAlias = Affine | Rolled | All | Fixed


@dataclass(frozen=True, slots=True)
class Reshaped:
    """The output is the tensor ``arg`` read in the same row-major order under another shape (view, reshape)."""

    arg: str


AccessMap: TypeAlias = Mapping[str, tuple[AxisMap, ...]] | Reshaped
"""The access map of one output: by the name of each tensor argument, one ``AxisMap`` per dimension. An argument left
out (a weight) is not on the path from the network's input; with an empty mapping the output depends on no input."""


def sliding(dim: int, *, size: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> Affine:
    """A convolution's or pooling's window along one axis.

    >>> sliding(2, size=3, dilation=2).pull(5, 5)
    (5, 9)
    """
    return Affine(dim, stride, -pad, dilation * (size - 1) - pad, dilation)


def transposed(dim: int, *, size: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> Affine:
    """A transposed convolution's window: input i reaches the outputs i * stride - pad + (0 .. dilation * (size - 1)).

    >>> [transposed(2, size=4, stride=2, pad=1).pull(o, o) for o in range(3)]
    [(-1, 0), (0, 1), (0, 1)]
    """
    from fractions import Fraction  # 3 ms that a total does without

    reach = dilation * (size - 1)
    # Of the inputs i with 0 <= o + pad - i * stride <= reach: the least is a ceiling, written as a floor.
    first, last = Fraction(pad - reach + stride - 1, stride), Fraction(pad, stride)
    if dilation == 1:
        return Affine(dim, Fraction(1, stride), first, last)
    return Sparse(dim, Fraction(1, stride), first, last, offset=pad, spread=stride, modulus=dilation)


def grouped(dim: int, *, size_in: int, size_out: int, groups: int) -> AxisMap:
    """Channels in groups: an output channel sees the input channels of its group.

    >>> [grouped(1, size_in=6, size_out=4, groups=2).pull(o, o) for o in range(4)]
    [(0, 2), (0, 2), (3, 5), (3, 5)]
    """
    if groups == 1:
        return All()
    from fractions import Fraction  # 3 ms that a total does without

    return Affine(dim, Fraction(groups, size_out), unit=size_in // groups)


def adaptive(dim: int, *, size_in: int, size_out: int) -> Affine:
    """Adaptive pooling: output o covers floor(o * in / out) to ceil((o + 1) * in / out) - 1.

    >>> [adaptive(2, size_in=7, size_out=5).pull(o, o) for o in range(5)]
    [(0, 1), (1, 2), (2, 4), (4, 5), (5, 6)]
    """
    from fractions import Fraction  # 3 ms that a total does without

    size_out = max(size_out, 1)  # of no outputs there is nothing to say
    slope = Fraction(size_in, size_out)
    return Adaptive(dim, slope, 0, slope + Fraction(size_out - 1, size_out) - 1)
