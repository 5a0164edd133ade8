"""Many configurations in one walk: arguments that are NumPy arrays, one element per configuration."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from costmodel.quantities import Count

EXACT_IN_64_BITS = 1 << 60
"""Totals up to here are computed in 64 bits: three bits are left for what is larger than a total on the way to it."""


class Sweep:
    """The arguments of a network, of which some may be arrays; they are broadcast against each other.

    Where the arrays are the axes of a grid, written out or not, each value of an axis is worked out once: `compact`
    has the axes, each in a dimension of its own, and `spread` puts a total of theirs in the arguments' order.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.arguments = {name: _plain(value) for name, value in arguments.items()}
        self.compact = self.arguments
        self._shape: tuple[int, ...] | None = None
        self._places: tuple[Any, ...] | None = None
        arrays = {name: value for name, value in self.arguments.items() if hasattr(value, "dtype")}
        if not arrays:
            return
        import numpy as np

        self._shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
        axes, places = {}, []
        for place, (name, array) in enumerate(arrays.items()):
            values, where = np.unique(array, return_inverse=True)
            axes[name] = values.reshape([-1 if i == place else 1 for i in range(len(arrays))])
            places.append(where.reshape(array.shape))
        if prod(axis.size for axis in axes.values()) <= prod(self._shape):
            self.compact = self.arguments | axes
            self._places = tuple(places)

    def greatest(self) -> dict[str, Any] | None:
        """One configuration, of the greatest values of all arrays, as Python's numbers; None without an array."""
        if self._shape is None or not prod(self._shape):
            return None
        return {name: _plain(v.max()) if hasattr(v, "dtype") else v for name, v in self.arguments.items()}

    def unbounded(self) -> Sweep:
        """The same with Python's integers in the arrays: slower, and exact at any size."""
        return Sweep({
            name: v.astype(object) if getattr(getattr(v, "dtype", None), "kind", "") == "i" else v
            for name, v in self.arguments.items()
        })  # fmt: skip

    def spread(self, total: Count) -> Count:
        """A total of the compact arguments for every configuration; without a sweep, the total itself."""
        if self._shape is None:
            return total
        import numpy as np

        if self._places is not None and hasattr(total, "dtype"):
            lengths = [total.shape[i] for i in range(total.ndim)]
            total = total[tuple(p if n > 1 else 0 for p, n in zip(self._places, lengths, strict=True))]
        return np.broadcast_to(total, self._shape).copy()


def _plain(value: Any) -> Any:
    """NumPy's integers with 64 bits, which do not wrap where 32 would, and its scalars as Python's."""
    if isinstance(value, tuple | list):
        return tuple(_plain(part) for part in value)
    if not hasattr(value, "dtype"):
        return value
    if not value.shape:
        return value.item()
    if value.dtype.kind == "u" and value.size and value.max() >= 1 << 63:
        return value.astype(object)
    if value.dtype == object and all(type(n) is int for n in value.flat):
        return value
    return value.astype("int64" if value.dtype.kind in "iu" else "float64")
