"""Batches of matrices: how LAPACK stores them, what a result depends on, and what ops on them allocate on the way.

A multiplication that is followed by an addition is counted as one of each, and not as a multiply-accumulate: those are
the products of matrices alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

from costmodel.access import AccessMap, Affine, All
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.complex_numbers import by_parts
from costmodel.ops.rule import Example, Outputs, Rule, always, every_argument, no_temporaries
from costmodel.quantities import Work


def column_major(shape: tuple[int, ...], dtype: str) -> TensorSpec:
    """A batch of matrices, each stored column by column, as LAPACK takes and returns them."""
    if len(shape) < 2:
        return TensorSpec(shape, dtype)
    rows, columns = shape[-2:]
    strides = TensorSpec((*shape[:-2], columns, rows)).full_strides
    return TensorSpec(shape, dtype, layout.normal((*strides[:-2], strides[-1], strides[-2]), shape))


def parts(a: TensorSpec) -> tuple[tuple[int, ...], int, int]:
    """(batch, rows, columns) of a batch of matrices."""
    return a.shape[:-2], a.shape[-2], a.shape[-1]


def square(a: TensorSpec) -> tuple[tuple[int, ...], int]:
    """(batch, n) of a batch of square matrices."""
    if len(a.shape) < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"takes square matrices, got {a.shape}")
    return a.shape[:-2], a.shape[-1]


_NAMES = ("A", "LU", "LD", "LU_data", "input", "self")


def matrix(args: Arguments) -> TensorSpec:
    """The batch of matrices that an op works on: each op has a name of its own for it."""
    given: TensorSpec = next(args[name] for name in _NAMES if name in args)
    return given


def same_columns(args: Arguments) -> TensorSpec:
    """A matrix of the same shape."""
    square(args["self"])
    return column_major(args["self"].shape, args["self"].dtype)


def each_matrix(call: OpCall, output: int) -> AccessMap:
    """A result depends on all of its own matrix, and on no other of the batch."""
    batch, y = matrix(call.args).shape[:-2], call.outputs[output]
    n = len(batch) if y.shape[: len(batch)] == batch else 0
    return {
        name: tuple(Affine(d) if d < n and t.shape[:n] == batch else All() for d in range(len(t.shape)))
        for name, t in call.tensors()
    }


def both(n: int) -> Work:
    """So many multiplications, each followed by an addition."""
    return Work(multiplies=n, adds=n)


def flops(n: int) -> Work:
    """So many operations, half of them multiplications.

    >>> flops(5).flops
    5
    """
    return Work(multiplies=n - n // 2, adds=n // 2)


def per_matrix(work: Callable[[Arguments, int, int], Work]) -> Callable[[OpCall], Work]:
    """The work of each matrix, from the arguments, its rows and its columns."""

    def total(call: OpCall) -> Work:
        batch, m, n = parts(matrix(call.args))
        return work(call.args, m, n).times(prod(batch)) if m and n else Work()

    return total


REAL_ROOT = Work(transcendentals=1)
"""The roots of norms and of diagonals are real, also of complex matrices."""


def matrix_op(
    *targets: str,
    outputs: Callable[[Arguments], Outputs],
    work: Callable[[Arguments, int, int], Work],
    source: str,
    examples: tuple[Example, ...],
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
    function: Work = REAL_ROOT,
) -> Rule:
    """The rule of an op on each matrix of a batch; ``function`` is what its transcendental ones cost if complex."""
    return Rule(
        targets=targets, kind=always("other"), outputs=outputs, work=by_parts(per_matrix(work), function),
        traffic=every_argument, access=each_matrix, temporaries=temporaries, fusible=False,
        source=f"Golub & Van Loan, Matrix Computations, 4th ed., {source}", free_because=None, examples=examples,
    )  # fmt: skip


def overwritten(args: Arguments) -> list[TensorSpec]:
    """A copy of the matrix, which LAPACK writes over."""
    a = matrix(args)
    return [column_major(a.shape, a.dtype)]


def checked(args: Arguments) -> list[TensorSpec]:
    """Of a batch, whether each row is finite."""
    a = matrix(args)
    return [TensorSpec(a.shape[:-1], "bool")] if len(a.shape) > 2 else []


def in_memory_order(args: Arguments) -> list[TensorSpec]:
    """A copy of a matrix whose elements lie in neither rows nor columns."""
    a = matrix(args)
    columns = column_major(a.shape, a.dtype)
    return [] if a.strides in (None, columns.strides) else [columns]


def permutation(shape: tuple[int, ...]) -> list[TensorSpec]:
    """The order of rows that pivots mean: each row's own number, once, and for each matrix of a batch."""
    *batch, m, _ = shape
    return [TensorSpec((m,), "int64"), *([TensorSpec((*batch, m), "int64")] if batch else [])]
