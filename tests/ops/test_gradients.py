"""The arithmetic of gradients: their definitions as loops over numbers that count, whose results are torch's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from itertools import product
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from costmodel.graph import OpCall, TensorSpec
from costmodel.ops import RULES
from costmodel.quantities import Work
from tests.live_memory import allocations, peak
from tests.ops._asking import traffic, work
from tests.ops._binding import RealCall
from tests.ops._counting import Number, counted, exp, log, sqrt, total, value_of, values

RANDOM = torch.Generator().manual_seed(0)
X = torch.randn(2, 6, 4, generator=RANDOM)
G = torch.randn(2, 6, 4, generator=RANDOM)
P = torch.rand(2, 6, 4, generator=RANDOM)


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


def convolved(x: torch.Tensor, w: torch.Tensor, g: torch.Tensor, stride: int, padding: int, groups: int) -> Any:
    """Both gradients of a convolution, by loops over all that its output was made of, and the products on each."""
    of_input, of_weight = torch.zeros_like(x), torch.zeros_like(w)
    products = on_padding = 0
    per_group = w.shape[0] // groups
    for n, o, i, j in product(*map(range, g.shape)):
        for c, k, m in product(*map(range, w.shape[1:])):
            row, column = i * stride + k - padding, j * stride + m - padding
            products += 1
            if not (0 <= row < x.shape[2] and 0 <= column < x.shape[3]):
                on_padding += 1
                continue
            channel = o // per_group * w.shape[1] + c
            of_input[n, channel, row, column] += g[n, o, i, j] * w[o, c, k, m]
            of_weight[o, c, k, m] += g[n, o, i, j] * x[n, channel, row, column]
    return of_input, of_weight, products, on_padding


@pytest.mark.parametrize(("groups", "stride", "padding"), [(1, 1, 0), (2, 2, 1), (4, 1, 1)])
def test_convolutions(groups: int, stride: int, padding: int) -> None:
    """The input's gradient and the weight's are as many products as the forward, also with groups."""
    x, w = torch.randn(2, 4, 6, 5), torch.randn(4, 4 // groups, 3, 3)
    g = torch.randn_like(F.conv2d(x, w, None, stride, padding, 1, groups))
    of_input, of_weight, products, on_padding = convolved(x, w, g, stride, padding, groups)
    arguments: dict[str, Any] = {
        "grad_output": g, "input": x, "weight": w, "bias_sizes": [4], "stride": [stride] * 2, "padding": [padding] * 2,
        "dilation": [1, 1], "transposed": False, "output_padding": [0, 0], "groups": groups,
    }  # fmt: skip
    expected = torch.ops.aten.convolution_backward(*arguments.values(), [True, True, True])
    torch.testing.assert_close(of_input, expected[0])
    torch.testing.assert_close(of_weight, expected[1])
    name = "aten.convolution_backward.default"
    _, of_bias = counted(lambda gs: [total(gs[c]) for c in range(4)], g.transpose(0, 1).flatten(1))
    for mask in product([True, False], repeat=3):
        if not any(mask) or mask[1:] == (False, True):
            continue  # for a bias alone, the CPU returns the weight's gradient too
        wanted = mask[0] + mask[1]
        expected_work = Work(macs=wanted * products, macs_on_padding=wanted * on_padding)
        assert work(name, **arguments, output_mask=list(mask)) == expected_work + (of_bias if mask[2] else Work())
    moved = traffic(name, **arguments, output_mask=[True, False, False])
    assert (moved.read, moved.written) == (g.numel() + w.numel(), x.numel())


def test_a_bias_alone() -> None:
    """Only sums are counted; the weight's gradient, which the CPU's kernel makes and drops, is a temporary."""
    x, w, g = torch.randn(2, 4, 16, 15), torch.randn(4, 4, 3, 3), torch.randn(2, 4, 14, 13)
    arguments: dict[str, Any] = {
        "grad_output": g, "input": x, "weight": w, "bias_sizes": [4], "stride": [1, 1], "padding": [0, 0],
        "dilation": [1, 1], "transposed": False, "output_padding": [0, 0], "groups": 1,
        "output_mask": [False, False, True],
    }  # fmt: skip
    name = "aten.convolution_backward.default"
    call = RealCall(torch.ops.aten.convolution_backward.default, arguments)
    args = call.arguments()
    bias = TensorSpec((4,))
    assert RULES[name].work(OpCall(name, args, (bias,))) == Work(adds=2 * 4 * 14 * 13 - 4)
    held = peak(allocations(call.run))
    assert held == sum(t.nbytes for t in (bias, *RULES[name].temporaries(args)))


def test_a_depthwise_convolution() -> None:
    """C = 512, k = 3, 14 x 14: 512 x 9 x 196 = 903,168 products forward, and as many for each gradient."""
    x, w = torch.empty(1, 512, 14, 14), torch.empty(512, 1, 3, 3)
    arguments: dict[str, Any] = {
        "grad_output": x, "input": x, "weight": w, "bias_sizes": None, "stride": [1, 1], "padding": [1, 1],
        "dilation": [1, 1], "transposed": False, "output_padding": [0, 0], "groups": 512,
    }  # fmt: skip
    name = "aten.convolution_backward.default"
    assert work(name, **arguments, output_mask=[True, True, False]).macs == 1_806_336
    assert work(name, **arguments, output_mask=[False, True, False]).macs == 903_168


def test_a_transposed_convolution() -> None:
    """Its gradients are counted as its forward is: every element of the input over one filter."""
    x, w = torch.randn(2, 4, 3, 3), torch.randn(4, 6, 2, 2)
    g = torch.randn_like(F.conv_transpose2d(x, w))
    arguments: dict[str, Any] = {
        "grad_output": g, "input": x, "weight": w, "bias_sizes": None, "stride": [1, 1], "padding": [0, 0],
        "dilation": [1, 1], "transposed": True, "output_padding": [0, 0], "groups": 1,
    }  # fmt: skip
    done = work("aten.convolution_backward.default", **arguments, output_mask=[True, True, False])
    assert done == Work(macs=2 * (2 * 4 * 9) * (6 * 4))


# Normalisations --------------------------------------------------------------------------------------------------


def mean_of(numbers: list[Number]) -> Number:
    """Their sum over their number."""
    return total(numbers) / len(numbers)


def normalised(xs: list[Number], gs: list[Number], mean: float, inverse: float, scale: float | None) -> Any:
    """The gradient of one group, and what the sums of it are made of."""
    ys = [(x - mean) * inverse for x in xs]
    of_scale = [g * y for g, y in zip(gs, ys, strict=True)]
    sum_, product_ = total(gs), total(of_scale)
    factor = Number(inverse, xs[0].tally)
    if scale is not None:
        factor = factor * scale
    a, b = sum_ / len(xs), product_ / len(xs)
    return [(g - a - y * b) * factor for g, y in zip(gs, ys, strict=True)], product_, sum_


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_in_training(affine: bool) -> None:
    """The sums over a channel are the gradients of its weight and bias, and all that the input's needs."""
    x, g, w = torch.randn(3, 2, 4), torch.randn(3, 2, 4), torch.rand(2) if affine else None
    _, mean, inverse = torch.native_batch_norm(x, w, w, None, None, True, 0.1, 1e-5)
    name, done = "aten.native_batch_norm_backward.default", Work()
    arguments: dict[str, Any] = {
        "grad_out": g, "input": x, "weight": w, "running_mean": None, "running_var": None, "save_mean": mean,
        "save_invstd": inverse, "train": True, "eps": 1e-5,
    }  # fmt: skip
    mask = [True, affine, affine]
    expected = torch.ops.aten.native_batch_norm_backward(*arguments.values(), mask)
    for c in range(2):
        scale = None if w is None else float(w[c])
        run = lambda xs, gs, c=c, scale=scale: normalised(xs, gs, float(mean[c]), float(inverse[c]), scale)  # noqa: E731
        (of_input, of_weight, of_bias), channel = counted(run, x[:, c].flatten(), g[:, c].flatten())
        torch.testing.assert_close(values(of_input).float(), expected[0][:, c].flatten(), atol=1e-5, rtol=1e-4)
        if affine:
            assert math.isclose(value_of(of_weight), float(expected[1][c]), abs_tol=1e-4)
            assert math.isclose(value_of(of_bias), float(expected[2][c]), abs_tol=1e-4)
        done += channel
    assert work(name, **arguments, output_mask=mask) == done
    if affine:
        # Per channel of 12: (x - m) r, products with g and their sum, and the sum of g.
        assert work(name, **arguments, output_mask=[False, True, True]) == Work(multiplies=24, adds=12 + 22).times(2)
        assert work(name, **arguments, output_mask=[False, False, True]) == Work(adds=11).times(2)


def test_batch_norm_in_evaluation() -> None:
    """The statistics are constants: g times w r, and r = 1 / sqrt(variance + eps)."""
    x, g, w, m, v = torch.randn(3, 2, 4), torch.randn(3, 2, 4), torch.rand(2), torch.rand(2), torch.rand(2)
    arguments: dict[str, Any] = {
        "grad_out": g, "input": x, "weight": w, "running_mean": m, "running_var": v, "save_mean": m, "save_invstd": v,
        "train": False, "eps": 1e-5,
    }  # fmt: skip

    def run(xs: Any, gs: Any, w: Number, m: Number, v: Number) -> Any:
        inverse = (v + 1e-5).of(lambda n: n**-0.5)
        factor = inverse * w
        ys = [(x - m) * inverse for x in xs]
        return [g * factor for g in gs], total([g * y for g, y in zip(gs, ys, strict=True)]), total(gs)

    found = [counted(run, x[:, c].flatten(), g[:, c].flatten(), w[c], m[c], v[c]) for c in range(2)]
    expected = torch.ops.aten.native_batch_norm_backward(*arguments.values(), [True, True, True])
    torch.testing.assert_close(values(found[1][0][0]).float(), expected[0][:, 1].flatten())
    assert math.isclose(value_of(found[1][0][1]), float(expected[1][1]), rel_tol=1e-4)
    assert work("aten.native_batch_norm_backward.default", **arguments, output_mask=[True, True, True]) == sum(
        (done for _, done in found), Work()
    )


def rows_normalised(
    xs: list[Any], gs: list[Any], ws: list[Number], mean: torch.Tensor, inverse: torch.Tensor
) -> tuple[Any, Any, Any]:
    """Of rows that share weights: the gradients of the input, the weights and the biases."""
    found, products = [], []
    for i, (x, g) in enumerate(zip(xs, gs, strict=True)):
        y = [(v - float(mean[i])) * float(inverse[i]) for v in x]
        d = [a * w for a, w in zip(g, ws, strict=True)]
        a, b = mean_of(d), mean_of([p * q for p, q in zip(d, y, strict=True)])
        found.append([(p - a - q * b) * float(inverse[i]) for p, q in zip(d, y, strict=True)])
        products.append([p * q for p, q in zip(g, y, strict=True)])
    return (
        found,
        [total(list(column)) for column in zip(*products, strict=True)],
        [total(list(column)) for column in zip(*gs, strict=True)],
    )


def test_layer_norm() -> None:
    """Each row for itself; the weight's and the bias's gradients are sums over rows."""
    x, g, w = torch.randn(3, 5), torch.randn(3, 5), torch.rand(5)
    _, mean, inverse = torch.native_layer_norm(x, [5], w, w, 1e-5)
    result, done = counted(lambda xs, gs, ws: rows_normalised(xs, gs, ws, mean, inverse), x, g, w)
    arguments: dict[str, Any] = {
        "grad_out": g, "input": x, "normalized_shape": [5], "mean": mean, "rstd": inverse, "weight": w, "bias": w,
    }  # fmt: skip
    expected = torch.ops.aten.native_layer_norm_backward(*arguments.values(), [True, True, True])
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(values(one).float(), other, atol=1e-5, rtol=1e-4)
    name = "aten.native_layer_norm_backward.default"
    assert work(name, **arguments, output_mask=[True, True, True]) == done
    # Rows of 5: (x - m) r, times g, and sums over 3 rows; the bias's alone are sums.
    assert work(name, **arguments, output_mask=[False, True, False]) == Work(multiplies=30, adds=15 + 10)
    assert work(name, **arguments, output_mask=[False, False, True]) == Work(adds=10)


def test_group_norm() -> None:
    """A group is a row whose elements have their channel's weight."""
    x, g, w = torch.randn(2, 4, 3), torch.randn(2, 4, 3), torch.rand(4)
    _, mean, inverse = torch.native_group_norm(x, w, w, 2, 4, 3, 2, 1e-5)
    arguments: dict[str, Any] = {
        "grad_out": g, "input": x, "mean": mean, "rstd": inverse, "weight": w, "N": 2, "C": 4, "HxW": 3, "group": 2,
    }  # fmt: skip

    def run(xs: Any, gs: Any, ws: Any) -> Any:
        found, of_weight, of_bias = [], [], []
        for n, group in product(range(2), range(2)):
            flat = [(c, s) for c in (2 * group, 2 * group + 1) for s in range(3)]
            m, r = float(mean[n, group]), float(inverse[n, group])
            y = [(xs[n][c][s] - m) * r for c, s in flat]
            d = [gs[n][c][s] * ws[c] for c, s in flat]
            a, b = mean_of(d), mean_of([p * q for p, q in zip(d, y, strict=True)])
            found.append([(p - a - q * b) * r for p, q in zip(d, y, strict=True)])
            of_weight.append([gs[n][c][s] * q for (c, s), q in zip(flat, y, strict=True)])
        for c in range(4):
            group, first = c // 2, c % 2 * 3
            of_weight.append(total([p for n in range(2) for p in of_weight[2 * n + group][first : first + 3]]))
            of_bias.append(total([v for n in range(2) for v in gs[n][c]]))
        return found, of_weight[4:], of_bias

    result, done = counted(run, x, g, w)
    expected = torch.ops.aten.native_group_norm_backward(*arguments.values(), [True, True, True])
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(values(one).float().view_as(other), other, atol=1e-5, rtol=1e-4)
    assert work("aten.native_group_norm_backward.default", **arguments, output_mask=[True, True, True]) == done


def test_weight_norm() -> None:
    """Of each slice: dg = s / norm and dv = g / norm (d - v s / norm^2), s = sum(d v)."""
    d, v, g = torch.randn(3, 5), torch.randn(3, 5), torch.rand(3, 1)
    norms = v.norm(dim=1, keepdim=True)

    def run(ds: Any, vs: Any, g: Any, norm: Any) -> Any:
        s = total([a * b for a, b in zip(ds, vs, strict=True)])
        of_g, scale = s / norm, g / norm
        ratio = s / (norm * norm)
        return [(a - b * ratio) * scale for a, b in zip(ds, vs, strict=True)], of_g

    found = [counted(run, d[i], v[i], g[i, 0], norms[i, 0]) for i in range(3)]
    expected = torch.ops.aten._weight_norm_interface_backward(d, v, g, norms, 0)
    torch.testing.assert_close(values(found[0][0][0]).float(), expected[0][0])
    assert math.isclose(value_of(found[0][0][1]), float(expected[1][0, 0]), rel_tol=1e-4)
    arguments = {"grad_w": d, "saved_v": v, "saved_g": g, "saved_norms": norms, "dim": 0}
    name = "aten._weight_norm_interface_backward.default"
    assert work(name, **arguments) == sum((done for _, done in found), Work())


# Pooling, resampling and padding ---------------------------------------------------------------------------------


def additions(forward: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> int:
    """Pairs of an output and an input that it depends on: each is an addition in the gradient."""
    jacobian = torch.autograd.functional.jacobian(forward, x.double())
    return int((jacobian != 0).sum())


@pytest.mark.parametrize("padding", [0, 1])
def test_average_pooling(padding: int) -> None:
    """Each gradient is divided once, and added to every element of its window that is no padding."""
    x = torch.rand(1, 2, 5, 6)
    g = F.avg_pool2d(x, 3, 2, padding)
    done = work(
        "aten.avg_pool2d_backward.default", grad_output=g, self=x, kernel_size=[3, 3], stride=[2, 2],
        padding=[padding] * 2, ceil_mode=False, count_include_pad=True, divisor_override=None,
    )  # fmt: skip
    assert done == Work(divides=g.numel(), adds=additions(lambda t: F.avg_pool2d(t, 3, 2, padding), x))
    volume = torch.rand(1, 1, 4, 4, 4)
    g = F.avg_pool3d(volume, 2)
    done = work(
        "aten.avg_pool3d_backward.default", grad_output=g, self=volume, kernel_size=[2] * 3, stride=[2] * 3,
        padding=[0] * 3, ceil_mode=False, count_include_pad=True, divisor_override=None,
    )  # fmt: skip
    assert done == Work(divides=8, adds=64)


def test_adaptive_average_pooling() -> None:
    """Windows of adaptive pooling overlap."""
    x = torch.rand(1, 2, 5, 7)
    g = F.adaptive_avg_pool2d(x, (3, 4))
    expected = Work(divides=24, adds=additions(lambda t: F.adaptive_avg_pool2d(t, (3, 4)), x))
    assert work("aten._adaptive_avg_pool2d_backward.default", grad_output=g, self=x) == expected
    volume = torch.rand(1, 1, 4, 4, 4)
    g = F.adaptive_avg_pool3d(volume, 2)
    done = work("aten._adaptive_avg_pool3d_backward.default", grad_output=g, self=volume)
    assert done == Work(divides=8, adds=64)


@pytest.mark.parametrize("axes", [2, 3])
def test_maximum_pooling(axes: int) -> None:
    """Each gradient is added where the maximum was, of every kind of window; the input's values are not read."""
    x = torch.rand(1, 2, *(4,) * axes)
    two, one, no = [2] * axes, [1] * axes, [0] * axes
    y, where = getattr(F, f"max_pool{axes}d")(x, 2, return_indices=True)
    plain = {"grad_output": y, "self": x, "kernel_size": two, "stride": two, "padding": no, "dilation": one,
             "ceil_mode": False, "indices": where}  # fmt: skip
    calls: dict[str, dict[str, Any]] = {
        f"max_pool{axes}d_with_indices": plain,
        f"adaptive_max_pool{axes}d": {"grad_output": y, "self": x, "indices": where},
        f"fractional_max_pool{axes}d": {
            "grad_output": y, "self": x, "kernel_size": two, "output_size": two, "indices": where
        },
    }  # fmt: skip
    for name, arguments in calls.items():
        assert work(f"aten.{name}_backward.default", **arguments) == Work(adds=2 * 2**axes)
        moved = traffic(f"aten.{name}_backward.default", **arguments)
        assert (moved.read, moved.written) == (2 * 2 * 2**axes, 2 * 4**axes)


_UPSAMPLING: dict[str, tuple[int, str, dict[str, Any]]] = {
    "upsample_nearest1d": (1, "nearest", {}), "upsample_nearest2d": (2, "nearest", {}),
    "upsample_nearest3d": (3, "nearest", {}), "_upsample_nearest_exact1d": (1, "nearest-exact", {}),
    "_upsample_nearest_exact2d": (2, "nearest-exact", {}), "_upsample_nearest_exact3d": (3, "nearest-exact", {}),
    "upsample_linear1d": (1, "linear", {"align_corners": True}),
    "upsample_bilinear2d": (2, "bilinear", {"align_corners": True}),
    "upsample_trilinear3d": (3, "trilinear", {"align_corners": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", _UPSAMPLING)
def test_upsampling(name: str) -> None:
    """Each gradient is given to 2^d neighbours with their weights, or to the nearest as it is."""
    axes, mode, corners = _UPSAMPLING[name]
    x = torch.rand(1, 2, *(3,) * axes)
    g = F.interpolate(x, size=[5] * axes, mode=mode, **corners)
    taps = 1 if "nearest" in mode else 2**axes
    arguments = {"grad_output": g, "output_size": [5] * axes, "input_size": list(x.shape), **corners}
    expected = Work(adds=taps, multiplies=taps if taps > 1 else 0).times(g.numel())
    assert work(f"aten.{name}_backward.default", **arguments) == expected


def test_cubic_and_antialiased_resizing() -> None:
    """Sixteen neighbours; shrunk to a third, a window reaches three pixels to each side of its centre, or six."""
    x = torch.rand(1, 1, 4, 4)
    g = F.interpolate(x, size=[8, 8], mode="bicubic")
    arguments: dict[str, Any] = {"grad_output": g, "output_size": [8, 8], "input_size": [1, 1, 4, 4]}
    assert work("aten.upsample_bicubic2d_backward.default", **arguments, align_corners=False) == Work(
        adds=16 * 64, multiplies=16 * 64
    )
    x = torch.rand(1, 1, 11, 11)
    for mode in ("bilinear", "bicubic"):
        resize = lambda t, mode=mode: F.interpolate(t, size=[4, 4], mode=mode, antialias=True)  # noqa: E731
        taps = additions(resize, x)
        done = work(
            f"aten._upsample_{mode}2d_aa_backward.default", grad_output=resize(x), output_size=[4, 4],
            input_size=[1, 1, 11, 11], align_corners=False,
        )  # fmt: skip
        assert done == Work(adds=taps, multiplies=taps)


@pytest.mark.parametrize("mode", ["reflection", "replication"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_padding(mode: str, axes: int) -> None:
    """Each gradient is added to the element that it was copied from."""
    x, sides = torch.rand(1, 2, *(3,) * axes), [1] * (2 * axes)
    g = F.pad(x, sides, "reflect" if mode == "reflection" else "replicate")
    name = f"aten.{mode}_pad{axes}d_backward.default"
    assert work(name, grad_output=g, self=x, padding=sides) == Work(adds=2 * 5**axes)
    assert traffic(name, grad_output=g, self=x, padding=sides).read == g.numel()


# Losses ----------------------------------------------------------------------------------------------------------

_NONE, _MEAN, _SUM = 0, 1, 2


def _bce(g: Number, x: Number, t: Number) -> Number:
    below = x * (1 - x)
    return g * (x - t) / (below if below > 1e-12 else Number(1e-12, x.tally))


def _smooth_l1(g: Number, x: Number, t: Number) -> Number:
    d = x - t
    low, high = d < -0.5, d > 0.5
    middle = g * d / 0.5
    return -g if low else g if high else middle


def _huber(g: Number, x: Number, t: Number) -> Number:
    d = x - t
    low, high = d < -0.5, d > 0.5
    clamped = Number(-0.5, x.tally) if low else Number(0.5, x.tally) if high else d
    return g * clamped


def _soft_margin(g: Number, x: Number, t: Number) -> Number:
    z = exp(x * -t)
    return -t * z * g / (z + 1)


LOSSES: dict[str, tuple[Callable[[Number, Number, Number], Number], dict[str, Any]]] = {
    "mse_loss": (lambda g, x, t: (x - t) * 2 * g, {}),
    "smooth_l1_loss": (_smooth_l1, {"beta": 0.5}),
    "huber_loss": (_huber, {"delta": 0.5}),
    "soft_margin_loss": (_soft_margin, {}),
    "binary_cross_entropy": (_bce, {"weight": None}),
}


@pytest.mark.parametrize("reduction", [_NONE, _MEAN, _SUM])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_single_elements(name: str, reduction: int) -> None:
    """The derivative of each term times what arrives, which a mean divides by their number once."""
    slope, further = LOSSES[name]
    x, t = P, torch.rand(2, 6, 4, generator=torch.Generator().manual_seed(1))
    g = G if reduction == _NONE else torch.tensor(0.7)

    def run(gs: Any, xs: Any, ts: Any) -> Any:
        if reduction == _MEAN:
            gs = gs / len(xs)
        each = gs if reduction == _NONE else [gs] * len(xs)
        return [slope(*given) for given in zip(each, xs, ts, strict=True)]

    result, done = counted(run, g.flatten() if reduction == _NONE else g, x.flatten(), t.flatten())
    arguments = {"grad_output": g, "self": x, "target": t, **further, "reduction": reduction}
    op = getattr(torch.ops.aten, f"{name}_backward").default
    torch.testing.assert_close(values(result).float(), op(**arguments).flatten())
    assert work(f"aten.{name}_backward.default", **arguments) == done


def test_weighted_cross_entropy() -> None:
    """A weight is one more product; the target alone has a gradient in the loss of classes."""
    arguments: dict[str, Any] = {"grad_output": G, "self": P, "target": P, "reduction": _NONE}
    plain = work("aten.binary_cross_entropy_backward.default", **arguments, weight=None)
    weighted = work("aten.binary_cross_entropy_backward.default", **arguments, weight=P)
    assert weighted == plain + Work(multiplies=48)
    scores, targets, weight, one = torch.rand(4, 5), torch.tensor([0, 1, 1, 4]), torch.rand(5), torch.tensor(1.0)
    given: dict[str, Any] = {"self": scores, "target": targets, "ignore_index": -100, "total_weight": one}
    name = "aten.nll_loss_backward.default"
    assert work(name, grad_output=one, **given, weight=None, reduction=_MEAN) == Work(divides=4)
    assert work(name, grad_output=one, **given, weight=weight, reduction=_SUM) == Work(multiplies=4)
    assert traffic(name, grad_output=one, **given, weight=None, reduction=_MEAN).read == 1 + 4 + 1
    maps, classes = torch.rand(2, 5, 3, 4), torch.zeros(2, 3, 4, dtype=torch.int64)
    given = {"self": maps, "target": classes, "ignore_index": -100, "total_weight": one}
    name = "aten.nll_loss2d_backward.default"
    assert work(name, grad_output=one, **given, weight=weight, reduction=_MEAN) == Work(multiplies=24, divides=24)


def test_margins() -> None:
    """Each other class, or each pair of a label and another class, has a margin to the target."""
    scores, targets, one = torch.rand(2, 4), torch.tensor([1, 3]), torch.tensor(0.5)

    def run(rows: Any) -> Any:
        found = []
        for row, target in zip(rows, (1, 3), strict=True):
            slopes, sum_ = [Number(0, row[0].tally)] * 4, Number(0, row[0].tally)
            for c in {0, 1, 2, 3} - {target}:
                if 1 - row[target] + row[c] > 0:
                    slopes[c], sum_ = Number(1 / 8, row[0].tally), sum_ + 1 / 8
            slopes[target] = -sum_
            found.append([s * 0.5 for s in slopes])
        return found

    result, done = counted(run, scores)
    arguments: dict[str, Any] = {"grad_output": one, "self": scores, "target": targets, "p": 1, "margin": 1}
    expected = torch.ops.aten.multi_margin_loss_backward(*arguments.values(), None, _MEAN)
    torch.testing.assert_close(values(result).float(), expected)
    name = "aten.multi_margin_loss_backward.default"
    assert work(name, **arguments, weight=None, reduction=_MEAN) == done
    # p = 2 and weights: 2 g z w for each of 2 x 3 others.
    squared = work(name, **(arguments | {"p": 2}), weight=torch.rand(4), reduction=_MEAN)
    assert squared == done + Work(multiplies=3 * 6)
    labels = torch.tensor([[0, 1, -1, -1]] * 2)
    is_target = torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 2)
    # 2 x 4 pairs: 1 - label + other, compared, and added to both; then 8 products with what arrives.
    assert work(
        "aten.multilabel_margin_loss_backward.default", grad_output=one, self=scores, target=labels, reduction=_MEAN,
        is_target=is_target,
    ) == Work(adds=4 * 8, compares=8, multiplies=8)  # fmt: skip


def test_connectionist_temporal_classification() -> None:
    """Beta's recursion over 2 x 2 + 1 states, joined with alpha's at each step, and one result a class and step."""
    logs, targets = torch.rand(6, 1, 3).log_softmax(-1), torch.tensor([[1, 2]])
    loss, alpha = torch._ctc_loss(logs, targets, [6], [2])
    done = work(
        "aten._ctc_loss_backward.default", grad=torch.ones(1), log_probs=logs, targets=targets, input_lengths=[6],
        target_lengths=[2], neg_log_likelihood=loss, log_alpha=alpha, blank=0,
    )  # fmt: skip
    # log(exp(a - m) + exp(b - m) + exp(c - m)) + m + log p for 5 states in 5 steps: 2 comparisons, 4 functions, 7 sums.
    # alpha + beta, then log(exp(a - m) + exp(b - m)) + m for 5 states in 6 steps: 1, 3 and 5.
    # (exp(p) - exp(collected + loss - p)) g for 3 classes in 6 steps: 2 functions, 3 sums, 1 product.
    assert done == Work(
        compares=2 * 25 + 30, transcendentals=4 * 25 + 3 * 30 + 2 * 18, adds=7 * 25 + 5 * 30 + 3 * 18, multiplies=18
    )


# Attention and look-ups ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [True, False])
def test_fused_attention(masked: bool) -> None:
    """Five products, of which one makes the scores again (FlashAttention, algorithm 4)."""
    q, k = torch.randn(3, 4), torch.randn(5, 4)
    v, g = torch.randn(5, 4), torch.randn(3, 4)
    mask = torch.randn(3, 5) if masked else None
    four = [t[None, None] for t in (q, k, v)]
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*four, 0.0, False, attn_mask=mask)
    expected = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        g[None, None], *four, out, lse, 0.0, False, attn_mask=mask
    )
    macs = 0

    def dot(a: list[Number], b: list[Number]) -> Number:
        nonlocal macs
        macs += len(a)
        return Number(sum(x.value * y.value for x, y in zip(a, b, strict=True)), a[0].tally)

    def run(q: Any, k: Any, v: Any, g: Any, o: Any, lse: Any, m: Any) -> Any:
        columns = lambda rows: [list(column) for column in zip(*rows, strict=True)]  # noqa: E731
        p, ds = [], []
        for i in range(3):
            d = total([a * b for a, b in zip(g[i], o[i], strict=True)])
            scores = [dot(q[i], k[j]) * 0.5 for j in range(5)]
            if masked:
                scores = [s + m[i][j] for j, s in enumerate(scores)]
            p.append([exp(s - lse[i]) for s in scores])
            ds.append([p[i][j] * (dot(g[i], v[j]) - d) * 0.5 for j in range(5)])
        of_q = [[dot(row, column) for column in columns(k)] for row in ds]
        of_k = [[dot(row, column) for column in columns(q)] for row in columns(ds)]
        of_v = [[dot(row, column) for column in columns(g)] for row in columns(p)]
        return of_q, of_k, of_v

    given = (q, k, v, g, out[0, 0], lse[0, 0], mask if masked else torch.zeros(()))
    result, done = counted(run, *given)
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(values(one).float(), other[0, 0], atol=1e-4, rtol=1e-4)
    names = ("query", "key", "value")
    assert done + Work(macs=macs) == work(
        "aten._scaled_dot_product_flash_attention_for_cpu_backward.default", grad_out=g[None, None],
        **dict(zip(names, four, strict=True)), out=out, logsumexp=lse, dropout_p=0.0, is_causal=False, attn_mask=mask,
    )  # fmt: skip
    assert macs == 5 * 3 * 5 * 4


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, math.inf])
def test_distances(order: float) -> None:
    """Each pair pulls by the derivative of the p-norm of its difference."""
    a, b = torch.randn(3, 4), torch.randn(5, 4)
    g, d = torch.randn(3, 5), torch.cdist(a, b, order)

    def slope(x: Number, g: Number, norm: Number, once: Any) -> Number:
        if order == 1:
            return Number(math.copysign(g.value, x.value * g.value) if g.value else 0, x.tally)
        if order == math.inf:
            greatest = x < norm  # compared
            return Number(0 if greatest and abs(x.value) < norm.value - 1e-6 else math.copysign(1, x.value) * g.value,
                          x.tally)  # fmt: skip
        if order == 2:
            return x * once
        return x * x.of(lambda v: abs(v) ** (order - 2)) * once

    def run(a: Any, b: Any, g: Any, d: Any) -> Any:
        found = []
        for i in range(3):
            sums = [Number(0, a[0][0].tally)] * 4
            for j in range(5):
                once = g[i][j]
                if order == 2:
                    once = g[i][j] / d[i][j]
                elif order == 3:
                    once = g[i][j] / d[i][j].of(lambda v: v ** (order - 1))
                differences = [x - y for x, y in zip(a[i], b[j], strict=True)]
                sums = [s + slope(x, g[i][j], d[i][j], once) for s, x in zip(sums, differences, strict=True)]
            found.append(sums)
        return found

    result, done = counted(run, a, b, g, d)
    torch.testing.assert_close(values(result).float(), torch.ops.aten._cdist_backward(g, a, b, order, d))
    names = [argument.name for argument in torch.ops.aten._cdist_backward.default._schema.arguments]
    assert done == work("aten._cdist_backward.default", **dict(zip(names, (g, a, b, order, d), strict=True)))
    # All pairs of 5 points: as above, and the other point pushed.
    pairs = torch.nn.functional.pdist(b, order)
    per_pair = work("aten._pdist_backward.default", **{names[0]: torch.ones(10)}, self=b, p=order, pdist=pairs)
    assert per_pair == Work(**{name: n * 10 // 15 for name, n in vars_of(done).items()}) + Work(adds=4 * 10)


def test_sampling() -> None:
    """Of one point and two channels, by the derivative of a bilinear sample."""
    x, grid, g = torch.randn(1, 2, 4, 4), torch.tensor([[[[0.1, -0.3]]]]), torch.randn(1, 2, 1, 1)
    column, row = (((float(c) + 1) * 4 - 1) / 2 for c in grid.flatten())
    i, j = int(row), int(column)

    def run(v: Any, g: Any, at: Any) -> Any:
        px, py = (((c + 1) * 4 - 1) / 2 for c in at)
        far_x, near_x, far_y, near_y = px - j, (j + 1) - px, py - i, (i + 1) - py
        corners = [(0, 0, near_y, near_x), (0, 1, near_y, far_x), (1, 0, far_y, near_x), (1, 1, far_y, far_x)]
        of_input, sums = {}, []
        for a, b, wy, wx in corners:
            weight = wy * wx
            for c in range(2):
                of_input[c, i + a, j + b] = g[c][0][0] * weight + 0
            sums.append(total([g[c][0][0] * v[c][i + a][j + b] for c in range(2)]))
        signs = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
        of_x = total([signed(s * wy, sx) for s, (_, _, wy, _), (_, sx) in zip(sums, corners, signs, strict=True)])
        of_y = total([signed(s * wx, sy) for s, (_, _, _, wx), (sy, _) in zip(sums, corners, signs, strict=True)])
        return of_input, (of_x * 2.0, of_y * 2.0)

    (of_input, of_grid), done = counted(run, x[0], g[0], grid.flatten())
    arguments: dict[str, Any] = {
        "grad_output": g, "input": x, "grid": grid, "interpolation_mode": 0, "padding_mode": 0, "align_corners": False,
    }  # fmt: skip
    expected = torch.ops.aten.grid_sampler_2d_backward(*arguments.values(), [True, True])
    for (c, a, b), number in of_input.items():
        assert math.isclose(value_of(number), float(expected[0][0, c, a, b]), rel_tol=1e-4, abs_tol=1e-6)
    torch.testing.assert_close(values(list(of_grid)).float(), expected[1].flatten(), rtol=1e-4, atol=1e-5)
    assert work("aten.grid_sampler_2d_backward.default", **arguments, output_mask=[True, True]) == done


def signed(x: Number, sign: int) -> Number:
    """A number or its opposite; signs are not arithmetic."""
    return x if sign > 0 else -x


def vars_of(work: Work) -> dict[str, int]:
    """The counts by their names."""
    return {field.name: getattr(work, field.name) for field in fields(Work)}


def test_embeddings() -> None:
    """Each gradient is added to its row; in a bag every row gets the bag's, and a weight is a dot product."""
    g, rows = torch.rand(3, 4), torch.tensor([1, 0, 1])
    given: dict[str, Any] = {"grad_output": g, "indices": rows, "num_weights": 5, "padding_idx": -1}
    name = "aten.embedding_dense_backward.default"
    assert work(name, **given, scale_grad_by_freq=False) == Work(adds=12)
    assert work(name, **given, scale_grad_by_freq=True) == Work(adds=12, divides=12)
    table, indices, offsets, weights = torch.rand(5, 4), torch.tensor([0, 1, 2, 3]), torch.tensor([0, 3]), torch.rand(4)
    bags: dict[str, Any] = {"num_weights": 5, "scale_grad_by_freq": False}
    name = "aten._embedding_bag_dense_backward.default"
    for mode, expected in ((0, Work(adds=16)), (1, Work(adds=16, divides=16)), (2, Work(adds=8))):
        _, bag_of, size, most = torch._embedding_bag(table, indices, offsets, False, mode)
        if mode == 0:
            bag_of, size = torch.tensor([0, 0, 0, 1]), torch.tensor([3, 1])
        arguments = {"grad": torch.rand(2, 4), "indices": indices, "offset2bag": bag_of, "bag_size": size,
                     "maximum_indices": most, **bags, "mode": mode, "per_sample_weights": None}  # fmt: skip
        assert work(name, **arguments) == expected
        if mode == 0:
            assert work(name, **(arguments | {"per_sample_weights": weights})) == Work(adds=16, multiplies=16)
    done = work(
        "aten._embedding_bag_per_sample_weights_backward.default", grad=torch.rand(2, 4), weight=table, indices=indices,
        offsets=offsets, offset2bag=torch.tensor([0, 0, 0, 1]), mode=0,
    )  # fmt: skip
    assert done == Work(multiplies=4, adds=3).times(4)


def test_the_root_of_a_variance_is_taken_once() -> None:
    """What the forward kept is not computed again: no gradient in training has a root."""
    x, c = torch.rand(2, 3, 4), torch.rand(3)
    done = work(
        "aten.native_batch_norm_backward.default", grad_out=x, input=x, weight=c, running_mean=c, running_var=c,
        save_mean=c, save_invstd=c, train=True, eps=1e-5, output_mask=[True, True, True],
    )  # fmt: skip
    assert done.transcendentals == 0 < counted(lambda v: sqrt(v), torch.tensor(2.0))[1].transcendentals
