"""``scaling``: costs as formulas of the input's sizes, from exact traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from costmodel.arguments import short
from costmodel.errors import CostModelError, InputError, NotPolynomialError
from costmodel.polynomial.differences import Integers, differences, evaluate
from costmodel.polynomial.result import Region, Scaling
from costmodel.polynomial.samples import OfProfile, OfStep, Point, Sample, Tracer
from costmodel.polynomial.search import Axis, alike, boundary, find_axis, first_point, vector_of
from costmodel.polynomial.sizes import guesses_of, names_in, with_sizes
from costmodel.profiling import profile
from costmodel.training import training_step

if TYPE_CHECKING:
    from torch import nn

_BETWEEN = 6
"""Points inside the ranges that are traced to verify the result, beside the corners."""


def scaling(
    model: nn.Module | Callable[..., Any] | str,
    inputs: Any,
    *,
    training: bool = False,
    start: Mapping[str, int] | None = None,
    **options: Any,
) -> Scaling:
    """Costs as exact polynomials of named sizes: of a batch, a resolution, a length.

    On the multiples of a size's lattice a cost is a polynomial. As many traces as it has coefficients determine it, and
    further traces, at both ends of the range and between, verify it.

    Args:
        model: as for ``costmodel.profile``.
        inputs: as for ``costmodel.profile``, with a name in the place of each size that varies: ``("B", 3, "H", "H")``
            or ``costmodel.Input(("B", "S"), "int64")``.
        training: whether a training step is scaled, as of ``costmodel.training_step``, instead of one forward pass.
        start: a size for each name at which to begin; of a name that is left out, one is found.
        **options: further arguments of ``costmodel.profile`` or ``costmodel.training_step``.

    Raises:
        InputError: no size has a name, or none was found that the model takes.
        NotPolynomialError: a cost is no polynomial of a size, as of a detector; the message has sizes that show it.

    >>> from torch import nn
    >>> s = scaling(nn.Conv2d(3, 8, 3, padding=1), ("B", 3, "H", "H"))
    >>> s.macs, s.lattice, s.at(B=2, H=100)["macs"]
    (216*B*H**2, {'B': 1, 'H': 1}, 4320000)
    """
    names = names_in(inputs)
    guesses = [guesses_of(inputs)[name] for name in names]
    begin = _start(names, {} if start is None else start)

    def given(point: Point) -> Any:
        return with_sizes(inputs, dict(zip(names, point, strict=True)))

    def forward(point: Point) -> Sample:
        return OfProfile(profile(model, given(point), **(_of_forward(options) if training else options)))

    def step(point: Point) -> Sample:
        return OfStep(training_step(model, given(point), **options))

    if training:
        # A step's cost is mostly a polynomial where its forward's is: there a search takes a fifth of the time.
        try:
            return _scaled(model, Search(names, guesses, Tracer(forward), Tracer(step), training), begin)
        except NotPolynomialError:
            pass
    tracer = Tracer(step if training else forward)
    return _scaled(model, Search(names, guesses, tracer, tracer, training), begin)


def _scaled(model: Any, search: Search, begin: Sequence[int | None]) -> Scaling:
    """The polynomials around a first point, and where they are others for a batch of one."""
    base = first_point(search.searched, search.guesses, begin)
    regions = [search.around(base)]
    for i, guess in enumerate(search.guesses):
        # What is spread over a batch is no copy where that is one sample, so there a cost can be another polynomial.
        if guess == "batch" and regions[0].axes[i].least == 2:
            one = search.where(i, 1, base)
            regions += [one] if one is not None else []
    return Scaling(tuple(regions), _name(model), training=search.training, trace=search.tracer.trace)


def _of_forward(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a training step that its forward has too."""
    return {"mode": "train", **{name: value for name, value in options.items() if name in ("dtype", "execution")}}


def _start(names: Sequence[str], start: Mapping[str, int]) -> list[int | None]:
    if not isinstance(start, Mapping):
        raise InputError(f"start={short(start)}: give a size for each name, as {{'B': 2}}")
    for name, size in start.items():
        if name not in names:
            raise InputError(f"start has a size for {name!r}; the inputs name {', '.join(names)}")
        if type(size) is not int or size < 1:
            raise InputError(f"start: {name}={short(size)} is no size: give an int from 1")
    return [start.get(name) for name in names]


class Polynomials:
    """The polynomials through a grid of traces, for all numbers of a trace at once."""

    def __init__(self, tracer: Tracer, axes: Sequence[Axis], *, by_op: bool) -> None:
        self._tracer, self._axes, self._by_op = tracer, axes, by_op
        steps = ([axis.first + i * axis.lattice for i in range(axis.degree + 1)] for axis in axes)
        self.points: list[Point] = list(product(*steps))
        self.samples = [tracer.at(point) for point in self.points]
        vectors = [vector_of(sample, by_op=by_op) for sample in self.samples]
        other = next((i for i, vector in enumerate(vectors) if len(vector) != len(vectors[0])), None)
        if other is not None:
            where = [_named(axes, point) for point in (self.points[0], self.points[other])]
            raise NotPolynomialError(
                f"other ops run at {where[1]} than at {where[0]}: start elsewhere, with start={{...}}"
            )
        self._coefficients = self._through(vectors)

    def at(self, point: Point) -> Integers:
        """All numbers at a point."""
        return self._value(self._coefficients, point)

    def hold_at(self, point: Point) -> bool | None:
        """Whether a trace agrees; ``None`` where the model cannot be traced."""
        sample = self._tracer.tried(point)
        if sample is None:
            return None
        return alike(self.at(point), vector_of(sample, by_op=self._by_op), len(sample.totals))

    def from_least(self, axes: Sequence[Axis], vectors: Sequence[Integers] | None = None) -> Integers:
        """The coefficients (number, *degrees) in steps from the least of each size, of these or of other numbers."""
        coefficients = self._coefficients if vectors is None else self._through(vectors)
        grid = product(*([axis.least + i * axis.lattice for i in range(axis.degree + 1)] for axis in axes))
        return np.moveaxis(self._through([self._value(coefficients, point) for point in grid]), -1, 0)

    def _through(self, vectors: Sequence[Integers]) -> Integers:
        shape = (*(axis.degree + 1 for axis in self._axes), -1)
        return differences(np.array(vectors, dtype=object).reshape(shape), len(self._axes))

    def _value(self, coefficients: Integers, point: Point) -> Integers:
        steps = [(size - axis.first) // axis.lattice for axis, size in zip(self._axes, point, strict=True)]
        found: Integers = evaluate(coefficients, steps)
        return found


@dataclass(frozen=True)
class Search:
    """Finds the polynomials of one model."""

    names: Sequence[str]
    guesses: Sequence[str]
    searched: Tracer
    """What is traced to find lattices."""
    tracer: Tracer
    """What is traced to determine and verify polynomials."""
    training: bool

    def around(self, base: Point, fixed: int = -1) -> Region:
        """The region around a point, in which one size may be fixed."""
        axes, by_op = [], True
        for i, (name, guess) in enumerate(zip(self.names, self.guesses, strict=True)):
            if i == fixed:
                axes.append(Axis(name, base[i], base[i], base[i], 0, base[i]))
                continue
            axis, same = find_axis(self.searched, base, i, name, guess)
            axes.append(axis)
            by_op = by_op and same
        return self._fitted(axes, by_op=by_op)

    def where(self, i: int, size: int, base: Point) -> Region | None:
        """The region in which one size is fixed; ``None`` where the model cannot be traced, or is no polynomial."""
        try:
            return self.around((*base[:i], size, *base[i + 1 :]), fixed=i)
        except CostModelError:
            return None

    def _fitted(self, axes: Sequence[Axis], *, by_op: bool) -> Region:
        """The polynomials through a grid of traces, verified at others."""
        found = Polynomials(self.tracer, axes, by_op=by_op)
        axes = _right_together(found, axes, sorted(range(len(axes)), key=lambda i: self.guesses[i] == "batch"))
        verified = []
        for point in _verifying(axes):
            agrees = found.hold_at(point)
            if agrees is False:
                raise NotPolynomialError(_wrong(axes, point, self.tracer.at(point), found.at(point), found.points[-1]))
            if agrees:  # else each size alone is within its range, and these are too much together
                verified.append(dict(zip(self.names, point, strict=True)))
        first = found.samples[0]
        numbers = found.from_least(axes)
        figures = [sample.layers.to_numpy(dtype=object)[:, 3:].ravel() for sample in found.samples] if by_op else []
        is_alike = bool(figures) and len({len(row) for row in figures}) == 1
        return Region(
            axes=tuple(axes),
            totals=dict(zip(first.totals, numbers, strict=False)),
            moments=tuple(numbers[len(first.totals) :]),
            verified=tuple(verified),
            of_layers=(first.layers, found.from_least(axes, figures)) if is_alike else None,
        )


def _right_together(found: Polynomials, axes: Sequence[Axis], raised_first: Sequence[int]) -> list[Axis]:
    """The axes with least sizes at which the polynomials are right together, as they are for each size alone.

    A map of one position and a batch of one, for instance, are special only together.
    """
    axes = list(axes)
    for i in raised_first:
        if found.hold_at(tuple(axis.least for axis in axes)):
            break

        def right(nth: int, i: int = i) -> bool:
            point = tuple(nth * a.lattice if j == i else a.least for j, a in enumerate(axes))
            return bool(found.hold_at(point))

        axis = axes[i]
        first = axis.first // axis.lattice
        if right(first):
            axes[i] = replace(axis, least=axis.lattice * boundary(right, first, axis.least // axis.lattice))
    return axes


def _verifying(axes: Sequence[Axis]) -> list[Point]:
    """The least and the greatest sizes together, and points between, the same at every call."""
    random = Random(0)
    between = [tuple(_between(axis, random) for axis in axes) for _ in range(_BETWEEN)]
    ends = [tuple(axis.greatest for axis in axes), tuple(axis.least for axis in axes)]
    return list(dict.fromkeys((*ends, *between)))


def _between(axis: Axis, random: Random) -> int:
    """A size within the range, small ones as likely as large ones."""
    steps = (axis.greatest - axis.least) // axis.lattice
    return axis.least + axis.lattice * min(steps, int((steps + 1) ** random.random()))


def _wrong(axes: Sequence[Axis], point: Point, sample: Sample, derived: Integers, other: Point) -> str:
    values = dict(zip(sample.totals, derived, strict=False))
    name = next((name for name, value in sample.totals.items() if values[name] != value), "peak_memory")
    traced, said = sample.totals.get(name, max(sample.moments)), values.get(name, max(derived[len(values) :]))
    return (
        f"the model's cost is no polynomial of {', '.join(axis.name for axis in axes)} together: at "
        f"{_named(axes, point)} a trace has {name} {traced:,}, and the polynomial that is right at "
        f"{_named(axes, other)} has {said:,}"
    )


def _named(axes: Sequence[Axis], point: Point) -> str:
    return ", ".join(f"{axis.name}={size}" for axis, size in zip(axes, point, strict=True))


def _name(model: Any) -> str:
    return model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)
