"""Polynomials of all named sizes together, through a grid of traces."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from costmodel.errors import CostModelError, InputError, NotPolynomialError
from costmodel.polynomial.differences import Integers, differences, evaluate
from costmodel.polynomial.samples import Numbers, Point, Tracer
from costmodel.polynomial.search import Axis, alike, vector_of

if TYPE_CHECKING:
    import pandas as pd

_LONGEST = 4
"""How many times as many ops as at first may run at the greatest size."""


class Polynomials:
    """The polynomials through a grid of traces, for all numbers of a trace at once."""

    def __init__(self, tracer: Tracer, axes: Sequence[Axis], *, by_op: bool) -> None:
        self.axes, self.tracer = tuple(axes), tracer
        self.points = points = [*product(*([axis.after(i) for i in range(axis.degree + 1)] for axis in axes))]
        self.samples = [self._at(point) for point in points]
        # Each size alone may run the same ops, and other ones with another size.
        self.by_op = by_op and len({sample.structure for sample in self.samples}) == 1
        self._coefficients = self._through([vector_of(sample, by_op=self.by_op) for sample in self.samples])
        self.is_real = self.samples[0].execution == "real"
        self._held: dict[Point, bool | None] = {}

    def _at(self, point: Point) -> Numbers:
        try:
            return self.tracer.at(point)
        except CostModelError as error:
            raise NotPolynomialError(
                f"the model takes the sizes {self.named(point)} one at a time and not together: start elsewhere, with "
                f"start={{...}}. {error}"
            ) from error

    def named(self, point: Point) -> str:
        """A point in words."""
        return ", ".join(f"{axis.name}={size}" for axis, size in zip(self.axes, point, strict=True))

    # -- held to traces -----------------------------------------------------------------------------------------------

    def hold_at(self, point: Point) -> bool | None:
        """Whether a trace agrees; ``None`` where the model cannot be traced."""
        if point not in self._held:
            sample = self.tracer.tried(point)
            self._held[point] = None if sample is None else alike(self._value(self._coefficients, point), sample)
        return self._held[point]

    def verified(self, axes: Sequence[Axis]) -> list[Point]:
        """The points within the ranges at which a trace was compared and agreed, beside those of the grid."""
        return [
            point
            for point, agreed in self._held.items()
            if agreed and point not in self.points
            if all(axis.least <= size <= axis.greatest for axis, size in zip(axes, point, strict=True))
        ]

    def has_grown(self, point: Point) -> bool:
        """Whether a loop over a size has made the trace so long that larger ones are not worth their time."""
        sample = self.tracer.tried(point)
        return sample is not None and len(sample.structure) > _LONGEST * len(self.samples[0].structure)

    def disagreement(self, point: Point) -> NotPolynomialError:
        """What a trace has at a point, and the polynomials."""
        sample = self.tracer.at(point)
        derived = self._value(self._coefficients, point)
        traced = {**sample.totals, "peak_memory": max(sample.moments)}
        said = dict(zip(traced, (*derived[: len(sample.totals)], max(derived[len(sample.totals) :])), strict=True))
        wrong = [name for name in traced if traced[name] != said[name]]
        first = self.named(tuple(axis.first for axis in self.axes))
        error = NotPolynomialError(
            f"the model's cost is no polynomial of {', '.join(axis.name for axis in self.axes)} together: at "
            f"{self.named(point)} a trace has {wrong[0]} {traced[wrong[0]]:,}, and the polynomial that is right at "
            f"{first} has {said[wrong[0]]:,}"
        )
        error.quantities = tuple(wrong)
        return error

    # -- coefficients -------------------------------------------------------------------------------------------------

    def from_least(self, axes: Sequence[Axis], vectors: Sequence[Integers] | None = None) -> Integers:
        """The coefficients (number, *degrees) in steps from the least of each size, of these or of other numbers."""
        coefficients = self._coefficients if vectors is None else self._through(vectors)
        grid = product(*([axis.least + i * axis.lattice for i in range(axis.degree + 1)] for axis in axes))
        return np.moveaxis(self._through([self._value(coefficients, point) for point in grid]), -1, 0)

    def _through(self, vectors: Sequence[Integers]) -> Integers:
        shape = (*(axis.degree + 1 for axis in self.axes), -1)
        return differences(np.array(vectors, dtype=object).reshape(shape), len(self.axes))

    def _value(self, coefficients: Integers, point: Point) -> Integers:
        steps = [(size - axis.first) // axis.lattice for axis, size in zip(self.axes, point, strict=True)]
        found: Integers = evaluate(coefficients, steps)
        return found


class Layers:
    """The polynomials of each layer's figures, determined by traces when they are asked for."""

    def __init__(self, found: Polynomials, axes: Sequence[Axis]) -> None:
        self._found, self._axes = found, axes

    def __getstate__(self) -> dict[str, Any]:
        # Not the user's model, which may not be picklable.
        return {"table": self.table}

    @cached_property
    def table(self) -> tuple[pd.DataFrame, Integers] | None:
        """The table at one point, and the coefficients of its figures, row by row; ``None`` where other ops run.

        Raises ``InputError`` where the model is another than it was.
        """
        if not self._found.by_op:
            return None
        samples = [self._found.tracer.anew(point) for point in self._found.points]
        if any(
            not then.totals.items() <= now.totals.items()
            for now, then in zip(samples, self._found.samples, strict=True)
        ):
            raise InputError("the model costs something else than it did when it was scaled: scale it anew")
        tables = [sample.layers for sample in samples]
        if len({len(table) for table in tables}) > 1:
            return None
        figures = [table.to_numpy(dtype=object)[:, 3:].ravel() for table in tables]
        return tables[0], self._found.from_least(self._axes, figures)
