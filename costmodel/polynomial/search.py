"""Finds, for each named size, on which multiples a model's cost is a polynomial, and of which degree.

Padding, strides and patches round sizes, so that a cost is a polynomial of a size only on multiples of some number, its
lattice: 32 for a network that halves its maps five times. The search tries lattices by traces. One is taken where the
traces at consecutive multiples determine a polynomial; of the lattices on which they do, the finest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from costmodel.errors import CostModelError, NotPolynomialError
from costmodel.polynomial.differences import Integers, degree, differences, evaluate
from costmodel.polynomial.samples import Numbers, Point, Tracer

HIGHEST = 6
"""The highest degree that is tried: attention over all positions of a volume has 6."""
SPARE = 2
"""Samples beyond those that determine a polynomial."""
FURTHER = (*range(17), 29, 53)
"""Steps at which a polynomial is held to a trace before it is believed. Costs that depend on a size's remainder, as of
an adaptive pooling to 7 positions, show within as many consecutive steps as the divisor."""
FOLDS = (4, 16)
"""And multiples of the first size, for costs that grow in leaps."""
LONGEST_RUN = 4
"""How far sizes are followed, as a multiple of the first, where a model runs for real."""
_LATTICES = (1, 32, 64, 128, 96, 224, 192, 256, 320, 160, 448, 384, 512, 640, 480, 1024)
"""Lattices in the order in which they are tried; from the first that is right, factors are then taken away."""
_FIRST = {"batch": (2,), "length": (16, 128, 16000, 1024), "resolution": (224, 256, 384, 128, 64, 512, 32, 16, 1024, 8)}
"""Sizes at which a model is tried first, by what the size is guessed to be."""


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

    @property
    def is_fixed(self) -> bool:
        """Whether it has one value alone."""
        return self.least == self.greatest

    def step(self, size: int) -> int:
        """A size as a number of steps from the least."""
        return (size - self.least) // self.lattice

    def after(self, steps: int) -> int:
        """The size so many steps after the first; a fixed one stays."""
        return self.first if self.is_fixed else self.first + steps * self.lattice


def fixed(name: str, size: int) -> Axis:
    """A size that has one value alone."""
    return Axis(name, size, size, size, 0, size)


def first_point(tracer: Tracer, guesses: Sequence[str], start: Sequence[int | None]) -> Point:
    """Sizes at which the model can be traced. Raises what the first trace raised where none is found."""
    error: CostModelError | None = None
    for point in _candidates(guesses, start):
        try:
            tracer.at(point)
        except CostModelError as raised:
            error = error or raised
        else:
            return point
    assert error is not None
    raise error


def _candidates(guesses: Sequence[str], start: Sequence[int | None]) -> Iterator[Point]:
    """Every name that is guessed to be the same kind of size has the same size."""
    kinds = list(dict.fromkeys(guesses))
    for nth in range(max(len(_FIRST[kind]) for kind in kinds)):
        sizes = {kind: _FIRST[kind][min(nth, len(_FIRST[kind]) - 1)] for kind in kinds}
        yield tuple(sizes[kind] if given is None else given for kind, given in zip(guesses, start, strict=True))


@dataclass(frozen=True)
class Line:
    """The samples along one name, the other sizes being as in ``base``."""

    tracer: Tracer
    base: Point
    axis: int
    by_op: bool
    """Whether live bytes are compared op by op, so that the same ops have to run; else the peak alone is."""

    def sample(self, size: int) -> Numbers | None:
        """What the model costs at a size; ``None`` where it cannot be traced."""
        return self.tracer.tried((*self.base[: self.axis], size, *self.base[self.axis + 1 :]))

    def degree(self, lattice: int, first: int, *, thorough: bool) -> int | None:
        """That of the polynomial on multiples of a lattice, from the ``first``-th on; ``None`` if it is none."""
        vectors: list[Integers] = []
        structure = None
        for i in range(HIGHEST + 1 + SPARE):
            found = self.sample((first + i) * lattice)
            structure = structure or (found and found.structure)
            if found is None or (self.by_op and found.structure != structure):
                return None
            vectors.append(vector_of(found, by_op=self.by_op))
            if len(vectors) == 3 and _has_a_step(*vectors):
                return None
            order = degree(vectors, SPARE)
            if order is not None and order <= HIGHEST:
                is_right = not thorough or self._is_right_further_on(lattice, first, vectors[: order + 1])
                return order if is_right else None
        return None

    def _is_right_further_on(self, lattice: int, first: int, vectors: Sequence[Integers]) -> bool:
        """At every further step where the model can be traced, and at one at least."""
        is_real = self.tracer.at(self.base).execution == "real"
        coefficients = differences(np.array(vectors, dtype=object))
        held = 0
        for step in (*FURTHER, *((fold - 1) * first for fold in FOLDS)):
            if is_real and first + step > LONGEST_RUN * first:
                continue
            sample = self.sample((first + step) * lattice)
            if sample is not None and not alike(evaluate(coefficients, [step]), sample):
                return False
            held += sample is not None
        return held > len(vectors)


def _has_a_step(a: Integers, b: Integers, c: Integers) -> bool:
    """Whether a number is the same at two consecutive sizes and not at the third, as after a stride.

    Costs do not fall where sizes grow, so a polynomial that is the same at two sizes is constant between them.
    """
    return bool(((a == b) != (b == c)).any())


def vector_of(sample: Numbers, *, by_op: bool) -> Integers:
    """The numbers of a trace that make a polynomial: totals, and live bytes at each op or at the peak alone."""
    moments = sample.moments if by_op else [max(sample.moments)]
    return np.array([*sample.totals.values(), *moments], dtype=object)


def alike(derived: Integers, sample: Numbers) -> bool:
    """Whether the totals and the greatest of the live bytes that were derived are those of a trace."""
    count = len(sample.totals)
    return list(derived[:count]) == list(sample.totals.values()) and max(derived[count:]) == max(sample.moments)


def find_axis(tracer: Tracer, base: Point, axis: int, name: str, *, thorough: bool) -> tuple[Axis, bool]:
    """The lattice and degree of one size, and whether the same ops run at all its values.

    A quick search believes what few consecutive sizes show, from the first size on. A thorough one looks further, and
    from a larger size on, as the first or all small ones can be special: those within a window. Raises
    ``NotPolynomialError`` where the cost is no polynomial on any lattice that was tried.
    """
    size = base[axis]
    lines = [Line(tracer, base, axis, by_op=by_op) for by_op in (True, False)]

    def fitted(lattice: int) -> tuple[Axis, bool] | None:
        for first in dict.fromkeys(max(1, n // lattice) for n in ((size, 8 * size) if thorough else (size,))):
            for line in lines:
                order = line.degree(lattice, first, thorough=thorough)
                if order is not None:
                    start = first * lattice
                    return Axis(name, lattice, start, start + (order + SPARE) * lattice, order, start), line.by_op
        return None

    lattices = _LATTICES if thorough else [lattice for lattice in _LATTICES if size % lattice == 0]
    found = next((fit for lattice in lattices if (fit := fitted(lattice))), None)
    if found is None:
        if all(lines[0].sample(times * size) is None for times in (2, 3, 4)):
            return fixed(name, size), True  # the model takes this size alone, or others that a stride rounds to it
        raise _disagreement(lines[1], name, size)
    for prime in (2, 3, 5, 7):
        while found[0].lattice % prime == 0 and (finer := fitted(found[0].lattice // prime)):
            found = finer
    return found


def _disagreement(line: Line, name: str, size: int) -> NotPolynomialError:
    """Two sizes at which traces have something else than the polynomial through the samples before them.

    Of all lattices it is that on which the fewest totals are none.
    """
    at_base = line.tracer.at(line.base)
    is_real = at_base.execution == "real"
    quantities = [*at_base.totals, "peak_memory"]
    found: dict[int, list[tuple[str, str]]] = {}
    for lattice in _LATTICES:
        first = max(1, size // lattice)
        sizes = [(first + i) * lattice for i in range(HIGHEST + SPARE + 1)]
        samples = [vector_of(sample, by_op=False) for sample in map(line.sample, sizes) if sample is not None]
        if len(samples) < len(sizes):
            continue
        coefficients = differences(np.array(samples[: HIGHEST + 1], dtype=object))
        through = f"the polynomial through {name}={sizes[0]} to {sizes[HIGHEST]}"
        wrong = [
            (quantity, f"at {name}={n} it has {quantity} {traced:,}, where {through} has {derived:,}")
            for n, vector in zip(sizes[HIGHEST + 1 :], samples[HIGHEST + 1 :], strict=True)
            for quantity, derived, traced in zip(
                quantities, evaluate(coefficients, [n // lattice - first]), vector, strict=True
            )
            if derived != traced
        ]
        if wrong:
            found[lattice] = wrong
        if wrong and is_real:
            break  # real runs take long
    if not found:
        return NotPolynomialError(
            f"the model cannot be traced at enough sizes near {name}={size} to determine a polynomial"
        )
    lattice, wrong = min(found.items(), key=lambda item: len({quantity for quantity, _ in item[1]}))
    error = NotPolynomialError(
        f"the model's cost is no polynomial of {name}, on multiples of {lattice}, or of {_LATTICES[-1]}, or others "
        f"between: {'; '.join(said for _, said in wrong[:2])}"
        + (". It ran for real, where costs can depend on values" if is_real else "")
    )
    error.quantities = tuple(dict.fromkeys(quantity for quantity, _ in wrong))
    return error
