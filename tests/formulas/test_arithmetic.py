"""Work against the definitions, run on numbers that count their operations; torch says the definitions are right."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from costmodel import formulas as f
from costmodel.quantities import Work
from tests.formulas.oracles import Number, Tally, sigmoid, softmax, values


def exp1(x: Number) -> Number:
    """exp(x) - 1, in its two steps."""
    return x.tally.call(math.exp, x) - 1


def clamp(x: Number, low: float, high: float) -> Number:
    """Two comparisons."""
    x = x.tally.larger(x, x.tally.number(low))
    return -x.tally.larger(-x, x.tally.number(-high))


def where(x: Number, limit: float, low: Callable[[Number], Number]) -> Number:
    """Both branches are run and one is selected, as a kernel does."""
    other = low(x)
    return x if x.tally.above(x, limit) else other


def shrink(x: Number, by: Callable[[Number], Number]) -> Number:
    """Two comparisons, then a selection of what both branches made."""
    made = by(x)
    above, below = x.tally.above(x, 0.5), x.tally.above(-x, 0.5)
    return made if above or below else x.tally.number(0)


DEFINITIONS: dict[str, Callable[[Number], Number]] = {
    "identity": lambda x: x,
    "relu": lambda x: x.tally.larger(x, x.tally.number(0)),
    "relu6": lambda x: clamp(x, 0, 6),
    "hardtanh": lambda x: clamp(x, -1, 1),
    "threshold": lambda x: where(x, 0.1, lambda x: x.tally.number(20)),
    "leaky_relu": lambda x: where(x, 0, lambda x: 0.01 * x),
    "prelu": lambda x: where(x, 0, lambda x: 0.25 * x),
    "rrelu": lambda x: where(x, 0, lambda x: (1 / 8 + 1 / 3) / 2 * x),
    "elu": lambda x: where(x, 0, lambda x: 1.0 * exp1(x)),
    "selu": lambda x: 1.0507009873554805 * where(x, 0, lambda x: 1.6732632423543772 * exp1(x)),
    "celu": lambda x: where(x, 0, lambda x: 1.0 * exp1(x / 1.0)),
    "sigmoid": sigmoid,
    "logsigmoid": lambda x: -x.tally.call(math.log, 1 + x.tally.call(math.exp, -x)),
    "tanh": lambda x: x.tally.call(math.tanh, x),
    "tanhshrink": lambda x: x - x.tally.call(math.tanh, x),
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: (0.5 * x) * (1 + x.tally.call(math.erf, x * math.sqrt(0.5))),
    "gelu_tanh": lambda x: (
        (0.5 * x) * (1 + x.tally.call(math.tanh, (x + 0.044715 * (x * x * x)) * math.sqrt(2 / math.pi)))
    ),
    "mish": lambda x: x * x.tally.call(math.tanh, x.tally.call(math.log, 1 + x.tally.call(math.exp, x))),
    "softplus": lambda x: where(x, 20, lambda x: x.tally.call(math.log, 1 + x.tally.call(math.exp, 1.0 * x)) / 1.0),
    "softsign": lambda x: x / (1 + abs(x)),
    "hardsigmoid": lambda x: clamp(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * (clamp(x + 3, 0, 6) / 6),
    "hardshrink": lambda x: shrink(x, lambda x: x),
    "softshrink": lambda x: shrink(x, lambda x: x - math.copysign(0.5, x.value)),
}

TORCH: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda x: x,
    "threshold": lambda x: F.threshold(x, 0.1, 20),
    "prelu": lambda x: F.prelu(x, torch.tensor([0.25], dtype=x.dtype)),
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("name", f.ACTIVATIONS)
def test_activation_counts_its_definition(name: str) -> None:
    """An element costs the operations of the definition, which computes what torch does."""
    xs = [-7.3, -1.2, -0.3, 0.2, 0.9, 4.1, 8.0]
    tally = Tally()
    ys = [DEFINITIONS[name](x) for x in tally.numbers(xs)]
    function = TORCH.get(name) or getattr(F, name)
    assert torch.allclose(values(ys), function(torch.tensor(xs, dtype=torch.float64)))
    assert f.activation(name=name, shape=len(xs)).work == tally.work


@given(st.integers(1, 6), st.integers(1, 5))
def test_softmax_counts_its_definition(rows: int, n: int) -> None:
    """Row by row: the maximum, the differences, the exponentials, their sum, the quotients."""
    tally = Tally()
    data = torch.rand(rows, n, dtype=torch.float64)
    ys = [softmax(tally.numbers(row)) for row in data]
    assert torch.allclose(torch.stack([values(y) for y in ys]), data.softmax(-1))
    assert f.softmax(shape=(rows, n)).work == tally.work


@given(st.integers(1, 4), st.integers(1, 5))
def test_log_softmax_counts_its_definition(rows: int, n: int) -> None:
    """Differences, exponentials, their sum, its logarithm, differences again."""
    tally = Tally()
    data = torch.rand(n, rows, dtype=torch.float64)
    ys = []
    for row in data.T:
        xs = tally.numbers(row)
        top = xs[0]
        for x in xs[1:]:
            top = tally.larger(top, x)
        shifted = [x - top for x in xs]
        whole = tally.call(math.log, tally.total([tally.call(math.exp, s) for s in shifted]))
        ys.append(values([s - whole for s in shifted]))
    assert torch.allclose(torch.stack(ys, 1), data.log_softmax(0))
    assert f.softmax(shape=(n, rows), dim=0, log=True).work == tally.work


def test_glu_counts_its_definition() -> None:
    """A sigmoid and a product for every output element."""
    tally = Tally()
    data = torch.rand(3, 8, dtype=torch.float64)
    ys = [a * sigmoid(b) for row in data for a, b in zip(tally.numbers(row[:4]), tally.numbers(row[4:]), strict=True)]
    assert torch.allclose(values(ys), F.glu(data).flatten())
    assert f.glu(shape=(3, 8)).work == tally.work


def standardised(xs: list[Number], *, weight: float | None, bias: float | None) -> list[Number]:
    """(x - mean) / sqrt(var + eps), and the affine map where there is one."""
    tally, n = xs[0].tally, len(xs)
    mean = tally.total(xs) / n
    off = [x - mean for x in xs]
    variance = tally.total([o * o for o in off]) / n
    scale = tally.call(lambda v: v**-0.5, variance + 1e-5)
    ys = [o * scale for o in off]
    ys = ys if weight is None else [y * weight for y in ys]
    return ys if bias is None else [y + bias for y in ys]


@pytest.mark.parametrize(("affine", "bias"), [(True, True), (True, False), (False, False)])
def test_layer_norm_counts_its_definition(affine: bool, bias: bool) -> None:
    """Mean, variance, eps, rsqrt, product, and the affine map, row by row."""
    tally = Tally()
    data = torch.rand(3, 5, dtype=torch.float64)
    weight, shift = (1.5 if affine else None), (0.5 if bias else None)
    ys = [standardised(tally.numbers(row), weight=weight, bias=shift) for row in data]
    w = torch.full((5,), 1.5, dtype=torch.float64) if affine else None
    b = torch.full((5,), 0.5, dtype=torch.float64) if bias else None
    assert torch.allclose(torch.stack([values(y) for y in ys]), F.layer_norm(data, (5,), w, b))
    assert f.layer_norm(normalized_shape=5, rows=3, affine=affine, bias=bias).work == tally.work


def test_group_and_instance_norm_count_their_definition() -> None:
    """A group is standardised as a row of layer norm is."""
    tally = Tally()
    for _ in range(2 * 3):
        standardised(tally.numbers(range(2 * 4)), weight=1.5, bias=0.5)
    assert f.group_norm(channels=6, groups=3, size=(2, 2), batch=2).work == tally.work
    assert f.instance_norm(channels=3, size=(4, 2), batch=2, affine=True).work == tally.work


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_in_training_counts_its_definition(affine: bool) -> None:
    """Each channel is standardised over batch and space, its two moving averages moved, and the batch counted."""
    tally = Tally()
    for _ in range(3):
        standardised(tally.numbers(range(2 * 4)), weight=1.5 if affine else None, bias=0.5 if affine else None)
        mean, variance, running = tally.numbers((1, 2, 3))
        _ = running * 0.9 + mean * 0.1
        _ = running * 0.9 + (variance * (8 / 7)) * 0.1
    _ = tally.number(0) + 1
    assert f.batch_norm(channels=3, size=(2, 2), batch=2, affine=affine, training=True).work == tally.work


@pytest.mark.parametrize("bias", [True, False])
def test_matrix_products_count_their_definition(bias: bool) -> None:
    """One dot product an output element, and one add where there is a bias or a tensor to add."""
    tally, rows, width, out = Tally(), 3, 4, 5
    for _ in range(rows * out):
        y = tally.dot(tally.numbers(range(width)), tally.numbers(range(width)))
        _ = y + 0.5 if bias else y
    assert f.linear(in_features=width, out_features=out, rows=rows, bias=bias).work == tally.work
    assert f.matmul(m=rows, n=out, k=width, added=rows * out if bias else 0).work == tally.work
    assert f.conv(c_in=width, c_out=out, kernel=1, size=(rows,), bias=bias).work == tally.work
    assert f.conv_transpose(c_in=width, c_out=out, kernel=1, size=(rows,), bias=bias).work == tally.work


@pytest.mark.parametrize("bias", [True, False])
def test_bilinear_counts_its_definition(bias: bool) -> None:
    """For each output x1 A_k, a dot product a column, and the dot product of that with x2."""
    tally = Tally()
    for _ in range(3 * 5):
        left = [tally.dot(tally.numbers(range(2)), tally.numbers(range(2))) for _ in range(4)]
        y = tally.dot(left, tally.numbers(range(4)))
        _ = y + 0.5 if bias else y
    assert f.bilinear(in1_features=2, in2_features=4, out_features=5, rows=3, bias=bias).work == tally.work


def test_batch_norm_at_inference_is_a_line() -> None:
    """y = a x + b, with constants a and b: affine or not, one multiply and one add an element."""
    assert f.batch_norm(channels=3, size=(2, 2), affine=False).work == Work(multiplies=12, adds=12)


@pytest.mark.parametrize("affine", [True, False])
def test_rms_norm_counts_its_definition(affine: bool) -> None:
    """Squares, their mean, eps, rsqrt, products."""
    tally = Tally()
    data = torch.rand(3, 5, dtype=torch.float64)
    out = []
    for row in data:
        xs = tally.numbers(row)
        scale = tally.call(lambda v: v**-0.5, tally.total([x * x for x in xs]) / 5 + 1e-5)
        ys = [x * scale for x in xs]
        out.append(values([y * 1.5 for y in ys] if affine else ys))
    weight = torch.full((5,), 1.5, dtype=torch.float64) if affine else None
    assert torch.allclose(torch.stack(out), F.rms_norm(data, (5,), weight, 1e-5))
    assert f.rms_norm(normalized_shape=5, rows=3, affine=affine).work == tally.work


def test_local_response_norm_counts_its_definition() -> None:
    """Squares, the mean over neighbouring channels with the padding's zeros, alpha, k, the power, the quotient."""
    tally = Tally()
    data = torch.rand(1, 6, 3, dtype=torch.float64)
    out = []
    for at in range(3):
        xs = tally.numbers(data[0, :, at])
        padded = [*tally.numbers([0, 0]), *(x * x for x in xs), *tally.numbers([0, 0])]
        for channel, x in enumerate(xs):
            mean = tally.total(padded[channel : channel + 5]) / 5
            out.append(x / tally.call(lambda v: v**0.75, mean * 1e-4 + 1.0))
    assert torch.allclose(values(out).view(3, 6).T, F.local_response_norm(data, 5)[0])
    assert f.local_response_norm(channels=6, size=(3,), local_size=5).work == tally.work


@given(size=st.integers(2, 7), kernel=st.integers(1, 3), stride=st.integers(1, 3), padding=st.integers(0, 1))
def test_pools_count_their_windows(size: int, kernel: int, stride: int, padding: int) -> None:
    """A window's maximum is k - 1 comparisons, its mean k - 1 sums and a division."""
    if 2 * padding > kernel or size + 2 * padding < kernel:
        return
    tally = Tally()
    cells = tally.numbers([0] * padding + list(range(size)) + [0] * padding)
    for start in range(0, len(cells) - kernel + 1, stride):
        window = cells[start : start + kernel]
        top = window[0]
        for x in window[1:]:
            top = tally.larger(top, x)
        _ = tally.total(window) / kernel
    at = {"channels": 1, "size": (size,), "kernel": kernel, "stride": stride, "padding": padding}
    assert f.max_pool(**at).work + f.avg_pool(**at).work == tally.work


@given(size=st.tuples(st.integers(1, 7), st.integers(1, 7)), out=st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_adaptive_pools_count_their_windows(size: tuple[int, int], out: tuple[int, int]) -> None:
    """Every output has a window of its own."""
    tally = Tally()
    spans = [[range(i * n // o, -(-(i + 1) * n // o)) for i in range(o)] for n, o in zip(size, out, strict=True)]
    for rows in spans[0]:
        for columns in spans[1]:
            window = tally.numbers([0] * (len(rows) * len(columns)))
            top = window[0]
            for x in window[1:]:
                top = tally.larger(top, x)
            _ = tally.total(window) / len(window)
    at = {"channels": 1, "size": size, "output_size": out}
    assert f.adaptive_max_pool(**at).work + f.adaptive_avg_pool(**at).work == tally.work


@pytest.mark.parametrize(("mode", "taps"), [("linear", 2), ("bilinear", 4), ("trilinear", 8), ("bicubic", 16)])
def test_interpolation_weighs_its_taps(mode: str, taps: int) -> None:
    """t products and t - 1 sums for each output element."""
    axes = {"linear": 1, "trilinear": 3}.get(mode, 2)
    cost = f.upsample(channels=1, size=(3,) * axes, factor=2, mode=mode)
    assert cost.work == Work(multiplies=taps, adds=taps - 1).times(6**axes)


def test_lp_pool_counts_its_definition() -> None:
    """A power, a mean, relu, sign and size, and a root."""
    tally = Tally()
    data = torch.rand(1, 1, 4, dtype=torch.float64)
    xs = tally.numbers(data[0, 0])
    ys = []
    for pair in ([x * x for x in xs[:2]], [x * x for x in xs[2:]]):
        mean = tally.total(pair) / 2
        ys.append(tally.call(math.sqrt, (1.0 * tally.larger(abs(mean), tally.number(0))) * 2))
    assert torch.allclose(values(ys), F.lp_pool1d(data, 2, 2)[0, 0])
    assert f.lp_pool(channels=1, size=(4,), kernel=2).work == tally.work
