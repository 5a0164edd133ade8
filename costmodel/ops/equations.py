"""Linear equations: triangular systems, inverses, least squares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import nothing
from costmodel.ops.complex_numbers import by_parts
from costmodel.ops.factorisation import householder_work, lu_work, reflected, svd_work
from costmodel.ops.matrices import (
    REAL_ROOT,
    both,
    checked,
    column_major,
    each_matrix,
    in_memory_order,
    matrix,
    matrix_op,
    overwritten,
    parts,
    same_columns,
    square,
)
from costmodel.ops.rule import Example, Outputs, Rule, always, every_argument, example, no_temporaries, register
from costmodel.ops.versions import Change, has
from costmodel.quantities import Work

_SQUARE = TensorSpec((2, 4, 4))
_RIGHT = TensorSpec((2, 4, 3))
_ROWS = TensorSpec((2, 3, 4))
_TALL = TensorSpec((5, 3))
_WIDE = TensorSpec((3, 5))


def triangular_work(n: int, columns: int, unit: bool = False) -> Work:
    """A triangular system of n equations for so many right sides; a ``unit`` diagonal is not divided by.

    Source: Golub & Van Loan, algorithms 3.1.1 and 3.1.2.

    >>> triangular_work(3, 1)
    Work(macs=0, adds=3, multiplies=3, divides=3, compares=0, transcendentals=0, macs_on_padding=0)
    """
    return (both(n * (n - 1) // 2) + Work(divides=0 if unit else n)).times(columns)


def solve_work(n: int, columns: int) -> Work:
    """The two triangular systems that an LU factorisation leaves, the first of unit diagonal.

    >>> solve_work(2, 1)
    Work(macs=0, adds=2, multiplies=2, divides=2, compares=0, transcendentals=0, macs_on_padding=0)
    """
    return triangular_work(n, columns, unit=True) + triangular_work(n, columns)


def _inverse_of_cholesky(n: int) -> Work:
    # The factor's inverse by columns, then the lower triangle of its product with itself.
    inverse = Work(
        multiplies=(n - 1) * n * (n + 1) // 6, adds=n * (n - 1) * (n - 2) // 6, divides=n * (n + 1) // 2
    )  # fmt: skip
    return inverse + Work(multiplies=n * (n + 1) * (n + 2) // 6, adds=(n - 1) * n * (n + 1) // 6)


def _is_vector(a: TensorSpec, b: TensorSpec) -> bool:
    return len(b.shape) == 1 or (len(a.shape) - 1 == len(b.shape) and a.shape[:-1] == b.shape)


def _right_sides(n: int, result: TensorSpec) -> int:
    """Right sides of all systems together: whatever is not the unknowns' own dimension."""
    return result.size // n if n else 0


def _solved(a: TensorSpec, b: TensorSpec, left: bool) -> tuple[int, ...]:
    """The solution's shape: batches broadcast."""
    batch, n = square(a)
    if _is_vector(a, b):
        return (*batch, n)
    return (*layout.broadcast([batch, b.shape[:-2]]), *b.shape[-2:])


def _row_major_if(rows: bool, shape: tuple[int, ...], dtype: str) -> TensorSpec:
    return TensorSpec(shape, dtype) if rows else column_major(shape, dtype)


def _solve_ex(args: Arguments) -> Outputs:
    a = args["A"]
    batch, n = square(a)
    x = _row_major_if(not args["left"], _solved(a, args["B"], args["left"]), a.dtype)
    lu = column_major(a.shape, a.dtype)
    return x, lu, TensorSpec((*batch, n), "int32"), TensorSpec(batch, "int32")


def _solve_ex_work(call: OpCall) -> Work:
    batch, n = square(call.args["A"])
    factors = lu_work(n, n).times(prod(batch))
    return factors + solve_work(n, _right_sides(n, call.outputs[0]))


def _lu_solve(args: Arguments) -> TensorSpec:
    lu = args["LU"]
    return _row_major_if(not args["left"], _solved(lu, args["B"], args["left"]), lu.dtype)


def _solve_triangular(args: Arguments) -> TensorSpec:
    a, b = args["self"], args["B"]
    batch = layout.broadcast([a.shape[:-2], b.shape[:-2]])
    return column_major((*batch, *b.shape[-2:]), a.dtype)


def _triangular_solve(args: Arguments) -> Outputs:
    a, b = args["A"], args["self"]
    batch = layout.broadcast([a.shape[:-2], b.shape[:-2]])
    return column_major((*batch, *b.shape[-2:]), a.dtype), column_major((*batch, *a.shape[-2:]), a.dtype)


def _like_right_side(matrix: str) -> Callable[[Arguments], TensorSpec]:
    def outputs(args: Arguments) -> TensorSpec:
        a = args[matrix]
        b = args["self"] if "input2" in args else args["B"]
        batch = layout.broadcast([a.shape[:-2], b.shape[:-2]])
        return column_major((*batch, *b.shape[-2:]), b.dtype)

    return outputs


def _of_systems(matrix: str, work: Callable[[Arguments, int, int], Work]) -> Callable[[OpCall], Work]:
    """The work of an op that solves: ``work`` of its arguments, the unknowns, and the right sides of all systems."""

    def total(call: OpCall) -> Work:
        n = call.args[matrix].shape[-1]
        return work(call.args, n, _right_sides(n, call.outputs[0]))

    return total


def _inverse(args: Arguments) -> Outputs:
    a = args["A"]
    batch, _ = square(a)
    return column_major(a.shape, a.dtype), TensorSpec(batch, "int32")


def _driver(args: Arguments) -> str:
    return args["driver"] or "gelsy"


def _lstsq(args: Arguments) -> Outputs:
    a, b = args["self"], args["b"]
    batch, m, n = parts(a)
    vector = _is_vector(a, TensorSpec((*b.shape,)))
    sides = 1 if vector else b.shape[-1]
    # LAPACK overwrites the right sides, of which there are max(m, n) rows.
    rows = max(m, n)
    leading = TensorSpec((*batch, sides, rows)).full_strides
    if vector:
        shape, strides = (*batch, n), (*leading[:-2], 1)
    else:
        shape, strides = (*batch, n, sides), (*leading[:-2], 1, rows)
    x = TensorSpec(shape, a.dtype, layout.normal(strides, shape))
    driver = _driver(args)
    left_over = m > n and driver != "gelsy"
    residuals = TensorSpec((*batch, sides) if left_over else (0,), layout.real_dtype(a.dtype))
    rank = TensorSpec((0,) if driver == "gels" else batch, "int64")
    values = TensorSpec((*batch, min(m, n)) if driver in ("gelsd", "gelss") else (0,), layout.real_dtype(a.dtype))
    return x, residuals, rank, values


def _lstsq_work(call: OpCall) -> Work:
    args = call.args
    batch, m, n = parts(args["self"])
    tall, k = max(m, n), min(m, n)
    sides = 1 if _is_vector(args["self"], args["b"]) else args["b"].shape[-1]
    if _driver(args) in ("gelsd", "gelss"):
        # V (Sigma^+ (U^T b)) for each right side.
        one = svd_work(m, n, True, False) + (both(k * (m + n)) + Work(divides=k)).times(sides)
    else:
        # Q^T b, then R x = Q^T b; of a wide matrix A^T = Q R, then R^T z = b and x = Q z.
        one = sum((reflected(tall - i, sides) for i in range(k)), householder_work(tall, k)) + triangular_work(k, sides)
    return one.times(prod(batch))


def _solver(
    *targets: str,
    outputs: Callable[[Arguments], Outputs],
    work: Callable[[OpCall], Work],
    source: str,
    examples: tuple[Example, ...],
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
) -> Rule:
    return Rule(
        targets=targets, kind=always("other"), outputs=outputs, work=by_parts(work, REAL_ROOT),
        traffic=every_argument, access=each_matrix, temporaries=temporaries, fusible=False,
        source=f"Golub & Van Loan, Matrix Computations, 4th ed., {source}", free_because=None, examples=examples,
    )  # fmt: skip


def _factors_and_checks(args: Arguments) -> list[TensorSpec]:
    return [*overwritten(args), *checked(args)]


def _pivots(args: Arguments) -> list[TensorSpec]:
    return [TensorSpec(matrix(args).shape[:-1], "int32")]


def _ldl_factors(args: Arguments) -> list[TensorSpec]:
    return _factors_pivots_and_checks(args) if has(Change.LDL_PIVOTS_CHECKED) else overwritten(args)


def _factors_pivots_and_checks(args: Arguments) -> list[TensorSpec]:
    return [*_factors_and_checks(args), *_pivots(args)]


def _triangular_copy(args: Arguments) -> list[TensorSpec]:
    return in_memory_order({"A": args["self"]})


def _cholesky_copy(args: Arguments) -> list[TensorSpec]:
    return overwritten({"A": args["input2"]})


def _rows_below(args: Arguments) -> list[TensorSpec]:
    """The rows of the right sides that are more than unknowns: the solution is a part of what LAPACK wrote over."""
    batch, m, n = parts(args["self"])
    sides = 1 if _is_vector(args["self"], args["b"]) else args["b"].shape[-1]
    return [TensorSpec((*batch, max(m - n, 0), sides), args["self"].dtype)]


_PIVOTS = TensorSpec((2, 4), "int32")


register(
    _solver(
        "aten._linalg_solve_ex.default", outputs=_solve_ex, work=_solve_ex_work, temporaries=checked,
        source="section 3.4.2",
        examples=(example(_SQUARE, _RIGHT), example(_SQUARE, _ROWS, left=False), example(_SQUARE, TensorSpec((2, 4)))),
    ),
    _solver(
        "aten.linalg_lu_solve.default", outputs=_lu_solve, temporaries=_factors_and_checks, source="section 3.4.2",
        work=_of_systems("LU", lambda a, n, sides: solve_work(n, sides)),
        examples=(example(_SQUARE, _PIVOTS, _RIGHT), example(_SQUARE, _PIVOTS, _ROWS, left=False)),
    ),
    _solver(
        "aten.linalg_solve_triangular.default", outputs=_solve_triangular, temporaries=_triangular_copy,
        source="section 3.1",
        work=_of_systems("self", lambda a, n, sides: triangular_work(n, sides, a["unitriangular"])),
        examples=(example(_SQUARE, _RIGHT, upper=True), example(_SQUARE, _ROWS, upper=False, left=False)),
    ),
    _solver(
        "aten.triangular_solve.default", outputs=_triangular_solve, source="section 3.1",
        work=_of_systems("A", lambda a, n, sides: triangular_work(n, sides, a["unitriangular"])),
        examples=(example(_RIGHT, _SQUARE),),
    ),
    _solver(
        "aten.cholesky_solve.default", outputs=_like_right_side("input2"), temporaries=_cholesky_copy,
        source="section 4.2",
        work=_of_systems("input2", lambda a, n, sides: triangular_work(n, 2 * sides)),
        examples=(example(_RIGHT, _SQUARE),),
    ),
    _solver(
        "aten.linalg_ldl_solve.default", outputs=_like_right_side("LD"), temporaries=_ldl_factors,
        source="section 4.1.2",
        work=_of_systems("LD", lambda a, n, sides: triangular_work(n, 2 * sides, unit=True) + Work(divides=n * sides)),
        examples=(example(_SQUARE, _PIVOTS, _RIGHT),),
    ),
    matrix_op(
        "aten.cholesky_inverse.default", outputs=same_columns, work=lambda a, m, n: _inverse_of_cholesky(n),
        source="section 3.1 by columns, and L^-T L^-1", examples=(example(_SQUARE),),
    ),
    matrix_op(
        "aten.linalg_inv_ex.default", outputs=_inverse, work=lambda a, m, n: lu_work(n, n) + solve_work(n, n),
        temporaries=_factors_pivots_and_checks, source="section 3.4.2, with the identity on the right",
        examples=(example(_SQUARE),),
    ),
    _solver(
        "aten.linalg_lstsq.default", outputs=_lstsq, work=_lstsq_work, temporaries=_rows_below,
        source="algorithm 5.3.2, of a wide matrix section 5.6.2, or section 5.5.2",
        examples=(
            example(_TALL, TensorSpec((5, 2))), example(_WIDE, TensorSpec((3, 2))),
            example(_TALL, TensorSpec((5, 2)), driver="gels"), example(_TALL, TensorSpec((5, 2)), driver="gelsd"),
        ),
    ),
    Rule(
        targets=("aten._linalg_check_errors.default",), kind=always("other"), outputs=lambda args: (),
        work=lambda call: Work(compares=call.args["info"].size), traffic=every_argument, access=nothing,
        temporaries=lambda args: [TensorSpec(args["info"].shape, "bool")], fusible=False,
        source="each matrix's status is compared with 0", free_because=None,
        examples=(example(TensorSpec((2,), "int32"), "linalg.inv", is_matrix=False),),
    ),
)  # fmt: skip
