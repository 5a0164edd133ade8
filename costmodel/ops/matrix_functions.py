"""Functions of matrices: determinants, pseudo-inverses, polar factors, square roots, exponentials."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.graph import Arguments, TensorSpec
from costmodel.ops import layout
from costmodel.ops.complex_numbers import ABSOLUTE, EXP
from costmodel.ops.factorisation import lu_work, svd_work, symmetric_eigen_work
from costmodel.ops.matrices import both, column_major, matrix_op, parts, square
from costmodel.ops.rule import Outputs, example, register
from costmodel.quantities import Work

_SQUARE = TensorSpec((2, 4, 4))
_TALL = TensorSpec((5, 3))


def _det(args: Arguments) -> Outputs:
    a = args["A"]
    batch, n = square(a)
    return TensorSpec(batch, a.dtype), column_major(a.shape, a.dtype), TensorSpec((*batch, n), "int32")


def _slogdet(args: Arguments) -> Outputs:
    sign, *factors = _factors(_det(args))
    return sign, TensorSpec(sign.shape, layout.real_dtype(sign.dtype)), *factors


def _factors(outputs: Outputs) -> tuple[TensorSpec, ...]:
    assert isinstance(outputs, tuple)
    return outputs


def _same_rows(args: Arguments) -> TensorSpec:
    square(args["self"])
    return TensorSpec(args["self"].shape, args["self"].dtype)


def _exponential_work(args: Arguments, m: int, n: int) -> Work:
    # Degree 18 takes five products; a number is an exponential.
    if n == 1:
        return Work(transcendentals=1)
    return Work(multiplies=5 * n**3, adds=5 * n**2 * (n - 1))


def _pseudo_inverse(args: Arguments) -> TensorSpec:
    batch, m, n = parts(args["self"])
    return TensorSpec((*batch, n, m), args["self"].dtype)


def _pseudo_inverse_work(args: Arguments, m: int, n: int) -> Work:
    # V (Sigma^+ U^T): small values are compared away, the others inverted and multiplied in.
    k = min(m, n)
    factors = symmetric_eigen_work(n, True) if args["hermitian"] else svd_work(m, n, True, False)
    return factors + both(m * n * k) + Work(compares=k, divides=k, multiplies=k * m)


def _polar(args: Arguments) -> Outputs:
    a = args["A"]
    batch, _, n = parts(a)
    return TensorSpec(a.shape, a.dtype), TensorSpec((*batch, n, n), a.dtype)


def _polar_work(args: Arguments, m: int, n: int) -> Work:
    # Of U Sigma V^T: U V^T, and V Sigma V^T.
    return svd_work(m, n, True, False) + both(m * n * n + n * n * n) + Work(multiplies=n * n)


def _square_root_work(args: Arguments, m: int, n: int) -> Work:
    # V sqrt(Lambda) V^T
    return symmetric_eigen_work(n, True) + both(n**3) + Work(transcendentals=n, multiplies=n * n)


def _polar_parts(args: Arguments) -> list[TensorSpec]:
    """The factors, and the intermediate products for either result."""
    batch, m, n = parts(args["A"])
    dtype = args["A"].dtype
    squares = [TensorSpec((*batch, n, n), dtype) for _ in range(4)]
    return [TensorSpec((*batch, m, n), dtype), *squares, TensorSpec((*batch, n), layout.real_dtype(dtype))]


def _square_root_parts(args: Arguments) -> list[TensorSpec]:
    """The vectors, turned and scaled; the values and their roots."""
    a = args["self"]
    values = TensorSpec(a.shape[:-1], layout.real_dtype(a.dtype))
    return [a, a, a, values, values]


def _of_rows(per_matrix: int) -> Callable[[Arguments], list[TensorSpec]]:
    """The order of rows, whether they moved, and so many numbers a matrix: what the sign of a determinant takes."""

    def temporaries(args: Arguments) -> list[TensorSpec]:
        batch, n = square(args["A"])
        return [TensorSpec((*batch, n), "int64"), TensorSpec((*batch, n), "bool"), TensorSpec((*batch, per_matrix))]

    return temporaries


def _pseudo_inverse_parts(args: Arguments) -> list[TensorSpec]:
    """The factors, the inverted values, and the vectors that they are multiplied into."""
    a = args["self"]
    batch, m, n = parts(a)
    k = min(m, n)
    values = TensorSpec((*batch, k), layout.real_dtype(a.dtype))
    v = TensorSpec((*batch, n, k), a.dtype)
    if args["hermitian"]:
        return [v, v, values, values, values, TensorSpec((*batch, 3), values.dtype)]
    return [TensorSpec((*batch, m, k), a.dtype), v, v, values, values]


register(
    matrix_op(
        "aten._linalg_det.default", outputs=_det, work=lambda a, m, n: lu_work(n, n) + Work(multiplies=n - 1),
        temporaries=_of_rows(6), source="section 3.2: the product of U's diagonal", examples=(example(_SQUARE),),
    ),
    matrix_op(
        "aten._linalg_slogdet.default", outputs=_slogdet, temporaries=_of_rows(5),
        source="section 3.2: the logarithms of U's diagonal",
        work=lambda a, m, n: lu_work(n, n) + Work(transcendentals=n, adds=n - 1), examples=(example(_SQUARE),),
        function=ABSOLUTE + Work(transcendentals=1),
    ),
    matrix_op(
        "aten.linalg_matrix_exp.default", outputs=_same_rows, work=_exponential_work, function=EXP,
        source="section 9.3; its Taylor polynomial of degree 18 in five products (Bader, Blanes & Casas, Mathematics 7 "
        "(2019) 1174), the squarings of large matrices left out", examples=(example(_SQUARE),),
    ),
    matrix_op(
        "aten.linalg_pinv.atol_rtol_tensor", outputs=_pseudo_inverse, work=_pseudo_inverse_work,
        temporaries=_pseudo_inverse_parts, source="section 5.5.2 and figure 8.6.1, leading terms",
        examples=(example(_TALL), example(_SQUARE, hermitian=True)),
    ),
    matrix_op(
        "aten.linalg_polar.default", outputs=_polar, work=_polar_work,
        temporaries=_polar_parts, source="section 9.4.3 and figure 8.6.1, leading terms", examples=(example(_TALL),),
    ),
    matrix_op(
        "aten.linalg_matrix_sqrth.default", outputs=_same_rows, work=_square_root_work,
        temporaries=_square_root_parts, source="section 9.4.2 and section 8.3, leading terms",
        examples=(example(_SQUARE),),
    ),
)  # fmt: skip
