"""Matrix factorisations: LU, Cholesky, LDL, QR, eigenvalues and singular values.

Direct ones are counted exactly, by the textbook's unblocked algorithm; iterative ones (eigenvalues, singular values) by
its leading terms.
"""

from __future__ import annotations

from math import prod

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.matrices import (
    both,
    checked,
    column_major,
    each_matrix,
    flops,
    in_memory_order,
    matrix_op,
    overwritten,
    parts,
    permutation,
    same_columns,
    square,
)
from costmodel.ops.rule import Outputs, Rule, always, every_argument, example, no_temporaries, register
from costmodel.quantities import Work

_SQUARE = TensorSpec((2, 4, 4))
_WIDE = TensorSpec((2, 3, 5))
_TALL = TensorSpec((5, 3))
_COMPLEX = TensorSpec((4, 4), "complex64")
_SHAPES = (example(_SQUARE), example(_WIDE), example(_TALL))


def lu_work(m: int, n: int, pivot: bool = True) -> Work:
    """LU of an m x n matrix by outer products, with partial pivoting.

    Source: Golub & Van Loan, Matrix Computations, 4th ed., algorithms 3.2.1 and 3.4.1.

    >>> lu_work(3, 3)
    Work(macs=0, adds=5, multiplies=5, divides=3, compares=3, transcendentals=0, macs_on_padding=0)
    """
    below = [m - 1 - k for k in range(min(m, n))]
    updates = sum(rows * (n - 1 - k) for k, rows in enumerate(below))
    return both(updates) + Work(divides=sum(below), compares=sum(below) if pivot else 0)


def ldl_work(n: int) -> Work:
    """L D L^T of a symmetric n x n matrix, of which one triangle is updated.

    Source: Golub & Van Loan, section 4.1.2; the pivoting of section 4.4.4 is not counted.

    >>> ldl_work(3)
    Work(macs=0, adds=4, multiplies=4, divides=3, compares=0, transcendentals=0, macs_on_padding=0)
    """
    return both((n - 1) * n * (n + 1) // 6) + Work(divides=n * (n - 1) // 2)


def cholesky_work(n: int) -> Work:
    """Cholesky's factor of an n x n matrix, by outer products.

    Source: Golub & Van Loan, section 4.2.5.

    >>> cholesky_work(3)
    Work(macs=0, adds=4, multiplies=4, divides=3, compares=0, transcendentals=3, macs_on_padding=0)
    """
    return ldl_work(n) + Work(transcendentals=n)


def _reflection(p: int) -> Work:
    # Of p numbers: their norm, the first component minus it, the scale of the others, and 2 / v^T v. p = 1 needs none.
    return Work(multiplies=p, adds=p, transcendentals=1, divides=p) if p > 1 else Work()


def reflected(p: int, columns: int) -> Work:
    """A Householder reflection of p components, the first of which is 1, applied to so many columns.

    Source: Golub & Van Loan, section 5.1.4: a - (tau v^T a) v.

    >>> reflected(3, columns=1)
    Work(macs=0, adds=5, multiplies=5, divides=0, compares=0, transcendentals=0, macs_on_padding=0)
    """
    return both((2 * p - 1) * columns) if p > 1 else Work()


def householder_work(m: int, n: int) -> Work:
    """R of an m x n matrix and the reflections that lead to it.

    Source: Golub & Van Loan, algorithm 5.2.1.

    >>> householder_work(2, 1)
    Work(macs=0, adds=2, multiplies=2, divides=2, compares=0, transcendentals=1, macs_on_padding=0)
    """
    steps = (_reflection(m - k) + reflected(m - k, n - 1 - k) for k in range(min(m, n)))
    return sum(steps, Work())


def orthogonal_work(m: int, n: int, reflections: int) -> Work:
    """The first n columns of the product of so many reflections of m components.

    Source: Golub & Van Loan, section 5.1.6, backward accumulation; a reflection's own column is -tau v, and 1 - tau.

    >>> orthogonal_work(2, 1, 1)
    Work(macs=0, adds=1, multiplies=1, divides=0, compares=0, transcendentals=0, macs_on_padding=0)
    """
    steps = (
        reflected(m - k, n - 1 - k) + Work(multiplies=m - k - 1, adds=1)
        for k in range(min(reflections, n))
        if m - k > 1
    )
    return sum(steps, Work())


def symmetric_eigen_work(n: int, vectors: bool) -> Work:
    """Eigenvalues, and with ``vectors`` eigenvectors, of a symmetric n x n matrix.

    Source: Golub & Van Loan, section 8.3: 4/3 n^3 for the values, 9 n^3 with the vectors.

    >>> symmetric_eigen_work(3, vectors=False).flops, symmetric_eigen_work(3, vectors=True).flops
    (36, 243)
    """
    return flops(9 * n**3 if vectors else 4 * n**3 // 3)


def eigen_work(n: int, vectors: bool) -> Work:
    """Eigenvalues, and with ``vectors`` eigenvectors, of a general n x n matrix.

    Source: Golub & Van Loan, section 7.5.6: 10 n^3 for the values, 25 n^3 with the Schur vectors.

    >>> eigen_work(2, vectors=False).flops, eigen_work(2, vectors=True).flops
    (80, 200)
    """
    return flops((25 if vectors else 10) * n**3)


def svd_work(m: int, n: int, vectors: bool, full: bool) -> Work:
    """Singular values, and with ``vectors`` both sides' vectors, of an m x n matrix.

    Source: Golub & Van Loan, figure 8.6.1, the column of Golub and Reinsch, for m >= n.

    >>> [svd_work(3, 2, *how).flops for how in ((False, False), (True, False), (True, True))]
    [38, 232, 240]
    """
    m, n = max(m, n), min(m, n)
    if not vectors:
        return flops(4 * m * n**2 - 4 * n**3 // 3)
    return flops(4 * m**2 * n + 8 * m * n**2 + 9 * n**3 if full else 14 * m * n**2 + 8 * n**3)


def _lu_buffers(args: Arguments) -> list[TensorSpec]:
    """Pivots and status; and a factor that does not fit into an output, or the order of rows, which comes after."""
    a = args["A"]
    batch, m, n = parts(a)
    _, pivots, status = _lu_factor(args)
    return [pivots, status, *([TensorSpec((*batch, m, m), a.dtype)] if m < n else permutation(a.shape))]


def _lu_order(args: Arguments) -> list[TensorSpec]:
    return permutation(args["LU_data"].shape) if args["unpack_pivots"] else []


def _qr_buffer(args: Arguments) -> list[TensorSpec]:
    return overwritten(args) if args["mode"] == "r" else []


def _eigh_buffer(args: Arguments) -> list[TensorSpec]:
    return [] if args["compute_v"] else overwritten(args)


def _lu_factor(args: Arguments) -> tuple[TensorSpec, TensorSpec, TensorSpec]:
    a = args["A"]
    batch, m, n = parts(a)
    pivots = TensorSpec((*batch, min(m, n)), "int32")
    return column_major(a.shape, a.dtype), pivots, TensorSpec(batch, "int32")


def _lu(args: Arguments) -> Outputs:
    a = args["A"]
    batch, m, n = parts(a)
    k = min(m, n)
    p = TensorSpec((*batch, m, m) if args["pivot"] else (0,), a.dtype)
    return p, TensorSpec((*batch, m, k), a.dtype), TensorSpec((*batch, k, n), a.dtype)


def _unpacked(args: Arguments) -> Outputs:
    lu = args["LU_data"]
    batch, m, n = parts(lu)
    k = min(m, n)
    none = TensorSpec((0,), lu.dtype)
    p = TensorSpec((*batch, m, m), lu.dtype) if args["unpack_pivots"] else none
    if not args["unpack_data"]:
        return p, none, none
    return p, TensorSpec((*batch, m, k), lu.dtype), TensorSpec((*batch, k, n), lu.dtype)


def _cholesky(args: Arguments) -> Outputs:
    a = args["self"]
    batch, _ = square(a)
    return column_major(a.shape, a.dtype), TensorSpec(batch, "int32")


def _ldl(args: Arguments) -> Outputs:
    a = args["self"]
    batch, n = square(a)
    return column_major(a.shape, a.dtype), TensorSpec((*batch, n), "int32"), TensorSpec(batch, "int32")


def _geqrf(args: Arguments) -> Outputs:
    a = args["self"]
    batch, m, n = parts(a)
    return column_major(a.shape, a.dtype), TensorSpec((*batch, min(m, n)), a.dtype)


def _qr(args: Arguments) -> Outputs:
    a = args["A"]
    batch, m, n = parts(a)
    k = m if args["mode"] == "complete" else min(m, n)
    r = column_major((*batch, k, n), a.dtype)
    return TensorSpec((0,), a.dtype) if args["mode"] == "r" else column_major((*batch, m, k), a.dtype), r


def _qr_work(args: Arguments, m: int, n: int) -> Work:
    q = {"r": 0, "reduced": min(m, n), "complete": m}[args["mode"]]
    return householder_work(m, n) + orthogonal_work(m, q, min(m, n))


def _householder_product(args: Arguments) -> TensorSpec:
    return column_major(args["input"].shape, args["input"].dtype)


def _ormqr(args: Arguments) -> TensorSpec:
    return column_major(args["input3"].shape, args["input3"].dtype)


def _ormqr_work(call: OpCall) -> Work:
    batch, rows, columns = parts(call.args["input3"])
    length, others = (rows, columns) if call.args["left"] else (columns, rows)
    steps = (reflected(length - k, others) for k in range(call.args["input2"].shape[-1]))
    return sum(steps, Work()).times(prod(batch))


def _eigh(args: Arguments) -> Outputs:
    a = args["A"]
    batch, n = square(a)
    vectors = column_major(a.shape, a.dtype) if args["compute_v"] else TensorSpec((0,), a.dtype)
    return TensorSpec((*batch, n), layout.real_dtype(a.dtype)), vectors


def _eigenvalues(args: Arguments) -> TensorSpec:
    a = args["self"]
    batch, n = square(a)
    return TensorSpec((*batch, n), layout.complex_dtype(a.dtype))


def _eig(args: Arguments) -> Outputs:
    values = _eigenvalues(args)
    return values, column_major(args["self"].shape, values.dtype)


def _svd(args: Arguments) -> Outputs:
    a = args["A"]
    batch, m, n = parts(a)
    k = min(m, n)
    values = TensorSpec((*batch, k), layout.real_dtype(a.dtype))
    if not args["compute_uv"]:
        return TensorSpec((0,), a.dtype), values, TensorSpec((0,), a.dtype)
    left, right = (m, n) if args["full_matrices"] else (k, k)
    return column_major((*batch, m, left), a.dtype), values, column_major((*batch, right, n), a.dtype)


register(
    matrix_op(
        "aten.linalg_lu_factor_ex.default", outputs=_lu_factor, work=lambda a, m, n: lu_work(m, n, a["pivot"]),
        source="algorithm 3.4.1", examples=_SHAPES,
    ),
    matrix_op(
        "aten.linalg_lu.default", outputs=_lu, work=lambda a, m, n: lu_work(m, n, a["pivot"]),
        temporaries=_lu_buffers, source="algorithm 3.4.1", examples=_SHAPES,
    ),
    matrix_op(
        "aten.lu_unpack.default", outputs=_unpacked, work=lambda a, m, n: Work(),
        temporaries=_lu_order, source="section 3.4.1: triangles and a permutation are copied, nothing is computed",
        examples=(example(_TALL, TensorSpec((3,), "int32")), example(_WIDE, TensorSpec((2, 3), "int32"), False)),
    ),
    matrix_op(
        "aten.linalg_cholesky_ex.default", outputs=_cholesky, work=lambda a, m, n: cholesky_work(n),
        temporaries=in_memory_order, source="section 4.2.5", examples=(example(_SQUARE), example(_SQUARE, upper=True)),
    ),
    matrix_op(
        "aten.cholesky.default", outputs=same_columns, work=lambda a, m, n: cholesky_work(n),
        temporaries=lambda args: [TensorSpec(args["self"].shape[:-2], "bool")], source="section 4.2.5",
        examples=(example(TensorSpec((2, 1, 1))),),
    ),
    matrix_op(
        "aten.linalg_ldl_factor_ex.default", outputs=_ldl, work=lambda a, m, n: ldl_work(n),
        temporaries=in_memory_order, source="section 4.4", examples=(example(_SQUARE),),
    ),
    matrix_op(
        "aten.geqrf.default", outputs=_geqrf, work=lambda a, m, n: householder_work(m, n),
        source="algorithm 5.2.1", examples=_SHAPES,
    ),
    matrix_op(
        "aten.linalg_qr.default", outputs=_qr, work=_qr_work, temporaries=_qr_buffer,
        source="algorithm 5.2.1 and section 5.1.6",
        examples=(*_SHAPES, example(_TALL, "complete"), example(_TALL, "r")),
    ),
    matrix_op(
        "aten.linalg_householder_product.default", outputs=_householder_product, source="section 5.1.6",
        work=lambda a, m, n: orthogonal_work(m, n, a["tau"].shape[-1]),
        examples=(example(_TALL, TensorSpec((3,))), example(_SQUARE, TensorSpec((2, 2)))),
    ),
    Rule(
        targets=("aten.ormqr.default",), kind=always("other"), outputs=_ormqr, work=_ormqr_work,
        traffic=every_argument, access=each_matrix, temporaries=no_temporaries, fusible=False,
        source="Golub & Van Loan, Matrix Computations, 4th ed., section 5.1.4", free_because=None,
        examples=(example(_TALL, TensorSpec((3,)), TensorSpec((5, 2))),
                  example(_TALL, TensorSpec((3,)), TensorSpec((2, 5)), False)),
    ),
    matrix_op(
        "aten._linalg_eigh.default", outputs=_eigh, work=lambda a, m, n: symmetric_eigen_work(n, a["compute_v"]),
        temporaries=_eigh_buffer, source="section 8.3, leading terms",
        examples=(example(_SQUARE), example(_COMPLEX, "U", False)),
    ),
    matrix_op(
        "aten.linalg_eig.default", outputs=_eig, work=lambda a, m, n: eigen_work(n, True),
        temporaries=checked, source="section 7.5.6, leading terms", examples=(example(_SQUARE), example(_COMPLEX)),
    ),
    matrix_op(
        "aten._linalg_eigvals.default", outputs=_eigenvalues, work=lambda a, m, n: eigen_work(n, False),
        temporaries=checked, source="section 7.5.6, leading terms", examples=(example(_SQUARE),),
    ),
    matrix_op(
        "aten._linalg_svd.default", outputs=_svd,
        work=lambda a, m, n: svd_work(m, n, a["compute_uv"], a["full_matrices"]),
        temporaries=overwritten, source="figure 8.6.1, leading terms",
        examples=(*_SHAPES, example(_TALL, True), example(_COMPLEX), example(_WIDE, False, False)),
    ),
)  # fmt: skip
