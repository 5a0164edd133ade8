"""The textbook's algorithms as plain loops over numbers that count: torch's results, and the rules' arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from costmodel.quantities import Work
from tests.ops._asking import record, work
from tests.ops._counting import Number, counted, log, sqrt, total, values

SHAPES = [(4, 4), (3, 5), (5, 3), (1, 1)]
ROWS = torch.tensor([1, 2, 3], dtype=torch.int32)
aten = torch.ops.aten


def matrix(m: int, n: int) -> torch.Tensor:
    """A random matrix."""
    torch.manual_seed(0)
    return torch.randn(m, n, dtype=torch.float64)


def definite(n: int) -> torch.Tensor:
    """A symmetric positive definite matrix, the diagonal of which outweighs the rest."""
    a = matrix(n, n)
    return (a + a.T) / 8 + n * torch.eye(n, dtype=torch.float64)


def lu(a: Any, pivot: bool = True) -> list[int]:
    """Factors in place (Golub & Van Loan, algorithm 3.4.1), and returns the order of the rows."""
    m, n = len(a), len(a[0])
    order = list(range(m))
    for k in range(min(m, n)):
        best = k
        for i in range(k + 1, m) if pivot else ():
            if abs(a[i][k]) > abs(a[best][k]):
                best = i
        a[k], a[best] = a[best], a[k]
        order[k], order[best] = order[best], order[k]
        for i in range(k + 1, m):
            a[i][k] = a[i][k] / a[k][k]
            for j in range(k + 1, n):
                a[i][j] = a[i][j] - a[i][k] * a[k][j]
    return order


def forward(a: Any, b: list[Number], unit: bool) -> list[Number]:
    """Solves a lower triangular system (algorithm 3.1.1)."""
    x = list(b)
    for i in range(len(x)):
        for j in range(i):
            x[i] = x[i] - a[i][j] * x[j]
        x[i] = x[i] if unit else x[i] / a[i][i]
    return x


def backward(a: Any, b: list[Number], unit: bool = False) -> list[Number]:
    """Solves an upper triangular system (algorithm 3.1.2)."""
    x = list(b)
    for i in reversed(range(len(x))):
        for j in range(i + 1, len(x)):
            x[i] = x[i] - a[i][j] * x[j]
        x[i] = x[i] if unit else x[i] / a[i][i]
    return x


def cholesky(a: Any) -> Any:
    """The lower factor in place, by outer products (section 4.2.5)."""
    n = len(a)
    for k in range(n):
        a[k][k] = sqrt(a[k][k])
        for i in range(k + 1, n):
            a[i][k] = a[i][k] / a[k][k]
        for j in range(k + 1, n):
            for i in range(j, n):
                a[i][j] = a[i][j] - a[i][k] * a[j][k]
    return a


def transposed(a: Any) -> Any:
    """Rows as columns."""
    return [list(column) for column in zip(*a, strict=True)]


def apply(v: list[Number], tau: Number, a: Any, k: int, columns: Any) -> None:
    """(I - tau v v^T) a in place, for the rows from k on and these columns; v's first component is 1."""
    for j in columns if len(v) > 1 else ():
        dot = total([a[k][j], *(v[i] * a[k + i][j] for i in range(1, len(v)))])
        w = tau * dot
        a[k][j] = a[k][j] - w
        for i in range(1, len(v)):
            a[k + i][j] = a[k + i][j] - v[i] * w


def householder(a: Any) -> list[tuple[list[Number], Number]]:
    """R in place (algorithm 5.2.1), and the reflections as LAPACK keeps them."""
    m, n = len(a), len(a[0])
    reflections = []
    for k in range(min(m, n)):
        x = [a[i][k] for i in range(k, m)]
        if len(x) == 1:
            reflections.append((x, Number(0, x[0].tally)))  # there is nothing to reflect
            break
        norm = sqrt(total([c * c for c in x]))
        beta = -norm if x[0].value > 0 else norm
        less = x[0] - beta
        v = [x[0], *(c / less for c in x[1:])]
        tau = -less / beta
        reflections.append((v, tau))
        a[k][k] = beta
        apply(v, tau, a, k, range(k + 1, n))
    return reflections


def orthogonal(reflections: Any, m: int, n: int) -> Any:
    """The first n columns of the reflections' product, from the last on (section 5.1.6)."""
    tally = reflections[0][1].tally
    q = [[Number(i == j, tally) for j in range(n)] for i in range(m)]
    for k in reversed(range(min(len(reflections), n))):
        v, tau = reflections[k]
        apply(v, tau, q, k, range(k + 1, n))
        if len(v) > 1:
            q[k][k] = 1 - tau
        for i in range(1, len(v)):
            q[k + i][k] = -(tau * v[i])
    return q


@pytest.mark.parametrize("shape", SHAPES)
def test_lu(shape: tuple[int, int]) -> None:
    """LU by outer products, with each column's greatest element for a pivot."""
    x = matrix(*shape)

    def run(a: Any) -> Any:
        lu(a)
        return a

    result, done = counted(run, x)
    torch.testing.assert_close(values(result), aten.linalg_lu_factor_ex(x)[0])
    assert done == work("aten.linalg_lu_factor_ex.default", A=x)
    assert done == work("aten.linalg_lu.default", A=x)
    without = counted(lambda a: lu(a, pivot=False), x)[1]
    assert without.compares == 0
    assert done == without + Work(compares=done.compares)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_cholesky_and_its_inverse(n: int) -> None:
    """Cholesky's factor; and the inverse of the matrix, by the factor's inverse and its product with itself."""
    x = definite(n)
    result, done = counted(cholesky, x)
    factor = torch.linalg.cholesky(x)
    torch.testing.assert_close(values(result).tril(), factor)
    assert done == work("aten.linalg_cholesky_ex.default", self=x)
    if hasattr(aten, "cholesky"):  # dropped by torch 2.15
        assert done == work("aten.cholesky.default", self=x)

    def inverse(f: Any) -> Any:
        inv = [[Number(0, f[0][0].tally)] * n for _ in range(n)]
        for j in range(n):
            inv[j][j] = 1 / f[j][j]
            for i in range(j + 1, n):
                inv[i][j] = -total([f[i][k] * inv[k][j] for k in range(j, i)]) / f[i][i]
        product = [[total([inv[k][i] * inv[k][j] for k in range(i, n)]) for j in range(i + 1)] for i in range(n)]
        return [[product[max(i, j)][min(i, j)] for j in range(n)] for i in range(n)]

    result, done = counted(inverse, factor)
    torch.testing.assert_close(values(result), torch.linalg.inv(x))
    assert done == work("aten.cholesky_inverse.default", self=factor)


@pytest.mark.parametrize("n", [1, 4])
def test_ldl(n: int) -> None:
    """L D L^T as Cholesky's factor without the roots, and the three steps that solve with it."""
    x, b = definite(n), matrix(n, 2)
    ld, pivots, _ = aten.linalg_ldl_factor_ex(x)
    assert pivots.tolist() == list(range(1, n + 1)), "no rows change places"

    def factor(a: Any) -> Any:
        for k in range(n):
            column = [a[i][k] for i in range(n)]
            for i in range(k + 1, n):
                a[i][k] = a[i][k] / a[k][k]
            for j in range(k + 1, n):
                for i in range(j, n):
                    a[i][j] = a[i][j] - a[i][k] * column[j]
        return a

    result, done = counted(factor, x)
    torch.testing.assert_close(values(result).tril(), ld.tril())
    assert done == work("aten.linalg_ldl_factor_ex.default", self=x)

    def solve(f: Any, rights: Any) -> Any:
        solved = []
        for right in transposed(rights):
            y = forward(f, right, unit=True)
            z = [c / f[i][i] for i, c in enumerate(y)]
            solved.append(backward(transposed(f), z, unit=True))
        return transposed(solved)

    result, done = counted(solve, ld, b)
    torch.testing.assert_close(values(result), torch.linalg.solve(x, b))
    assert done == work("aten.linalg_ldl_solve.default", LD=ld, pivots=pivots, B=b)


@pytest.mark.parametrize("unit", [False, True])
def test_triangular_systems(unit: bool) -> None:
    """Substitution for each right side; whatever stands on the diagonal is not divided by if it is taken for 1."""
    a, b = matrix(4, 4) + 3 * torch.eye(4), matrix(4, 3)
    run = lambda f, rights: transposed([backward(f, right, unit) for right in transposed(rights)])  # noqa: E731
    result, done = counted(run, a, b)
    torch.testing.assert_close(values(result), torch.linalg.solve_triangular(a, b, upper=True, unitriangular=unit))
    arguments = {"self": a, "B": b, "upper": True, "unitriangular": unit}
    assert done == work("aten.linalg_solve_triangular.default", **arguments)
    assert done == work("aten.triangular_solve.default", self=b, A=a, unitriangular=unit)
    turned = {"self": a, "B": b.T, "upper": True, "unitriangular": unit, "left": False}
    assert done == work("aten.linalg_solve_triangular.default", **turned)


def solved(a: Any, rights: Any) -> Any:
    """Solves by LU: two triangular systems for each right side."""
    order = lu(a)
    columns = [[right[i] for i in order] for right in transposed(rights)]
    return transposed([backward(a, forward(a, right, unit=True)) for right in columns])


def test_systems_by_lu() -> None:
    """LU and two triangular systems; the inverse has the identity on the right; factors that are given are not paid."""
    a, b = matrix(4, 4), matrix(4, 3)
    result, done = counted(solved, a, b)
    torch.testing.assert_close(values(result), torch.linalg.solve(a, b))
    assert done == work("aten._linalg_solve_ex.default", A=a, B=b)
    assert done == work("aten._linalg_solve_ex.default", A=a, B=b.T.contiguous(), left=False)
    result, inverted = counted(solved, a, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(values(result), torch.linalg.inv(a))
    assert inverted == work("aten.linalg_inv_ex.default", A=a)
    factors, pivots, _ = aten.linalg_lu_factor_ex(a)
    given = work("aten.linalg_lu_solve.default", LU=factors, pivots=pivots, B=b)
    assert given + counted(lu, a)[1] == done


def test_systems_by_cholesky() -> None:
    """Two triangular systems, both of which divide."""
    x, b = definite(4), matrix(4, 3)
    factor = torch.linalg.cholesky(x)

    def run(f: Any, rights: Any) -> Any:
        return transposed(
            [backward(transposed(f), forward(f, right, unit=False)) for right in transposed(rights)]
        )  # fmt: skip

    result, done = counted(run, factor, b)
    torch.testing.assert_close(values(result), torch.linalg.solve(x, b))
    assert done == work("aten.cholesky_solve.default", self=b, input2=factor)


def test_determinants() -> None:
    """The product of U's diagonal, or the sum of its logarithms."""
    x = matrix(4, 4)

    def product(a: Any) -> Number:
        order = lu(a)
        swaps = sum(order[i] > order[j] for i in range(4) for j in range(i + 1, 4))
        result = a[0][0]
        for k in range(1, 4):
            result = result * a[k][k]
        return -result if swaps % 2 else result

    def logarithm(a: Any) -> Number:
        lu(a)
        return total([log(abs(a[k][k])) for k in range(4)])

    result, done = counted(product, x)
    torch.testing.assert_close(values(result), torch.linalg.det(x))
    assert done == work("aten._linalg_det.default", A=x)
    result, done = counted(logarithm, x)
    torch.testing.assert_close(values(result), torch.linalg.slogdet(x)[1])
    assert done == work("aten._linalg_slogdet.default", A=x)


@pytest.mark.parametrize("mode", ["r", "reduced", "complete"])
@pytest.mark.parametrize("shape", SHAPES)
def test_qr(shape: tuple[int, int], mode: str) -> None:
    """Householder's reflections, and as many columns of their product as are asked for."""
    x = matrix(*shape)
    m, n = shape
    columns = {"r": 0, "reduced": min(m, n), "complete": m}[mode]

    def run(a: Any) -> Any:
        reflections = householder(a)
        return a, orthogonal(reflections, m, columns) if columns else None

    (r, q), done = counted(run, x)
    real_q, real_r = torch.linalg.qr(x, mode)
    torch.testing.assert_close(values(r).triu()[: real_r.shape[0]], real_r)
    if q is not None:
        torch.testing.assert_close(values(q), real_q)
    assert done == work("aten.linalg_qr.default", A=x, mode=mode)


def test_reflections_alone() -> None:
    """Their making, their product and its product with a matrix, from either side."""
    x, tall, wide = matrix(5, 3), matrix(5, 2), matrix(2, 5)
    a, tau = aten.geqrf(x)
    assert counted(householder, x)[1] == work("aten.geqrf.default", self=x)

    def product(f: Any, taus: Any) -> Any:
        return orthogonal(reflections(f, taus), 5, 3)

    def reflections(f: Any, taus: Any) -> Any:
        return [([f[i][k] for i in range(k, 5)], t) for k, t in enumerate(taus)]

    result, done = counted(product, a, tau)
    torch.testing.assert_close(values(result), aten.linalg_householder_product(a, tau))
    assert done == work("aten.linalg_householder_product.default", input=a, tau=tau)

    def times(f: Any, taus: Any, c: Any) -> Any:
        for k, (v, t) in reversed(list(enumerate(reflections(f, taus)))):
            apply(v, t, c, k, range(2))
        return c

    result, done = counted(times, a, tau, tall)
    torch.testing.assert_close(values(result), aten.ormqr(a, tau, tall))
    assert done == work("aten.ormqr.default", self=a, input2=tau, input3=tall)
    assert done == work("aten.ormqr.default", self=a, input2=tau, input3=wide, left=False)


def test_least_squares() -> None:
    """Householder's reflections, applied to the right sides too, and a triangular system."""
    x, b = matrix(5, 3), matrix(5, 2)

    def run(a: Any, rights: Any) -> Any:
        for k, (v, tau) in enumerate(householder(a)):
            apply(v, tau, rights, k, range(2))
        return transposed([backward(a[:3], right[:3]) for right in transposed(rights)])

    result, done = counted(run, x, b)
    torch.testing.assert_close(values(result), torch.linalg.lstsq(x, b).solution)
    assert done == work("aten.linalg_lstsq.default", self=x, b=b)
    assert done == work("aten.linalg_lstsq.default", self=x, b=b, driver="gels")


def test_the_least_solution_of_a_wide_system() -> None:
    """A^T = Q R, R^T z = b by substitution, and x = Q z (section 5.6.2)."""
    a, b = matrix(3, 5), matrix(3, 2)

    def run(columns: Any, rights: Any) -> Any:
        reflections = householder(columns)
        lower = transposed(columns[:3])
        zero = Number(0, rights[0][0].tally)
        xs = transposed([[*forward(lower, right, unit=False), zero, zero] for right in transposed(rights)])
        for k, (v, tau) in reversed(list(enumerate(reflections))):
            apply(v, tau, xs, k, range(2))
        return xs

    result, done = counted(run, a.T, b)
    torch.testing.assert_close(values(result), torch.linalg.lstsq(a, b).solution)
    assert done == work("aten.linalg_lstsq.default", self=a, b=b)


@pytest.mark.parametrize(
    ("target", "arguments", "flops"),
    [
        # 4 / 3 n^3 and 9 n^3; 10 n^3 and 25 n^3.
        ("aten._linalg_eigh.default", {"A": definite(6), "compute_v": False}, 288),
        ("aten._linalg_eigh.default", {"A": definite(6)}, 1944),
        ("aten._linalg_eigvals.default", {"self": matrix(4, 4)}, 640),
        ("aten.linalg_eig.default", {"self": matrix(4, 4)}, 1600),
        # m = 5, n = 3: 4 * 45 - 4 * 27 / 3; 14 * 45 + 8 * 27; 4 * 75 + 8 * 45 + 9 * 27; a wide matrix as its transpose.
        ("aten._linalg_svd.default", {"A": matrix(5, 3), "compute_uv": False}, 144),
        ("aten._linalg_svd.default", {"A": matrix(5, 3)}, 846),
        ("aten._linalg_svd.default", {"A": matrix(5, 3), "full_matrices": True}, 903),
        ("aten._linalg_svd.default", {"A": matrix(3, 5)}, 846),
        # The singular values and vectors; 3 compared, 3 inverted, 15 multiplied in, 45 times two in the product.
        ("aten.linalg_pinv.atol_rtol_tensor", {"self": matrix(5, 3)}, 846 + 3 + 3 + 15 + 90),
        # Of 4 x 4: 9 * 64 for the eigenvectors, and 4 + 4 + 16 + 128.
        ("aten.linalg_pinv.atol_rtol_tensor", {"self": definite(4), "hermitian": True}, 576 + 152),
        # Five products of 3 x 3, each 27 multiplications and 18 additions; of numbers, exponentials.
        ("aten.linalg_matrix_exp.default", {"self": matrix(3, 3)}, 225),
        ("aten.linalg_matrix_exp.default", {"self": torch.ones(7, 1, 1)}, 7),
        # The singular values and vectors, and for both sides 3 divisions and 3 * (5 + 3) of each.
        ("aten.linalg_lstsq.default", {"self": matrix(5, 3), "b": matrix(5, 2), "driver": "gelsd"}, 846 + 2 * 51),
        *([
            # The factors; U V^T and V Sigma V^T, 5 * 9 and 27 of each, the values multiplied in.
            ("aten.linalg_polar.default", {"A": matrix(5, 3)}, 846 + 2 * 72 + 9),
            # The eigenvectors; four roots, multiplied in, and 64 of each.
            ("aten.linalg_matrix_sqrth.default", {"self": definite(4)}, 576 + 4 + 16 + 128),
        ] if hasattr(aten, "linalg_polar") else []),
        ("aten._linalg_check_errors.default", {"info": ROWS * 0, "api_name": "", "is_matrix": False}, 3),
        ("aten.lu_unpack.default", {"LU_data": matrix(3, 3), "LU_pivots": ROWS}, 0),
    ],
)  # fmt: skip
def test_leading_terms(target: str, arguments: dict[str, Any], flops: int) -> None:
    """What iterates is counted by the textbook's leading terms, worked out by hand."""
    assert work(target, **arguments).flops == flops


def test_a_batch_is_so_many_matrices() -> None:
    """Work is counted for each matrix of a batch; a matrix without elements takes none."""
    one, batch = matrix(4, 4), matrix(4, 4).expand(2, 3, 4, 4).contiguous()
    for target in ("aten.linalg_inv_ex.default", "aten._linalg_det.default", "aten.linalg_qr.default"):
        assert work(target, A=batch) == work(target, A=one).times(6)
    assert work("aten.linalg_inv_ex.default", A=torch.ones(0, 0)) == Work()
    sides = torch.ones(2, 3, 4, 2, dtype=torch.float64)
    one_system = work("aten._linalg_solve_ex.default", A=one, B=sides[0, 0])
    assert work("aten._linalg_solve_ex.default", A=batch, B=sides) == one_system.times(6)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize(("m", "n"), [(4, 3), (3, 4)])
def test_least_squares_of_one_right_side(batch: tuple[int, ...], m: int, n: int) -> None:
    """The solution lies where LAPACK left it, among the max(m, n) rows of each right side."""
    given = {"self": torch.rand(*batch, m, n), "b": torch.rand(*batch, m)}
    if len(batch) != 1:  # torch takes (2, m) for a matrix of right sides, unless both are batched
        assert record("aten.linalg_lstsq.default", **given).outputs[0].shape == (*batch, n)
    sides = record("aten.linalg_lstsq.default", **{**given, "b": torch.rand(*batch, m, 2)})
    assert sides.outputs[0].shape == (*batch, n, 2)
