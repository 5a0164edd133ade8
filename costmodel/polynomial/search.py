"""Finds, for each named size, on which multiples a model's cost is a polynomial, of which degree, and how far.

Padding, strides and patches round sizes, so that a cost is a polynomial of a size only on multiples of some number, its
lattice: 32 for a network that halves its maps five times. The search tries lattices by traces. One is taken where the
traces at consecutive multiples determine a polynomial and it is right further on; of the lattices that are, the finest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from costmodel.errors import CostModelError, InputError, NotPolynomialError
from costmodel.polynomial.differences import Integers, degree, differences, evaluate
from costmodel.polynomial.samples import Point, Sample, Tracer

HIGHEST = 6
"""The highest degree that is tried: attention over all positions of a volume has 6."""
_SPARE = 2
"""Samples beyond those that determine a polynomial."""
_FURTHER = (*range(17), 29, 53)
"""Steps at which a polynomial is held to a trace before it is believed. Costs that depend on a size's remainder, as of
an adaptive pooling to 7 positions, show within as many consecutive steps as the divisor."""
_FOLDS = (4, 16)
"""And multiples of the first size, for costs that grow in leaps."""
_LATTICES = (1, 32, 64, 128, 96, 224, 192, 256, 320, 160, 448, 384, 512, 640, 480, 1024)
"""Lattices in the order in which they are tried; from the first that is right, factors are then taken away."""
_FIRST = {"batch": (2,), "length": (16, 128), "resolution": (224, 256, 384, 128, 64, 512, 32, 16, 1024, 8)}
"""Sizes at which a model is tried first, by what the size is guessed to be."""
_GREATEST = {"batch": 1 << 20, "length": 1 << 17, "resolution": 1 << 13}
"""How far a polynomial is followed."""
_GREATEST_FOLD = 4
"""How far, as a multiple of the first size, where a model runs for real."""


_LONGEST = 4
"""How many times as many ops as at first may run at the greatest size."""


@dataclass(frozen=True)
class Axis:
    """One named size: the multiples of ``lattice`` from ``least`` to ``greatest``, on which costs are polynomials."""

    name: str
    lattice: int
    least: int
    greatest: int
    degree: int
    first: int
    """A size within the range from which consecutive multiples were traced."""

    def step(self, size: int) -> int:
        """A size as a number of steps from the least."""
        return (size - self.least) // self.lattice


def first_point(tracer: Tracer, guesses: Sequence[str], start: Sequence[int | None]) -> Point:
    """Sizes at which the model can be traced.

    Raises ``InputError`` with the last trace's own reason where none is found.
    """
    error: CostModelError | None = None
    for point in _candidates(guesses, start):
        try:
            tracer.at(point)
        except CostModelError as raised:
            error = error or raised
        else:
            return point
    raise InputError(f"no sizes were found that the model takes: give some with start={{...}}. {error}") from error


def _candidates(guesses: Sequence[str], start: Sequence[int | None]) -> Iterator[Point]:
    """Every name that is guessed to be the same kind of size has the same size."""
    kinds = list(dict.fromkeys(guesses))
    for nth in range(max(len(_FIRST[kind]) for kind in kinds)):
        sizes = {kind: _FIRST[kind][min(nth, len(_FIRST[kind]) - 1)] for kind in kinds}
        yield tuple(sizes[kind] if given is None else given for kind, given in zip(guesses, start, strict=True))


class Line:
    """The samples along one name, the other sizes being as in ``base``."""

    def __init__(self, tracer: Tracer, base: Point, axis: int, *, by_op: bool) -> None:
        self._tracer, self._base, self._axis, self.by_op = tracer, base, axis, by_op
        self._structure = tracer.at(base).structure

    @property
    def totals(self) -> list[str]:
        """The names of the first numbers of a vector."""
        return list(self._tracer.at(self._base).totals)

    def through(self, lattice: int, first: int, samples: Sequence[Integers]) -> Fit:
        """The polynomial through samples at consecutive multiples."""
        coefficients = differences(np.array(samples, dtype=object))
        return Fit(lattice, first, len(samples) - 1, coefficients, len(self.totals))

    def _sample(self, size: int) -> Sample | None:
        return self._tracer.tried((*self._base[: self._axis], size, *self._base[self._axis + 1 :]))

    def vector(self, size: int) -> Integers | None:
        """All that is compared at a size; ``None`` where it cannot be traced, and nothing where other ops ran."""
        sample = self._sample(size)
        if sample is None:
            return None
        if self.by_op and sample.structure != self._structure:
            return np.array([], dtype=object)
        return vector_of(sample, by_op=self.by_op)

    def has_grown(self, size: int) -> bool:
        """Whether a loop over the size has made the trace so long that larger ones are not worth their time."""
        sample = self._sample(size)
        return sample is not None and len(sample.structure) > _LONGEST * len(self._structure)

    def fit(self, lattice: int, first: int) -> Fit | None:
        """The polynomial on multiples of a lattice, from the ``first``-th on, if it is one."""
        samples: list[Integers] = []
        for i in range(HIGHEST + 1 + _SPARE):
            found = self.vector((first + i) * lattice)
            if found is None or not len(found):
                return None
            samples.append(found)
            order = degree(samples, _SPARE)
            if order is not None and order <= HIGHEST:
                fit = self.through(lattice, first, samples[: order + 1])
                return fit if self._is_right_further_on(fit) else None
        return None

    def _is_right_further_on(self, fit: Fit) -> bool:
        """At every further step where the model can be traced, and at one at least."""
        is_known = False
        steps = [fit.first + step for step in _FURTHER if step > fit.degree + _SPARE]
        for nth in (*steps, *(fold * fit.first for fold in _FOLDS)):
            vector = self.vector(nth * fit.lattice)
            if vector is not None and not fit.agrees(nth, vector):
                return False
            is_known = is_known or vector is not None
        return is_known

    def holds(self, fit: Fit) -> Callable[[int], bool]:
        """Whether a multiple of the lattice can be traced, and the polynomial is right there."""

        def right(nth: int) -> bool:
            vector = self.vector(nth * fit.lattice)
            return vector is not None and fit.agrees(nth, vector)

        return right


@dataclass(frozen=True, eq=False)
class Fit:
    """A polynomial of one size on multiples of a lattice."""

    lattice: int
    first: int
    degree: int
    coefficients: Integers
    totals: int
    """How many of the numbers are totals; the others are live bytes."""

    def agrees(self, nth: int, vector: Integers) -> bool:
        """Whether it has the totals and the peak of a trace at the n-th multiple."""
        return alike(self.value(nth), vector, self.totals)

    def value(self, nth: int) -> Integers:
        """Its value at the n-th multiple."""
        found: Integers = evaluate(self.coefficients, [nth - self.first])
        return found


def vector_of(sample: Sample, *, by_op: bool) -> Integers:
    """The numbers of a trace that are held to a polynomial: totals, and live bytes at each op or at the peak alone."""
    moments = sample.moments if by_op else [max(sample.moments)]
    return np.array([*sample.totals.values(), *moments], dtype=object)


def alike(derived: Integers, traced: Integers, totals: int) -> bool:
    """Whether two have the same totals, and the same greatest of the live bytes that follow."""
    return (
        len(derived) == len(traced)
        and bool((derived[:totals] == traced[:totals]).all())
        and max(derived[totals:]) == max(traced[totals:])
    )


def find_axis(tracer: Tracer, base: Point, axis: int, name: str, guess: str) -> tuple[Axis, bool]:
    """The lattice, range and degree of one size, and whether the same ops run at all its values.

    Raises ``NotPolynomialError`` where the cost is none on any lattice that was tried.
    """
    for by_op in (True, False):
        line = Line(tracer, base, axis, by_op=by_op)
        fit = _finest(line, base[axis])
        if fit is not None:
            is_real = tracer.at(base).execution == "real"
            most = _GREATEST_FOLD * base[axis] if is_real else max(_GREATEST[guess], base[axis])
            return _range(line, fit, name, most), by_op
    line = Line(tracer, base, axis, by_op=False)
    if all(line.vector(size) is None for size in range(base[axis] + 1, base[axis] + 65)):
        return Axis(name, base[axis], base[axis], base[axis], 0, base[axis]), True  # the model takes this size alone
    raise NotPolynomialError(_disagreement(line, name, base[axis]))


def _finest(line: Line, size: int) -> Fit | None:
    found = next((fit for lattice in _LATTICES if (fit := _fit(line, lattice, size))), None)
    if found is None:
        return None
    for prime in (2, 3, 5, 7):
        while found.lattice % prime == 0:
            lattice = found.lattice // prime
            finer = _fit(line, lattice, size)
            if finer is None:
                break
            found = finer
    return found


def _fit(line: Line, lattice: int, size: int) -> Fit | None:
    """From a size on, or from a larger one: small sizes can be special, as those within a window."""
    firsts = dict.fromkeys((_nth(size, lattice), _nth(8 * size, lattice)))
    return next((fit for first in firsts if (fit := line.fit(lattice, first))), None)


def _nth(size: int, lattice: int) -> int:
    return max(1, size // lattice)


def _range(line: Line, fit: Fit, name: str, most: int) -> Axis:
    """As far as the polynomial is right, down and up."""
    right = line.holds(fit)
    least = 1 if fit.first == 1 or right(1) else boundary(right, fit.first, 1)
    known, end = fit.first + fit.degree + _SPARE, most // fit.lattice
    while known < end and not line.has_grown(known * fit.lattice):
        further = min(2 * known, end)
        if not right(further):
            known = boundary(right, known, further)
            break
        known = further
    return Axis(name, fit.lattice, least * fit.lattice, known * fit.lattice, fit.degree, fit.first * fit.lattice)


def boundary(right: Callable[[int], bool], inside: int, outside: int) -> int:
    """The last number on the way from ``inside`` to ``outside`` that is right, ``outside`` being none."""
    while abs(inside - outside) > 1:
        middle = (inside + outside) // 2
        if right(middle):
            inside = middle
        else:
            outside = middle
    return inside


def _disagreement(line: Line, name: str, size: int) -> str:
    """Two sizes at which traces have something else than the polynomial through the samples before them."""
    for lattice in _LATTICES:
        first = _nth(size, lattice)
        sizes = [(first + i) * lattice for i in range(HIGHEST + _SPARE + 1)]
        samples = [vector for vector in map(line.vector, sizes) if vector is not None]
        if len(samples) < len(sizes):
            continue
        fit = line.through(lattice, first, samples[: HIGHEST + 1])
        quantities = [*line.totals, "peak_memory"]
        wrong = [
            f"at {name}={n} it has {quantities[at]} {traced:,}, where the polynomial through {name}={sizes[0]} to "
            f"{sizes[HIGHEST]} has {derived:,}"
            for n, vector in zip(sizes[HIGHEST + 1 :], samples[HIGHEST + 1 :], strict=True)
            for at, (derived, traced) in enumerate(zip(fit.value(n // lattice), vector, strict=True))
            if derived != traced
        ]
        if wrong:
            tried = f"on multiples of {lattice}, or of {_LATTICES[-1]}, or others between"
            return f"the model's cost is no polynomial of {name}, {tried}: {'; '.join(wrong[:2])}"
    return f"the model cannot be traced at enough sizes near {name}={size} to determine a polynomial"
