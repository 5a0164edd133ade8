"""Ops on complex numbers: definitions as loops over pairs of numbers that count, and every rule by its real version."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import costmodel
from costmodel.graph import OpCall, TensorSpec
from costmodel.ops import RULES
from costmodel.quantities import Work
from tests.ops._asking import work
from tests.ops._complex import (
    Complex,
    absolute,
    angle,
    arccosine,
    arcsine,
    arctangent,
    cosine,
    counted,
    exponential,
    hyperbolic,
    joined,
    logarithm,
    root,
    sine,
    tangent,
    values,
)
from tests.ops._counting import Number, sqrt

Z = torch.complex(torch.linspace(0.2, 0.8, 12), torch.linspace(0.7, -0.6, 12)).view(3, 4)
W = Z.flip(0, 1) * (0.5 + 0.25j) + 0.1


def agrees(result: Any, real: torch.Tensor) -> None:
    """Whether the loops have computed what torch computes."""
    torch.testing.assert_close(values(result).to(real.dtype), real, rtol=1e-4, atol=1e-5)


tanh = hyperbolic(tangent, odd=True)
FUNCTIONS: dict[str, Callable[[Complex], Any]] = {
    "exp": exponential,
    "exp2": lambda z: exponential(z * torch.tensor(2.0).log().item()),
    "expm1": lambda z: exponential(z) - 1,
    "log": logarithm,
    "log2": lambda z: logarithm(z) * (1 / torch.tensor(2.0).log().item()),
    "log10": lambda z: logarithm(z) * (1 / torch.tensor(10.0).log().item()),
    "log1p": lambda z: logarithm(1 + z),
    "sqrt": root,
    "rsqrt": lambda z: 1 / root(z),
    "sin": sine,
    "cos": cosine,
    "tan": tangent,
    "sinh": hyperbolic(sine, odd=True),
    "cosh": hyperbolic(cosine, odd=False),
    "tanh": tanh,
    "asin": arcsine,
    "acos": arccosine,
    "asinh": lambda z: logarithm(z + root(z * z + 1)),
    "acosh": lambda z: logarithm(z + root(z * z - 1)),
    "atan": arctangent,
    "atanh": lambda z: logarithm((1 + z) / (1 - z)) * 0.5,
    "reciprocal": lambda z: 1 / z,
    "square": lambda z: z * z,
    "neg": lambda z: -z,
    "_conj_physical": lambda z: Complex(z.a, -z.b),
    "abs": absolute,
    "angle": angle,
    "sgn": lambda z: (lambda size: Complex(z.a / size, z.b / size))(absolute(z)),
    "sigmoid": lambda z: 1 / (1 + exponential(-z)),
    "silu": lambda z: z * (1 / (1 + exponential(-z))),
    "sinc": lambda z: (lambda t: sine(t) / t)(z * torch.pi),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    """An element costs what its definition does to the parts."""
    xs = Z.flatten()
    if name in ("acosh", "acos"):
        xs = torch.complex(xs.real + 1, xs.imag.abs())  # where the principal branch needs no correction of signs
    result, done = counted(lambda zs: [FUNCTIONS[name](z) for z in zs], xs)
    agrees(result, getattr(torch.ops.aten, name).default(xs))
    assert work(f"aten.{name}.default", self=xs) == done
    if f"aten._foreach_{name}.default" in RULES:
        record = OpCall(f"aten._foreach_{name}.default", {"self": [TensorSpec((12,), "complex64")]}, ())
        assert RULES[record.op].work(record) == done


def test_foreach_norms() -> None:
    """The norm of each tensor of a list is that of ``torch.linalg.vector_norm``."""
    xs = Z.flatten()
    _, done = counted(NORMS[2.0], xs)
    record = OpCall("aten._foreach_norm.Scalar", {"self": [TensorSpec((12,), "complex64")] * 2, "ord": 2}, ())
    assert RULES[record.op].work(record) == done + done


BINARY: dict[str, tuple[dict[str, Any], Callable[[Complex, Complex], Any]]] = {
    "add.Tensor": ({}, lambda z, w: z + w),
    "sub.Tensor": ({"alpha": 2}, lambda z, w: z - w * 2),
    "mul.Tensor": ({}, lambda z, w: z * w),
    "div.Tensor": ({}, lambda z, w: z / w),
    "pow.Tensor_Tensor": ({}, lambda z, w: exponential(w * logarithm(z))),
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_operations(name: str) -> None:
    """Sums, products, quotients and powers; a real operand is cast to complex, and so are numbers."""
    options, definition = BINARY[name]
    xs, ys = Z.flatten(), W.flatten()
    second = "exponent" if name.startswith("pow") else "other"
    result, done = counted(lambda zs, ws: [definition(z, w) for z, w in zip(zs, ws, strict=True)], xs, ys)
    packet, overload = name.split(".")
    agrees(result, getattr(getattr(torch.ops.aten, packet), overload)(xs, ys, **options))
    assert work(f"aten.{name}", self=xs, **{second: ys}, **options) == done
    assert work(f"aten.{name}", self=xs, **{second: ys.real.contiguous()}, **options) == done
    assert work(f"aten.{name}", self=xs.real.contiguous(), **{second: ys}, **options) == done
    if name == "mul.Tensor":
        assert work("aten.mul.Tensor", self=xs, other=2.0) == done
        assert work("aten.mul.Tensor", self=xs.real.contiguous(), other=2j) == done


def test_log_add_exp() -> None:
    """log(exp(z) + exp(w)), the number of the greater real part apart."""

    def run(zs: list[Complex], ws: list[Complex]) -> list[Complex]:
        results = []
        for z, w in zip(zs, ws, strict=True):
            most, least = (w, z) if z.a < w.a else (z, w)
            results.append(most + logarithm(1 + exponential(least - most)))
        return results

    xs, ys = Z.flatten(), W.flatten()
    result, done = counted(run, xs, ys)
    agrees(result, torch.logaddexp(xs, ys))
    assert work("aten.logaddexp.default", self=xs, other=ys) == done

    def running(zs: list[Complex]) -> list[Complex]:
        results = [zs[0]]
        for z in zs[1:]:
            results += run([results[-1]], [z])
        return results

    result, done = counted(running, xs)
    agrees(result, xs.logcumsumexp(0))
    assert work("aten.logcumsumexp.default", self=xs, dim=0) == done


def _log_sum_exp(zs: list[Complex]) -> Complex:
    most = zs[0]
    for z in zs[1:]:
        most = z if most.a < z.a else most
    return most + logarithm(joined([exponential(z - most) for z in zs]))


def _variance(zs: list[Complex]) -> Number:
    n = len(zs)
    parts = [[z.a for z in zs], [z.b for z in zs]]
    variances = []
    for part in parts:
        mean = joined(part) / n
        away = [x - mean for x in part]
        variances.append(joined([x * x for x in away]) / (n - 1))
    return joined(variances)


def _product(zs: list[Complex]) -> Complex:
    result = zs[0]
    for z in zs[1:]:
        result = result * z
    return result


REDUCTIONS: dict[str, Callable[[list[Complex]], Any]] = {
    "sum.default": joined,
    "mean.default": lambda zs: joined(zs) / len(zs),
    "prod.default": _product,
    "var.correction": _variance,
    "std.correction": lambda zs: sqrt(_variance(zs)),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str) -> None:
    """Sums, products and spreads of complex numbers."""
    xs = Z.flatten()
    result, done = counted(REDUCTIONS[name], xs)
    packet, overload = name.split(".")
    agrees(result, getattr(getattr(torch.ops.aten, packet), overload)(xs))
    assert work(f"aten.{name}", self=xs) == done


def test_the_logarithm_of_a_sum() -> None:
    """The greatest is found by real parts."""
    result, done = counted(_log_sum_exp, Z.flatten())
    agrees(result, Z.flatten().logsumexp(0))
    assert work("aten.logsumexp.default", self=Z.flatten(), dim=[0]) == done


def _largest(xs: list[Number]) -> Number:
    best = xs[0]
    for x in xs[1:]:
        best = x if x > best else best
    return best


NORMS: dict[float, Callable[[list[Complex]], Any]] = {
    2.0: lambda zs: sqrt(joined([part * part for z in zs for part in (z.a, z.b)])),
    1.0: lambda zs: joined([absolute(z) for z in zs]),
    float("inf"): lambda zs: _largest([absolute(z) for z in zs]),
    3.0: lambda zs: joined([absolute(z).of(lambda v: v**3) for z in zs]).of(lambda v: v ** (1 / 3)),
}


@pytest.mark.parametrize("order", NORMS)
def test_norms(order: float) -> None:
    """Those of the absolute values; the 2-norm takes their squares, and no root of each."""
    xs, ys = Z.flatten(), W.flatten()
    result, done = counted(NORMS[order], xs)
    agrees(result, torch.linalg.vector_norm(xs, order))
    assert work("aten.linalg_vector_norm.default", self=xs, ord=order) == done

    result, done = counted(lambda zs, ws: NORMS[order]([z - w for z, w in zip(zs, ws, strict=True)]), xs, ys)
    agrees(result, torch.dist(xs, ys, order))
    assert work("aten.dist.default", self=xs, other=ys, p=order) == done

    def bounded(zs: list[Complex]) -> list[Complex]:
        size = NORMS[order](zs)
        assert size > 0.1
        factor = 0.1 / (size + 1e-7)
        return [z * factor for z in zs]

    result, done = counted(bounded, xs)
    agrees([result], torch.renorm(xs[None], order, 0, 0.1))
    assert work("aten.renorm.default", self=xs[None], p=order, dim=0, maxnorm=0.1) == done


def test_what_is_not_zero() -> None:
    """Both parts are compared with 0; the places are counted with whole numbers."""
    assert work("aten.count_nonzero.default", self=Z) == Work(compares=24, adds=11)
    assert work("aten.linalg_vector_norm.default", self=Z, ord=0) == Work(compares=24, adds=11)
    assert work("aten.eq.Tensor", self=Z, other=W) == Work(compares=24)


def test_closeness() -> None:
    """|z - w| <= atol + rtol |w|."""

    def run(zs: list[Complex], ws: list[Complex]) -> list[bool]:
        return [absolute(z - w) < absolute(w) * 1e-5 + 1e-8 for z, w in zip(zs, ws, strict=True)]

    _, done = counted(run, Z.flatten(), W.flatten())
    assert work("aten.allclose.default", self=Z.flatten(), other=W.flatten()) == done


def _product_of_matrices(a: list[list[Complex]], b: list[list[Complex]]) -> list[list[Any]]:
    # A multiply-accumulate adds to what is there, at first 0.
    rows = []
    for row in a:
        sums: list[Any] = [row[0].of(0) for _ in b[0]]
        for k, z in enumerate(row):
            sums = [total + z * w for total, w in zip(sums, b[k], strict=True)]
        rows.append(sums)
    return rows


def as_operations(of: Work) -> Work:
    """Multiply-accumulates as a multiplication and an addition each."""
    return Work(adds=of.adds + of.macs, multiplies=of.multiplies + of.macs)


def test_products_of_matrices() -> None:
    """A complex multiply-accumulate is four multiplications and four additions, and counts as four."""
    a, b = Z, W.t().contiguous()
    result, done = counted(_product_of_matrices, a, b)
    agrees(result, a @ b)
    ours = work("aten.mm.default", self=a, mat2=b)
    assert ours == Work(macs=4 * 3 * 4 * 3)
    assert as_operations(ours) == done
    assert work("aten.bmm.default", self=a[None], mat2=b[None]) == ours
    assert work("aten.linear.default", input=a, weight=W, bias=Z[:, 0].contiguous()) == ours + Work(adds=2 * 9)
    assert work("aten.dot.default", self=Z[0], tensor=W[0]) == Work(macs=4 * 4)
    assert work("aten.vdot.default", self=Z[0], other=W[0]) == Work(macs=4 * 4)
    added = work("aten.addmm.default", self=torch.zeros(3, 3, dtype=a.dtype), mat1=a, mat2=b, alpha=2)
    assert added == ours + Work(adds=2 * 9) + Work(multiplies=4 * 9, adds=2 * 9)


def conv1d(x: list[list[Complex]], w: list[list[list[Complex]]], padding: int) -> list[list[Any]]:
    """The loop nest, taps on padding included."""
    zero = x[0][0].of(0)
    rows = [[zero] * padding + row + [zero] * padding for row in x]
    length = len(rows[0]) - len(w[0][0]) + 1
    results = []
    for filters in w:
        sums: list[Any] = [zero for _ in range(length)]
        for row, taps in zip(rows, filters, strict=True):
            for o, (k, tap) in product(range(length), enumerate(taps)):
                sums[o] = sums[o] + row[o + k] * tap
        results.append(sums)
    return results


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_convolutions(execution: Any) -> None:
    """The definition's four real products for a complex one, where torch makes do with three."""
    x, w = Z[:2].contiguous(), torch.stack([W[:2], W[1:], Z[1:]])[..., :3].contiguous()
    result, done = counted(lambda x, w: conv1d(x, w, 1), x, w)
    agrees(result, F.conv1d(x, w, padding=1))
    conv = torch.nn.Conv1d(2, 3, 3, padding=1, bias=False, dtype=x.dtype)
    for inputs in (x, x[None]):
        profile = costmodel.profile(conv, inputs, execution=execution)
        assert as_operations(profile.pricing.work) == done
        assert profile.macs == 4 * 4 * 3 * 2 * 3
        assert profile.pricing.work.macs_on_padding == 4 * 2 * 3 * 2
        assert [op.call.op for op in profile.pricing.ops if op.work.flops] == ["aten.convolution.default"]


def test_root_mean_square_norm() -> None:
    """Squares, their mean, a reciprocal root, products: each of complex numbers."""

    def run(rows: list[list[Complex]], weight: list[Complex]) -> list[list[Complex]]:
        results = []
        for row in rows:
            scale = 1 / root(joined([z * z for z in row]) / len(row) + 1e-5)
            results.append([z * scale * w for z, w in zip(row, weight, strict=True)])
        return results

    result, done = counted(run, Z, W[0])
    agrees(result, F.rms_norm(Z, [4], W[0], 1e-5))
    assert work("aten.rms_norm.default", input=Z, normalized_shape=[4], weight=W[0], eps=1e-5) == done


def test_recurrent_cells() -> None:
    """One step of an LSTM and of a GRU, unit by unit, multiply-accumulates as they are."""
    torch.manual_seed(0)
    inputs, hidden = 3, 2

    def drawn(*shape: int) -> torch.Tensor:
        return torch.complex(torch.rand(shape), torch.rand(shape)) - (0.5 + 0.5j)

    def sigmoid(z: Complex) -> Complex:
        return 1 / (1 + exponential(-z))

    def half(w: list[list[Complex]], x: list[Complex], b: list[Complex]) -> list[Complex]:
        products = _product_of_matrices(w, [[z] for z in x])
        return [row[0] + bias for row, bias in zip(products, b, strict=True)]

    def lstm(x: Any, h: Any, c: Any, wi: Any, wh: Any, bi: Any, bh: Any) -> Any:
        gates = [p + q for p, q in zip(half(wi, x, bi), half(wh, h, bh), strict=True)]
        i, f, g, o = (gates[k * hidden : (k + 1) * hidden] for k in range(4))
        cells = [sigmoid(f[u]) * c[u] + sigmoid(i[u]) * tanh(g[u]) for u in range(hidden)]
        return [[sigmoid(o[u]) * tanh(cells[u]) for u in range(hidden)], cells]

    def gru(x: Any, h: Any, wi: Any, wh: Any, bi: Any, bh: Any) -> Any:
        a, b = half(wi, x, bi), half(wh, h, bh)
        states = []
        for u in range(hidden):
            r, z = sigmoid(a[u] + b[u]), sigmoid(a[hidden + u] + b[hidden + u])
            n = tanh(a[2 * hidden + u] + r * b[2 * hidden + u])
            states.append((1 - z) * n + z * h[u])
        return states

    x, h, c = drawn(inputs), drawn(hidden), drawn(hidden)
    weights = drawn(4 * hidden, inputs), drawn(4 * hidden, hidden), drawn(4 * hidden), drawn(4 * hidden)
    result, done = counted(lstm, x, h, c, *weights)
    states = torch.lstm_cell(x[None], (h[None], c[None]), *weights)
    agrees(result, torch.cat(states))
    given = dict(zip(("w_ih", "w_hh", "b_ih", "b_hh"), weights, strict=True))
    ours = work("aten.lstm_cell.default", input=x[None], hx=[h[None], c[None]], **given)
    assert whole(ours) == done
    assert ours.macs == 4 * 4 * hidden * (inputs + hidden)
    layer = {"input": x[None, None], "hx": [h[None, None], c[None, None]], "params": list(weights), "has_biases": True}
    layer |= {"num_layers": 1, "dropout": 0.0, "train": False, "bidirectional": False, "batch_first": False}
    assert work("aten.lstm.input", **layer) == ours

    gates = [w[: 3 * hidden].contiguous() for w in weights]
    result, done = counted(gru, x, h, *gates)
    agrees([result], torch.gru_cell(x[None], h[None], *gates))
    given = dict(zip(given, gates, strict=True))
    assert whole(work("aten.gru_cell.default", input=x[None], hx=h[None], **given)) == done


def whole(of: Work) -> Work:
    """The same with multiply-accumulates as a multiplication and an addition each."""
    return Work(
        adds=of.adds + of.macs, multiplies=of.multiplies + of.macs, divides=of.divides, compares=of.compares,
        transcendentals=of.transcendentals,
    )  # fmt: skip


def test_roots_of_factorisations_are_real() -> None:
    """Cholesky's factor of 3 x 3: 4 products and sums, 3 quotients of complex numbers, 3 roots of real ones."""
    a = torch.eye(3, dtype=torch.complex64) * 2 + 0.5
    ours = work("aten.linalg_cholesky_ex.default", self=a)
    products, sums, quotients = 4, 4, 3
    assert ours == Work(
        multiplies=4 * products + 6 * quotients, adds=2 * products + 2 * sums + 3 * quotients, divides=2 * quotients,
        transcendentals=3,
    )  # fmt: skip
    logarithms = work("aten._linalg_slogdet.default", A=a).transcendentals
    assert logarithms == 3 * 2, "of |z|, a root, a logarithm"


def test_fourier_transforms_count_real_operations() -> None:
    """A butterfly is a complex product and two sums, so N / 2 log2 N of them are 5 N log2 N; a scale is real."""
    x = torch.randn(2, 8, dtype=torch.complex64)
    butterfly = Work(multiplies=4, adds=2) + Work(adds=4)
    transform = butterfly.times(8 // 2 * 3 * 2)
    plain = work("aten._fft_c2c.default", self=x, dim=[1], normalization=0, forward=True)
    assert plain == transform
    assert plain.flops == 5 * 8 * 3 * 2
    scaled = work("aten._fft_c2c.default", self=x, dim=[1], normalization=1, forward=True)
    assert scaled == transform + Work(multiplies=2 * 16)
    back = work("aten._fft_c2r.default", self=x[:, :5].contiguous(), dim=[1], normalization=2, last_dim_size=8)
    assert back == butterfly.times(8 // 2 * 3) + Work(multiplies=16)


def test_results_that_are_real_are_priced_as_real() -> None:
    """|z| has 4 bytes an element, and so has what follows."""

    class Power(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = torch.fft.rfft(x)
            return torch.relu(z.abs() + z.angle() + z.real + torch.linalg.vector_norm(z, dim=0))

    for execution in ("meta", "real"):
        p = costmodel.profile(Power(), (4, 16), execution=execution)
        assert p.graph.outputs.dtype == "float32"
        ops = {op.call.op: op.traffic for op in p.pricing.ops}
        absolute, rectified = ops["aten.abs.default"], ops["aten.relu.default"]
        assert (absolute.read_bytes, absolute.written_bytes) == (8 * 36, 4 * 36)
        assert (rectified.read_bytes, rectified.written_bytes) == (4 * 36, 4 * 36)


def test_a_users_rule_counts_as_it_says() -> None:
    """What a user's rule returns for complex tensors is not changed."""

    @costmodel.register_op("mylib::spectral_product")
    def spectral_product(call: OpCall) -> Work:
        return Work(multiplies=call.args["x"].size)

    try:
        call = OpCall("mylib.spectral_product.default", {"x": TensorSpec((5,), "complex64")}, ())
        assert RULES["mylib.spectral_product.default"].work(call) == Work(multiplies=5)
    finally:
        del RULES["mylib.spectral_product.default"]
