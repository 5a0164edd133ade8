"""The work of factorisations and of what solves by them, at the examples of their rules.

Sums of the steps of Golub & Van Loan's algorithms, worked out for 4 x 4, 3 x 5 and 5 x 3 matrices: an update is a
product and a subtraction. ``tests/ops/test_linear_algebra.py`` runs the same algorithms on numbers that count.
"""

from __future__ import annotations

from costmodel.quantities import Work

W = Work


def updates(n: int) -> Work:
    """So many products, each added to something."""
    return W(multiplies=n, adds=n)


def reflection(n: int) -> Work:
    """A Householder vector of n > 1: n squares, n - 1 sums, a root, x - beta, n - 1 quotients and tau."""
    return W(multiplies=n, adds=n, divides=n, transcendentals=1)


def reflected(n: int, columns: int) -> Work:
    """v^T a, times tau, and a - w v, where v begins with a 1, for each column."""
    return updates((2 * n - 1) * columns)


def column_of_q(n: int) -> Work:
    """The first column of I - tau v v^T: 1 - tau, and n - 1 products."""
    return W(adds=1, multiplies=n - 1)


def total(*parts: Work) -> Work:
    """Their sum."""
    return sum(parts, Work())


_LU_4 = updates(9 + 4 + 1) + W(divides=3 + 2 + 1, compares=3 + 2 + 1)
_LU_35 = updates(2 * 4 + 1 * 3) + W(divides=3, compares=3)
_LU_53 = updates(4 * 2 + 3 * 1) + W(divides=4 + 3 + 2, compares=4 + 3 + 2)
# Half of a square and its diagonal: 6, 3 and 1.
_LDL_4 = updates(6 + 3 + 1) + W(divides=3 + 2 + 1)
_CHOLESKY_4 = _LDL_4 + W(transcendentals=4)
# A triangle of 4: 6 updates; where the diagonal is not 1, 4 divisions.
_UNIT, _TRIANGLE = updates(6), updates(6) + W(divides=4)

_R_4 = total(reflection(4), reflected(4, 3), reflection(3), reflected(3, 2), reflection(2), reflected(2, 1))
_R_35 = total(reflection(3), reflected(3, 4), reflection(2), reflected(2, 3))
_R_53 = total(reflection(5), reflected(5, 2), reflection(4), reflected(4, 1), reflection(3))
_Q_4 = total(column_of_q(2), reflected(2, 1), column_of_q(3), reflected(3, 2), column_of_q(4), reflected(4, 3))
_Q_3 = total(column_of_q(2), reflected(2, 1), column_of_q(3), reflected(3, 2))
_Q_53 = total(column_of_q(3), column_of_q(4), reflected(4, 1), column_of_q(5), reflected(5, 2))
_Q_55 = _Q_53 + reflected(3, 2) + reflected(4, 2) + reflected(5, 2)

# Leading terms, half products: of eigenvectors 9 n^3, 10 n^3 and 25 n^3; of 5 x 3 singular values 4 m n^2 - 4 n^3 / 3,
# with vectors 14 m n^2 + 8 n^3, with all of U 4 m^2 n + 8 m n^2 + 9 n^3.
_VALUES_53, _SVD_53, _SVD_FULL = 4 * 45 - 36, 14 * 45 + 8 * 27, 4 * 75 + 8 * 45 + 9 * 27

_LEAST_SQUARES = total(_R_53, reflected(5, 2), reflected(4, 2), reflected(3, 2), updates(2 * 3), W(divides=2 * 3))

_OF_MATRICES: dict[str, Work | tuple[Work, ...]] = {
    "linalg_lu_factor_ex linalg_lu": (_LU_4.times(2), _LU_35.times(2), _LU_53),
    "linalg_cholesky_ex": (_CHOLESKY_4.times(2), _CHOLESKY_4.times(2)),
    "cholesky": W(transcendentals=2),
    "linalg_ldl_factor_ex": _LDL_4.times(2),
    "geqrf": (_R_4.times(2), _R_35.times(2), _R_53),
    "linalg_qr": ((_R_4 + _Q_4).times(2), (_R_35 + _Q_3).times(2), _R_53 + _Q_53, _R_53 + _Q_55, _R_53),
    "linalg_householder_product": (
        _Q_53, total(column_of_q(3), reflected(3, 2), column_of_q(4), reflected(4, 3)).times(2),
    ),
    "ormqr": (total(reflected(5, 2), reflected(4, 2), reflected(3, 2)),) * 2,
    # 85 operations on complex numbers, of which 43 are products: 4 mul + 2 add each.
    "_linalg_eigh": (updates(9 * 64), W(multiplies=4 * 43, adds=2 * 43 + 2 * 42)),
    "linalg_eig": (updates(25 * 64), W(multiplies=4 * 800, adds=2 * 800 + 2 * 800)),
    "_linalg_eigvals": updates(10 * 64),
    "_linalg_svd": (
        updates(22 * 64), updates(_SVD_53), updates(_SVD_53 // 2),
        W(multiplies=_SVD_FULL // 2 + 1, adds=_SVD_FULL // 2), W(multiplies=4 * 704, adds=4 * 704), updates(_VALUES_53),
    ),
    # LU and, for each of three right sides (or one), two triangles.
    "_linalg_solve_ex": (
        total(_LU_4, (_UNIT + _TRIANGLE).times(3)).times(2), total(_LU_4, (_UNIT + _TRIANGLE).times(3)).times(2),
        total(_LU_4, _UNIT, _TRIANGLE).times(2),
    ),
    "linalg_inv_ex": total(_LU_4, (_UNIT + _TRIANGLE).times(4)).times(2),
    "linalg_lu_solve": ((_UNIT + _TRIANGLE).times(6),) * 2,
    "linalg_solve_triangular": (_TRIANGLE.times(6),) * 2,
    "triangular_solve": _TRIANGLE.times(6),
    "cholesky_solve": (_TRIANGLE + _TRIANGLE).times(6),
    "linalg_ldl_solve": (_UNIT + W(divides=4) + _UNIT).times(6),
    # The factor's inverse: sums of 1 to 3 products, 4 + 6 divisions; its product with itself: 4, 2 x 3, 3 x 2 and 4.
    "cholesky_inverse": (W(multiplies=10, adds=4, divides=10) + W(multiplies=20, adds=10)).times(2),
    # Tall; wide, as its transpose; by singular values: V (Sigma^+ (U^T b)) for two right sides.
    "linalg_lstsq": (
        _LEAST_SQUARES, _LEAST_SQUARES, _LEAST_SQUARES, updates(_SVD_53 // 2 + 2 * (15 + 9)) + W(divides=2 * 3),
    ),
    "_linalg_check_errors": W(compares=2),
    "_linalg_det": (_LU_4 + W(multiplies=3)).times(2),
    "_linalg_slogdet": (_LU_4 + W(transcendentals=4, adds=3)).times(2),
    "linalg_matrix_exp": W(multiplies=5 * 64, adds=5 * 48).times(2),  # five products
    # The values compared, inverted and multiplied in, and a product.
    "linalg_pinv.atol_rtol_tensor": (
        updates(_SVD_53 // 2 + 45) + W(compares=3, divides=3, multiplies=15),
        (updates(9 * 32 + 64) + W(compares=4, divides=4, multiplies=16)).times(2),
    ),
    # U V^T and V Sigma V^T; V sqrt(Lambda) V^T.
    "linalg_polar": updates(_SVD_53 // 2 + 5 * 9 + 27) + W(multiplies=9),
    "linalg_matrix_sqrth": (updates(9 * 32 + 64) + W(transcendentals=4, multiplies=16)).times(2),
}  # fmt: skip

OF_MATRICES = {
    name: work if isinstance(work, tuple) else (work,) for names, work in _OF_MATRICES.items() for name in names.split()
}
"""The work of each example of a rule by op."""
