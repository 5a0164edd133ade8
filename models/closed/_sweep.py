"""Many configurations in one walk: arguments that are NumPy arrays, one element per configuration."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from costmodel.quantities import Count


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
    return value.astype("int64" if value.dtype.kind in "iu" else "float64")
