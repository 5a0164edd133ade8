"""The receptive field of a feature map, followed from layer to layer along each spatial axis of the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import gcd

from costmodel.formulas._arguments import ceil_div, per_axis, positive_part
from costmodel.formulas.geometry import Field, receptive_field
from costmodel.quantities import Count
from costmodel.records import dataclass


@dataclass(frozen=True, slots=True)
class Fields:
    """What one output position sees of an input of ``input_size``: a field per axis.

    The stride of a field is None where there is no next position to step to: after global pooling, for one.
    """

    axes: tuple[Field, ...]
    input_size: tuple[Count, ...]

    @classmethod
    def of_input(cls, size: tuple[Count, ...]) -> Fields:
        """Of the input itself, where each position sees itself."""
        return cls((Field(size=1, stride=1, start=0),) * len(size), size)

    def after_window(self, kernel: Count, stride: Count, padding: Count, *, axes: int) -> Fields:
        """After a window over the last ``axes`` axes; the axes before them were joined to the channels and are summed.

        A field is itself a window on the input, so the usual recurrence composes the two.
        """
        kernels, strides, paddings = (
            per_axis(value, axes=axes, name=name)
            for name, value in (("kernel", kernel), ("stride", stride), ("padding", padding))
        )
        seen = [
            field
            if field.stride is None
            else receptive_field(layers=[(field.size, field.stride, field.padding), (k, s, p)])
            for field, k, s, p in zip(self.axes[-axes:], kernels, strides, paddings, strict=True)
        ]
        return replace(self, axes=(*self.whole_input().axes[:-axes], *seen))

    def after_adaptive_pool(self, size: Sequence[Count], output_size: int) -> Fields:
        """After ``output_size`` windows per axis of a map of ``size``."""
        return replace(
            self,
            axes=tuple(_adaptive(field, n, output_size) for field, n in zip(self.axes, size, strict=True)),
        )

    def after_linear(self) -> Fields:
        """After a fully connected layer: all of the input, unless the map has a single position already."""
        return self if all(field.stride is None for field in self.axes) else self.whole_input()

    def after_flatten(self, joined: Sequence[Count], *, axes: int) -> Fields:
        """After the first of the map's ``axes``, of the sizes ``joined``, went into the channels.

        An axis of one position has no step from it to a next one.
        """
        first = len(self.axes) - axes
        alone = {first + i for i, n in enumerate(joined) if isinstance(n, int) and n == 1}
        fields = tuple(replace(field, stride=None) if i in alone else field for i, field in enumerate(self.axes))
        return replace(self, axes=fields)

    def joined_with(self, *others: Fields) -> Fields:
        """From the first to the last position that any of the maps sees; they lie on one grid."""
        hulls = []
        for fields in zip(self.axes, *(other.axes for other in others), strict=True):
            start = min(field.start for field in fields)
            end = max(field.start + field.size for field in fields)
            hulls.append(replace(fields[0], start=start, size=end - start))
        return replace(self, axes=tuple(hulls))

    def whole_input(self) -> Fields:
        """All of the input."""
        return replace(self, axes=tuple(Field(size=n, stride=None, start=0) for n in self.input_size))


def _adaptive(field: Field, size: Count, output_size: int) -> Field:
    """Window i goes from floor(i size / out) to ceil((i + 1) size / out); the longest counts, and the mean step."""
    longest: Count = 0
    if isinstance(size, int) and size:
        # i size mod out is a multiple of their common divisor, and the window is longest where that is greatest.
        longest = ceil_div(size + output_size - gcd(size, output_size), output_size)
    else:
        for i in range(output_size):
            length = ceil_div((i + 1) * size, output_size) - i * size // output_size
            longest = longest + positive_part(length - longest)
    step = field.stride * size
    stride: Count = Fraction(step, output_size) if isinstance(step, int) else step / output_size
    if isinstance(stride, Fraction) and stride.denominator == 1:
        stride = stride.numerator
    return Field(size=field.size + (longest - 1) * field.stride, stride=stride, start=field.start)
