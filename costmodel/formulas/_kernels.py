"""A layer that torch runs as several kernels: each reads whole tensors from memory, and writes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from costmodel.formulas._arguments import as_shape, require, require_one_of
from costmodel.formulas._complex_numbers import on_numbers
from costmodel.formulas.cost import NO_WORK, LayerCost
from costmodel.quantities import Count, Work, prod

Shape: TypeAlias = tuple[Count, ...]

REDUCTIONS = ("none", "mean", "sum")
"""What becomes of a loss's terms, by torch's names."""


def broadcast(*shapes: Sequence[Count]) -> Shape:
    """The shape of tensors that are taken together, position by position; a size of 1 is repeated.

    >>> broadcast((5, 1), (7,))
    (5, 7)
    """
    axes = max(map(len, shapes))
    aligned = [(1,) * (axes - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(_common(sizes) for sizes in zip(*aligned, strict=True))


def _common(sizes: Sequence[Count]) -> Count:
    longer = [n for n in sizes if not (isinstance(n, int) and n == 1)]
    if len({n for n in longer if isinstance(n, int)}) > 1:
        raise ValueError(f"sizes {', '.join(map(str, sizes))} along one axis do not broadcast")
    return longer[0] if longer else 1


def shapes_of(**given: Sequence[Count] | Count) -> tuple[Shape, ...]:
    """Each argument as a shape, all of its sizes at least 1."""
    shapes: dict[str, Any] = {name: as_shape(value) for name, value in given.items()}
    require(**shapes)
    return tuple(shapes.values())


def sum_of(n: Count, *, mean: bool = False) -> Work:
    """n - 1 additions, and one division for a mean.

    >>> sum_of(4, mean=True).flops
    4
    """
    return Work(adds=n - 1, divides=1 if mean else 0)


class Kernels:
    """The kernels of one layer as they run. A tensor is its shape: it has no values here."""

    def __init__(self) -> None:
        self._read: Count = 0
        self._written: Count = 0
        self._work = NO_WORK

    def run(self, *, read: Count, written: Count, work: Work = NO_WORK) -> None:
        """One kernel."""
        self._read = self._read + read
        self._written = self._written + written
        self._work = self._work + work

    def each(self, *read: Shape, work: Work = NO_WORK) -> Shape:
        """Computes one element at each position of the tensors that it reads, which are broadcast."""
        made = broadcast(*read)
        self.run(read=sum(map(prod, read)), written=prod(made), work=work.times(prod(made)))
        return made

    def total(
        self, terms: Shape, *, axis: int | None = None, mean: bool = False, complex_valued: bool = False
    ) -> Shape:
        """The sum or mean of all elements, or of those along one axis."""
        axes = range(len(terms)) if axis is None else (axis % len(terms),)
        rows = tuple(n for i, n in enumerate(terms) if i not in axes)
        each = on_numbers(sum_of(prod(terms[i] for i in axes), mean=mean), complex_valued=complex_valued)
        self.run(read=prod(terms), written=prod(rows), work=each.times(prod(rows)))
        return rows

    def reduced(self, terms: Shape, reduction: str, *, complex_valued: bool = False) -> Shape:
        """The terms of a loss by a kernel of its own: their mean, their sum, or, without a kernel, themselves."""
        if reduction == "none":
            return terms
        return self.total(terms, mean=reduction == "mean", complex_valued=complex_valued)

    def loss(self, *read: Shape, terms: Shape, work: Work, reduction: str) -> Shape:
        """Terms and their mean or sum by one kernel; ``work`` is that of all terms."""
        loss = terms if reduction == "none" else ()
        if reduction != "none":
            work = work + sum_of(prod(terms), mean=reduction == "mean")
        self.run(read=sum(map(prod, read)), written=prod(loss), work=work)
        return loss

    def cost(self, output: Shape) -> LayerCost:
        """The layer, which returns a tensor of this shape."""
        return LayerCost(
            kind="other",
            output_shape=output,
            output_size=output[2:],
            read=self._read,
            written=self._written,
            work=self._work,
        )


def require_reduction(reduction: str, *more: str) -> None:
    """A reduction is one of torch's, or of ``more``."""
    require_one_of(reduction=reduction, choices=(*REDUCTIONS, *more))
