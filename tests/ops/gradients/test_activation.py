"""Gradients of activations: their definitions as loops over numbers that count, whose results are torch's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from costmodel.quantities import Work
from tests.ops._asking import work
from tests.ops._counting import Number, counted, exp, log, total, values
from tests.ops.gradients._tensors import G, P, X


def sigmoid(x: Number) -> Number:
    """1 / (1 + exp(-x))."""
    return 1 / (exp(-x) + 1)


def tanh(x: Number) -> Number:
    """The hyperbolic tangent."""
    return x.of(math.tanh)


def between(x: Number, low: float, high: float) -> bool:
    """Two comparisons, whatever the first says."""
    above, below = x > low, x < high
    return above and below


def _gelu(g: Number, x: Number) -> Number:
    cdf = ((x * (1 / math.sqrt(2))).of(math.erf) + 1) * 0.5
    pdf = exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
    return g * (cdf + x * pdf)


def _gelu_tanh(g: Number, x: Number) -> Number:
    c, k = 0.044715, math.sqrt(2 / math.pi)
    square = x * x
    t = tanh((x + square * x * c) * k)
    return g * ((t + 1) * 0.5 + x * 0.5 * (1 - t * t) * (square * (3 * c) + 1) * k)


def _mish(g: Number, x: Number) -> Number:
    t, s = tanh(log(exp(x) + 1)), sigmoid(x)
    return g * (t + x * s * (1 - t * t))


def _softplus(g: Number, x: Number) -> Number:
    scaled = x * 2
    z = exp(scaled)
    slope = g * z / (z + 1)
    return g if scaled > 3 else slope


def _log_sigmoid(g: Number, x: Number) -> Number:
    z = Number(math.exp(-abs(x.value)), x.tally)  # from the forward
    negative = x < 0
    right = z / (z + 1)
    left = 1 - right
    return g * (left if negative else right)


def _logit(g: Number, p: Number) -> Number:
    slope = g / (p * (1 - p))
    return slope if between(p, 0.1, 0.9) else Number(0, p.tally)


def _elu(alpha: float, scale: float, input_scale: float) -> Callable[[Number, Number], Number]:
    def slope(g: Number, x: Number) -> Number:
        inner = exp(x if input_scale == 1 else x * input_scale)
        left = g * (inner * alpha)
        if input_scale != 1:
            left = left * input_scale
        right = g
        if scale != 1:
            left, right = left * scale, Number(g.value * scale, g.tally)
        return right if x > 0 else left

    return slope


def _elu_of_result(g: Number, y: Number) -> Number:
    left = g * (y + 0.5)
    return g if y > 0 else left


def _chosen(condition: bool, g: Number) -> Number:
    return g if condition else Number(0, g.tally)


def _leaky(g: Number, x: Number) -> Number:
    left = g * 0.1
    return g if x > 0 else left


def _hardswish(g: Number, x: Number) -> Number:
    middle = g * (x / 3 + 0.5)
    low, high = x < -3, x > 3
    return Number(0, g.tally) if low else g if high else middle


CASES: dict[str, tuple[Callable[[Number, Number], Number], torch.Tensor, tuple[Any, ...]]] = {
    "threshold": (lambda g, x: _chosen(x > 0.5, g), X, (0.5,)),
    "hardtanh": (lambda g, x: _chosen(between(x, -1, 1), g), X, (-1, 1)),
    "leaky_relu": (_leaky, X, (0.1, False)),
    "sigmoid": (lambda g, y: g * (1 - y) * y, P, ()),
    "tanh": (lambda g, y: g * (1 - y * y), P, ()),
    "silu": (lambda g, x: (lambda s: g * s * (x * (1 - s) + 1))(sigmoid(x)), X, ()),
    "mish": (_mish, X, ()),
    "gelu": (_gelu, X, ()),
    "hardsigmoid": (lambda g, x: _chosen(between(x, -3, 3), g / 6), X, ()),
    "hardswish": (_hardswish, X, ()),
    "softplus": (_softplus, X, (2, 3)),
    "hardshrink": (lambda g, x: _chosen(not between(x, -0.5, 0.5), g), X, (0.5,)),
    "softshrink": (lambda g, x: _chosen(not between(x, -0.5, 0.5), g), X, (0.5,)),
    "logit": (_logit, P, (0.1,)),
    "log_sigmoid": (_log_sigmoid, X, (torch.exp(-X.abs()),)),
}


@pytest.mark.parametrize("name", CASES)
def test_activations(name: str) -> None:
    """The incoming gradient times the slope at each position, as torch's kernel has it."""
    slope, x, further = CASES[name]
    op = getattr(torch.ops.aten, f"{name}_backward").default
    result, done = counted(lambda gs, xs: [slope(g, v) for g, v in zip(gs, xs, strict=True)], G.flatten(), x.flatten())
    torch.testing.assert_close(values(result).float(), op(G, x, *further).flatten())
    names = [a.name for a in op._schema.arguments]
    assert done == work(f"aten.{name}_backward.default", **dict(zip(names, (G, x, *further), strict=False)))


def test_gelu_by_tanh() -> None:
    """The approximation has a slope of its own."""
    result, done = counted(
        lambda gs, xs: [_gelu_tanh(g, x) for g, x in zip(gs, xs, strict=True)], G.flatten(), X.flatten()
    )
    expected = torch.ops.aten.gelu_backward(G, X, approximate="tanh")
    torch.testing.assert_close(values(result).float(), expected.flatten())
    assert done == work("aten.gelu_backward.default", grad_output=G, self=X, approximate="tanh")


@pytest.mark.parametrize("scales", [(0.5, 1, 1), (1.6, 1.05, 1), (0.5, 1, 2.0)])
def test_elu_of_every_kind(scales: tuple[float, float, float]) -> None:
    """ELU, SELU (the result is scaled) and CELU (the input is)."""
    slope = _elu(*scales)
    result, done = counted(lambda gs, xs: [slope(g, x) for g, x in zip(gs, xs, strict=True)], G.flatten(), X.flatten())
    expected = torch.ops.aten.elu_backward(G, *scales, False, X)
    torch.testing.assert_close(values(result).float(), expected.flatten())
    names = ("alpha", "scale", "input_scale")
    arguments = {"grad_output": G, **dict(zip(names, scales, strict=True)), "is_result": False, "self_or_result": X}
    assert done == work("aten.elu_backward.default", **arguments)


def test_elu_in_place() -> None:
    """What is left of the input is the result."""
    y = F.elu(X, 0.5)
    result, done = counted(
        lambda gs, ys: [_elu_of_result(g, v) for g, v in zip(gs, ys, strict=True)], G.flatten(), y.flatten()
    )
    arguments = {"grad_output": G, "alpha": 0.5, "scale": 1, "input_scale": 1, "is_result": True, "self_or_result": y}
    torch.testing.assert_close(values(result).float(), torch.ops.aten.elu_backward(*arguments.values()).flatten())
    assert done == work("aten.elu_backward.default", **arguments)


def test_activations_with_slopes_of_their_own() -> None:
    """PReLU has a gradient for each weight; RReLU's slopes were drawn; GLU has one for both halves."""
    w = torch.rand(1, 6, 1)

    def prelu(gs: Any, xs: Any) -> Any:
        found = []
        for g, x in zip(gs, xs, strict=True):
            right = x > 0
            left, of_weight = g * 0.3, x * g
            found.append((g if right else left, Number(0, g.tally) if right else of_weight))
        return found

    _, done = counted(prelu, G.flatten(), X.flatten())
    assert done == work("aten._prelu_kernel_backward.default", grad_output=G, self=X, weight=w)
    _, done = counted(lambda gs, ns: [g * n for g, n in zip(gs, ns, strict=True)], G.flatten(), P.flatten())
    arguments: dict[str, Any] = {"grad_output": G, "self": X, "noise": P, "lower": 0.1, "upper": 0.3}
    name = "aten.rrelu_with_noise_backward.default"
    assert done == work(name, **arguments, training=True, self_is_result=False)
    _, done = counted(lambda gs, xs: [_leaky(g, x) for g, x in zip(gs, xs, strict=True)], G.flatten(), X.flatten())
    assert done == work(name, **arguments, training=False, self_is_result=False)

    def glu(gs: Any, firsts: Any, seconds: Any) -> Any:
        found = []
        for g, a, b in zip(gs, firsts, seconds, strict=True):
            s = sigmoid(b)
            of_first = g * s
            found.append((of_first, of_first * a * (1 - s)))
        return found

    g = G[:, :3]
    result, done = counted(glu, *(t.flatten() for t in (g, X[:, :3], X[:, 3:])))
    expected = torch.ops.aten.glu_backward(g, X, 1)
    found = values(result).float().T.reshape(2, 2, 3, 4)
    torch.testing.assert_close(torch.cat([found[0], found[1]], 1), expected)
    assert done == work("aten.glu_backward.default", grad_output=g, self=X, dim=1)


def test_log_softmax() -> None:
    """g - exp(y) sum(g) along each row."""
    y = X.log_softmax(1)

    def run(gs: Any, ys: Any) -> Any:
        sum_ = total(gs)
        return [g - exp(v) * sum_ for g, v in zip(gs, ys, strict=True)]

    rows = [counted(run, G[i, :, j], y[i, :, j]) for i in range(2) for j in range(4)]
    arguments = {"grad_output": G, "output": y, "dim": 1, "input_dtype": torch.float32}
    expected = torch.ops.aten._log_softmax_backward_data(G, y, 1, torch.float32)
    torch.testing.assert_close(values(rows[1][0]).float(), expected[0, :, 1])
    assert sum((done for _, done in rows), Work()) == work("aten._log_softmax_backward_data.default", **arguments)


# Convolutions ----------------------------------------------------------------------------------------------------
