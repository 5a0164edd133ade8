"""Complex-valued layers: their definitions as loops over pairs of numbers that count, which compute what torch does."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from torch.nn import functional as F

from costmodel import formulas as f
from costmodel.quantities import Work
from tests.formulas.test_carriers import CALLS, figures, spread
from tests.ops._complex import (
    Complex,
    absolute,
    counted,
    exponential,
    hyperbolic,
    joined,
    root,
    tangent,
    values,
)

Z = torch.complex(torch.linspace(0.2, 0.8, 12), torch.linspace(0.7, -0.6, 12)).view(3, 4)
COMPLEX_VALUED = [name for name in f.CATALOG if "complex_valued" in inspect.signature(f.CATALOG[name]).parameters]


def agrees(result: Any, real: torch.Tensor) -> None:
    """Whether the loops have computed what torch computes."""
    torch.testing.assert_close(values(result).to(real.dtype), real, rtol=1e-4, atol=1e-5)


def as_operations(of: Work) -> Work:
    """Multiply-accumulates as a multiplication and an addition each."""
    return Work(adds=of.adds + of.macs, multiplies=of.multiplies + of.macs)


def dot(zs: list[Complex], ws: list[Complex], start: Complex | None = None) -> Complex:
    """One multiply-accumulate for each pair, onto ``start`` or 0."""
    result = zs[0].of(0) if start is None else start
    for z, w in zip(zs, ws, strict=True):
        result = result + z * w
    return result


def sigmoid(z: Complex) -> Complex:
    """1 / (1 + exp(-z))."""
    return 1 / (1 + exponential(-z))


tanh = hyperbolic(tangent, odd=True)
ACTIVATIONS: dict[str, tuple[Callable[[Complex], Complex], Callable[[torch.Tensor], torch.Tensor]]] = {
    "identity": (lambda z: z, lambda x: x),
    "sigmoid": (sigmoid, torch.sigmoid),
    "tanh": (tanh, torch.tanh),
    "tanhshrink": (lambda z: z - tanh(z), F.tanhshrink),
    "silu": (lambda z: z * sigmoid(z), F.silu),
    "softsign": (lambda z: z / (absolute(z) + 1), F.softsign),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    """An element costs what the definition does to its parts."""
    definition, function = ACTIVATIONS[name]
    result, done = counted(lambda zs: [definition(z) for z in zs], Z.flatten())
    agrees(result, function(Z.flatten()))
    assert f.activation(name=name, shape=12, complex_valued=True).work == done


def test_activations_that_compare_are_refused() -> None:
    """Complex numbers have no order, so the choice is of those that torch has for them."""
    assert {name for name, row in f.ACTIVATIONS.items() if row.complex_work is not None} == set(ACTIVATIONS)
    with pytest.raises(ValueError, match="name='relu' is unknown: choose one of identity, sigmoid, tanh"):
        f.activation(name="relu", shape=3, complex_valued=True)
    with pytest.raises(ValueError, match="complex numbers have no order, and this layer compares"):
        f.rnn(input_size=2, hidden_size=3, length=1, nonlinearity="relu", complex_valued=True)


def test_products_of_matrices() -> None:
    """Each of the output's sums is of complex products; biases are complex sums."""

    def run(x: list[list[Complex]], w: list[list[Complex]], b: list[Complex]) -> list[list[Complex]]:
        return [[dot(row, weights) + bias for weights, bias in zip(w, b, strict=True)] for row in x]

    x, w, b = Z, Z.flip(0)[:2].contiguous(), Z[0, :2]
    result, done = counted(run, x, w, b)
    agrees(result, F.linear(x, w, b))
    cost = f.linear(in_features=4, out_features=2, rows=3, complex_valued=True)
    assert as_operations(cost.work) == done
    assert cost.macs == 4 * 3 * 4 * 2
    assert f.matmul(m=3, n=2, k=4, added=6, complex_valued=True).work == cost.work


def test_bilinear() -> None:
    """x1 A_k, then its product with x2."""

    def run(x1: list[Complex], x2: list[Complex], a: Any, b: list[Complex]) -> list[Complex]:
        results = []
        for matrix, bias in zip(a, b, strict=True):
            inner = [dot(x1, [row[j] for row in matrix]) for j in range(len(x2))]
            results.append(dot(inner, x2) + bias)
        return results

    x1, x2 = Z[0, :3].contiguous(), Z[1, :2].contiguous()
    a, b = torch.stack([Z[:, :2], Z[:, 2:]]), Z[2, :2].contiguous()
    result, done = counted(run, x1, x2, a, b)
    agrees(result, F.bilinear(x1, x2, a, b))
    cost = f.bilinear(in1_features=3, in2_features=2, out_features=2, complex_valued=True)
    assert as_operations(cost.work) == done


def test_convolution() -> None:
    """The loop nest, taps on padding included and said apart."""

    def run(x: list[list[Complex]], w: list[list[list[Complex]]]) -> list[list[Complex]]:
        zero = x[0][0].of(0)
        rows = [[zero, *row, zero] for row in x]
        results = []
        for filters in w:
            sums = [zero for _ in range(4)]
            for row, taps in zip(rows, filters, strict=True):
                sums = [dot(row[o : o + 3], taps, start=total) for o, total in enumerate(sums)]
            results.append(sums)
        return results

    x, w = Z[:2].contiguous(), torch.stack([Z[:2, :3], Z[1:, :3], Z[:2, 1:]])
    result, done = counted(run, x, w)
    agrees(result, F.conv1d(x, w, padding=1))
    at = {"c_in": 2, "c_out": 3, "kernel": 3, "padding": 1, "bias": False}
    cost = f.conv(**at, size=(4,), complex_valued=True)
    assert as_operations(cost.work) == done
    assert cost.work.macs_on_padding == 4 * f.conv(**at, size=(4,)).work.macs_on_padding > 0


def test_root_mean_square_norm() -> None:
    """Squares, their mean, a reciprocal root, products."""

    def run(rows: list[list[Complex]], weight: list[Complex]) -> list[list[Complex]]:
        results = []
        for row in rows:
            scale = 1 / root(joined([z * z for z in row]) / len(row) + 1e-5)
            results.append([z * scale * w for z, w in zip(row, weight, strict=True)])
        return results

    result, done = counted(run, Z, Z[0])
    agrees(result, F.rms_norm(Z, [4], Z[0], 1e-5))
    assert f.rms_norm(normalized_shape=4, rows=3, complex_valued=True).work == done


def test_means_and_elementwise_layers() -> None:
    """A mean ends in one complex quotient; a sum is two additions, a product four multiplications and two additions."""
    result, done = counted(lambda zs: joined(zs) / len(zs), Z.flatten())
    agrees([result], Z.mean()[None])
    assert f.global_avg_pool(channels=1, size=(3, 4), complex_valued=True).work == done
    assert f.add(shape=(5,), complex_valued=True).work == Work(adds=10)
    assert f.multiply(shape=(5,), complex_valued=True).work == Work(multiplies=20, adds=10)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_losses(reduction: str) -> None:
    """Absolute differences are real, and so is their mean; likelihoods of complex numbers are complex."""
    target, variance = Z.flip(0), torch.rand(3, 4) + 0.5

    def reduced(terms: list[Any]) -> Any:
        whole = terms[0]
        for term in terms[1:] if reduction != "none" else []:
            whole = whole + term
        return terms if reduction == "none" else whole / len(terms) if reduction == "mean" else whole

    def distance(zs: Any, ts: Any) -> Any:
        return reduced(
            [absolute(z - t) for row, other in zip(zs, ts, strict=True) for z, t in zip(row, other, strict=True)]
        )

    result, done = counted(distance, Z, target)
    agrees([result] if reduction != "none" else result, F.l1_loss(Z, target, reduction=reduction).flatten())
    assert f.elementwise_loss(name="l1", shape=(3, 4), reduction=reduction, complex_valued=True).work == done

    def likelihood(zs: Any, ts: Any) -> Any:
        terms = []
        for row, other, variances in zip(zs, ts, variance.tolist(), strict=True):
            for z, t, v in zip(row, other, variances, strict=True):
                d = z - t
                terms.append((d * d / v + math.log(v)) * 0.5)
        return reduced(terms)

    result, done = counted(likelihood, Z, target)
    real = F.gaussian_nll_loss(Z, target, variance, reduction=reduction)
    agrees([result] if reduction != "none" else result, real.flatten())
    checked = Work(compares=2 * 12, transcendentals=12)  # v < 0, max(v, eps) and log v
    assert f.gaussian_nll_loss(shape=(3, 4), reduction=reduction, complex_valued=True).work == done + checked
    with pytest.raises(ValueError, match="name='mse' has no complex-valued form: that is one of l1"):
        f.elementwise_loss(name="mse", shape=3, complex_valued=True)


def test_a_plain_recurrent_layer() -> None:
    """Two products and their biases, a sum and a hyperbolic tangent, step by step."""

    def run(steps: Any, h: Any, wi: Any, wh: Any, bi: Any, bh: Any) -> Any:
        for x in steps:
            halves = [
                (dot(row, x) + b, dot(col, h) + c) for row, col, b, c in zip(wi, wh, bi, bh, strict=True)
            ]  # fmt: skip
            h = [tanh(p + q) for p, q in halves]
        return h

    x, h = Z, Z[0, :2].contiguous()
    weights = Z[:2].contiguous(), Z[:2, :2].contiguous(), Z[1, :2].contiguous(), Z[2, :2].contiguous()
    result, done = counted(run, x, h, *weights)
    _, last = torch.rnn_tanh(x[:, None], h[None, None], weights, True, 1, 0.0, False, False, False)
    agrees(result, last[0, 0])
    cost = f.rnn(input_size=4, hidden_size=2, length=3, complex_valued=True)
    of = cost.work
    assert Work(
        adds=of.adds + of.macs, multiplies=of.multiplies + of.macs, divides=of.divides,
        transcendentals=of.transcendentals,
    ) == done  # fmt: skip


def test_every_formula_of_complex_numbers_is_known() -> None:
    """Those of layers that torch runs on complex numbers, and no others."""
    assert set(COMPLEX_VALUED) == {
        "conv", "depthwise_conv", "pointwise_conv", "grouped_conv", "conv_transpose", "linear", "bilinear", "matmul",
        "rms_norm", "adaptive_avg_pool", "global_avg_pool", "activation", "lstm", "gru", "rnn", "add", "multiply",
        "lstm_cell", "gru_cell", "rnn_cell", "embedding",
        "elementwise_loss", "gaussian_nll_loss",
    }  # fmt: skip


def _call(name: str) -> dict[str, Any]:
    taken = {"activation": {"name": "silu"}, "elementwise_loss": {"name": "l1", "reduction": "mean"}}
    return CALLS[name] | taken.get(name, {})


@pytest.mark.parametrize("name", COMPLEX_VALUED)
def test_elements_stay_and_macs_are_four(name: str) -> None:
    """Parameters, traffic and shapes count complex numbers; each of their multiply-accumulates is four."""
    real, cost = f.CATALOG[name](**_call(name)), f.CATALOG[name](**_call(name), complex_valued=True)
    assert (cost.output_shape, cost.params, cost.read, cost.written) == (
        real.output_shape, real.params, real.read, real.written,
    )  # fmt: skip
    assert cost.macs == 4 * real.macs
    assert cost.work.macs_on_padding == 4 * real.work.macs_on_padding
    assert cost.flops > real.flops


@pytest.mark.parametrize("name", COMPLEX_VALUED)
def test_arrays_and_symbols(name: str) -> None:
    """A sweep is its elements, and a symbol any number."""
    free = {key: value for key, value in _call(name).items() if key != "output_size"}
    kept = {key: value for key, value in _call(name).items() if key == "output_size"}
    alone = figures(f.CATALOG[name](**_call(name), complex_valued=True))
    array = {key: spread(value, lambda v: np.array([v, v])) for key, value in free.items()}
    for whole, one in zip(figures(f.CATALOG[name](**array, **kept, complex_valued=True)), alone, strict=True):
        assert np.all(np.asarray(whole) == one)
    symbolic = {key: spread(value, lambda v: sympy.Symbol(f"s{v}", positive=True)) for key, value in free.items()}
    numbers = {sympy.Symbol(f"s{v}", positive=True): v for v in range(20)}
    for whole, one in zip(figures(f.CATALOG[name](**symbolic, **kept, complex_valued=True)), alone, strict=True):
        assert sympy.sympify(whole).subs(numbers) == one
