"""Sums over the layers of a walk, taken as the layers come, so that a sweep holds no layer longer than needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from costmodel.quantities import Count, Work

from ._feature_map import Row

_KINDS = tuple(field.name for field in fields(Work))


class Totals:
    """What has been added so far, quantity by quantity: work by its kinds, of which FLOPs are made in the end."""

    def __init__(self) -> None:
        self._sums: dict[str, Count] = {}

    def add(self, row: Row) -> None:
        """One more layer; of one that does not run, what it has learnt and keeps."""
        for quantity, count in _counts(row):
            # Most kinds of work are 0 in most layers; in a sweep, to add that too would cost as much as an array.
            if not (isinstance(count, int) and count == 0):
                self._sums[quantity] = self._sums[quantity] + count if quantity in self._sums else count

    def found(self) -> dict[str, Count]:
        """The totals by their names in `ClosedForm`."""
        sums = self._sums
        work = Work(**{kind: sums.get(kind, 0) for kind in _KINDS})
        return {
            "params": sums.get("params", 0),
            "buffers": sums.get("buffers", 0),
            "macs": work.macs,
            "flops": work.flops,
            "memory_access": sums.get("read", 0) + sums.get("written", 0),
            "activations": sums.get("activations", 0),
        }


def _counts(row: Row) -> Iterator[tuple[str, Count]]:
    yield "params", row.cost.params
    yield "buffers", row.cost.buffers
    if row.runs:
        yield "read", row.cost.read
        yield "written", row.cost.written
        yield "activations", row.cost.activations
        for kind in _KINDS:
            yield kind, getattr(row.cost.work, kind)
