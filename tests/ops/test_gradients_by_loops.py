"""Backward passes as loops over numbers that count: the numbers are autograd's, the counts those of the rules.

A forward and its backward really run; the rules are asked about the ops that autograd chooses, and no loop knows them.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from costmodel.quantities import Work
from tests.ops._costs import Costs, backward_of
from tests.ops._counting import Number, counted, exp, total, values

# Convolutions ----------------------------------------------------------------------------------------------------


class Convolution(NamedTuple):
    """A small one, of two dimensions."""

    channels: int = 4
    filters: int = 6
    kernel: tuple[int, int] = (3, 2)
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    transposed: bool = False
    output_padding: int = 0

    def layer(self) -> nn.Module:
        """The layer of torch."""
        given: dict[str, Any] = {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}
        if self.transposed:
            given["output_padding"] = self.output_padding
        kind: Any = nn.ConvTranspose2d if self.transposed else nn.Conv2d
        made: nn.Module = kind(self.channels, self.filters, self.kernel, **given)
        return made


CONVOLUTIONS = {
    "plain": Convolution(),
    "pointwise": Convolution(kernel=(1, 1)),
    "strided": Convolution(stride=2),
    "padded": Convolution(padding=1),
    "dilated": Convolution(dilation=2, padding=1),
    "grouped": Convolution(groups=2),
    "depthwise": Convolution(filters=4, groups=4, padding=1),
    "depthwise with a multiplier": Convolution(filters=8, groups=4),
    "transposed": Convolution(transposed=True),
    "transposed, strided": Convolution(transposed=True, stride=2, padding=1, output_padding=1),
    "transposed, grouped, dilated": Convolution(transposed=True, groups=2, dilation=2, output_padding=1),
    "transposed, depthwise": Convolution(transposed=True, filters=4, groups=4, stride=2),
}


class Found(NamedTuple):
    """What loops compute."""

    of_input: torch.Tensor
    of_weight: torch.Tensor
    of_bias: torch.Tensor
    products: int
    """For each of the first two."""
    on_padding: int
    additions: int
    """For the bias."""


def differentiated(c: Convolution, x: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> Found:
    """Each product of the forward pairs an element of the narrower map with one of the wider, by one weight.

    So each of its two factors gets the gradient of the product times the other.
    """
    narrow, wide = (x, g) if c.transposed else (g, x)  # a window is laid over the wider map for each of the narrower
    of_input, of_weight = torch.zeros_like(x), torch.zeros_like(w)
    per_group = w.shape[0] // c.groups
    products = on_padding = 0
    for n, a, i, j in product(*map(range, narrow.shape)):
        for b, k, m in product(*map(range, w.shape[1:])):
            row, column = (at * c.stride - c.padding + tap * c.dilation for at, tap in ((i, k), (j, m)))
            products += 1
            if not (0 <= row < wide.shape[2] and 0 <= column < wide.shape[3]):
                on_padding += 1
                continue
            far = n, a // per_group * w.shape[1] + b, row, column
            if c.transposed:
                of_input[n, a, i, j] += g[far] * w[a, b, k, m]
                of_weight[a, b, k, m] += g[far] * x[n, a, i, j]
            else:
                of_input[far] += g[n, a, i, j] * w[a, b, k, m]
                of_weight[a, b, k, m] += g[n, a, i, j] * x[far]
    of_bias, additions = torch.zeros(g.shape[1]), 0
    for channel in range(g.shape[1]):
        first, *others = g[:, channel].flatten()
        of_bias[channel] = sum(others, first)
        additions += len(others)
    return Found(of_input, of_weight, of_bias, products, on_padding, additions)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str) -> None:
    """Of the input, the weight and the bias, as far as each is asked for."""
    c = CONVOLUTIONS[name]
    torch.manual_seed(0)
    layer, x = c.layer(), torch.randn(2, 4, 5, 4, requires_grad=True)
    y = layer(x)
    weight, bias = layer.parameters()
    found = differentiated(c, x.detach(), weight.detach(), (g := torch.randn_like(y)))
    gradients, work = backward_of(layer(x), g, x, weight, bias)
    for ours, torchs in zip(found[:3], gradients, strict=True):
        torch.testing.assert_close(ours, torchs, atol=1e-5, rtol=1e-4)
    once = Work(macs=found.products, macs_on_padding=found.on_padding)
    assert work == once.times(2) + Work(adds=found.additions)
    assert backward_of(layer(x), g, x, weight)[1] == once.times(2)
    assert backward_of(layer(x), g, weight, bias)[1] == once + Work(adds=found.additions)
    assert backward_of(layer(x), g, x)[1] == once


@pytest.mark.parametrize(("needs_gradient", "macs"), [(True, 1_806_336), (False, 903_168)])
def test_a_depthwise_convolution_by_hand(needs_gradient: bool, macs: int) -> None:
    """C = 512, k = 3, 14 x 14: 512 x 9 x 196 = 903,168 products, and as many for each gradient that is wanted."""
    layer = nn.Conv2d(512, 512, 3, padding=1, groups=512, bias=False)
    x = torch.randn(1, 512, 14, 14, requires_grad=needs_gradient)
    with Costs() as forward:
        y = layer(x)
    with Costs() as backward:
        y.backward(torch.randn_like(y))
    assert forward.work.macs == 903_168
    assert backward.work.macs == macs


# Layers whose loops are shorter ----------------------------------------------------------------------------------


def checked(loops: Any, y: torch.Tensor, g: torch.Tensor, *inputs: torch.Tensor) -> Work:
    """Compares what loops make of the gradient and the inputs with autograd's; the work that the loops did."""
    found, done = counted(loops, g, *(t.detach() for t in inputs))
    gradients, work = backward_of(y, g, *inputs)
    for ours, torchs in zip(found, gradients, strict=True):
        torch.testing.assert_close(values(ours).float(), torchs, atol=1e-5, rtol=1e-4)
    assert _of_macs(work) == done
    return work


def _of_macs(work: Work) -> Work:
    """A MAC as the multiply and the add that it is."""
    return Work(
        adds=work.adds + work.macs, multiplies=work.multiplies + work.macs, divides=work.divides,
        compares=work.compares, transcendentals=work.transcendentals,
    )  # fmt: skip


def _zeros(like: Any) -> Any:
    return [_zeros(item) for item in like] if isinstance(like, list) else Number(0, like.tally)


def test_linear() -> None:
    """y = x A^T + b: g A, g^T x, and the sums of g."""
    torch.manual_seed(0)
    layer, x = nn.Linear(4, 5), torch.randn(3, 4, requires_grad=True)

    def loops(g: Any, x: Any, weight: Any, bias: Any) -> Any:
        of_x, of_weight = _zeros(x), _zeros(weight)
        for n, o, i in product(range(3), range(5), range(4)):
            of_x[n][i] += g[n][o] * weight[o][i]
            of_weight[o][i] += g[n][o] * x[n][i]
        return of_x, of_weight, [total([row[o] for row in g]) for o in range(5)]

    assert checked(loops, layer(x), torch.randn(3, 5), x, *layer.parameters()) == Work(macs=2 * 60, adds=10)


def test_attention_by_products() -> None:
    """Two batched products, softmax between them: q k^T and P v, of which each factor has a gradient."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 3, 4, requires_grad=True) for _ in range(3))

    def product_of(a: Any, b: Any, g: Any) -> tuple[Any, Any]:
        of_a, of_b = _zeros(a), _zeros(b)
        for i, j, m in product(range(len(a)), range(len(b[0])), range(len(b))):
            of_a[i][m] += g[i][j] * b[m][j]
            of_b[m][j] += g[i][j] * a[i][m]
        return of_a, of_b

    weights = (q @ k.transpose(1, 2)).softmax(-1)
    kept = weights.detach()[0].tolist()

    def loops(g: Any, q: Any, k: Any, v: Any) -> Any:
        tally = g[0][0][0].tally
        p = [[Number(value, tally) for value in row] for row in kept]
        of_p, of_v = product_of(p, v[0], g[0])
        scores = [
            [(a - dot) * b for a, b in zip(row, ps, strict=True)]
            for row, ps in zip(of_p, p, strict=True)
            for dot in [total([a * b for a, b in zip(row, ps, strict=True)])]
        ]
        of_q, of_k = product_of(q[0], [list(column) for column in zip(*k[0], strict=True)], scores)
        return [of_q], [[list(row) for row in zip(*of_k, strict=True)]], [of_v]

    work = checked(loops, weights @ v, torch.randn(1, 3, 4), q, k, v)
    assert work.macs == 4 * 3 * 3 * 4  # two for each product of the forward


def test_softmax() -> None:
    """y (g - sum(g y)), of the y that the forward kept."""
    torch.manual_seed(0)
    x = torch.randn(3, 5, requires_grad=True)
    y = x.softmax(1)
    kept = y.detach().tolist()

    def loops(g: Any, x: Any) -> Any:
        found = []
        for row, ys in zip(g, kept, strict=True):
            dot = total([a * b for a, b in zip(row, ys, strict=True)])
            found.append([(a - dot) * b for a, b in zip(row, ys, strict=True)])
        return (found,)

    checked(loops, y, torch.randn(3, 5), x)


def test_log_softmax() -> None:
    """g - exp(y) sum(g)."""
    torch.manual_seed(0)
    x = torch.randn(3, 5, requires_grad=True)
    y = x.log_softmax(1)
    kept = y.detach().tolist()

    def loops(g: Any, x: Any) -> Any:
        found = []
        for row, ys in zip(g, kept, strict=True):
            sum_ = total(row)
            found.append([a - exp(Number(b, sum_.tally)) * sum_ for a, b in zip(row, ys, strict=True)])
        return (found,)

    checked(loops, y, torch.randn(3, 5), x)


def windows(size: tuple[int, int], k: int, stride: int, padding: int) -> Any:
    """Each output position of a pooling, with the positions of the input in its window."""
    reach = [(n + 2 * padding - k) // stride + 1 for n in size]
    for i, j in product(*map(range, reach)):
        inside = product(*(range(at * stride - padding, at * stride - padding + k) for at in (i, j)))
        yield (i, j), [(r, c) for r, c in inside if 0 <= r < size[0] and 0 <= c < size[1]]


@pytest.mark.parametrize(("k", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_maximum_pooling(k: int, stride: int, padding: int) -> None:
    """Each gradient is added to the element that was the greatest of its window."""
    torch.manual_seed(0)
    x = torch.randn(1, 2, 5, 6, requires_grad=True)
    kept = x.detach()

    def loops(g: Any, x: Any) -> Any:
        found = _zeros(x)
        for channel, ((i, j), inside) in product(range(2), list(windows((5, 6), k, stride, padding))):
            r, c = max(inside, key=lambda at: float(kept[0, channel][at]))
            found[0][channel][r][c] += g[0][channel][i][j]
        return (found,)

    y = F.max_pool2d(x, k, stride, padding)
    checked(loops, y, torch.randn_like(y), x)


@pytest.mark.parametrize(("k", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_average_pooling(k: int, stride: int, padding: int) -> None:
    """Each gradient is divided once, and added to each element of its window that is no padding."""
    torch.manual_seed(0)
    x = torch.randn(1, 2, 5, 6, requires_grad=True)

    def loops(g: Any, x: Any) -> Any:
        found = _zeros(x)
        for channel, ((i, j), inside) in product(range(2), list(windows((5, 6), k, stride, padding))):
            share = g[0][channel][i][j] / k**2
            for r, c in inside:
                found[0][channel][r][c] += share
        return (found,)

    y = F.avg_pool2d(x, k, stride, padding)
    checked(loops, y, torch.randn_like(y), x)


def test_batch_norm() -> None:
    """dx = w r (g - mean(g) - y mean(g y)), y = (x - m) r, of the mean and the deviation that the forward kept."""
    torch.manual_seed(0)
    layer, x = nn.BatchNorm1d(2), torch.randn(3, 2, 4, requires_grad=True)
    mean = x.detach().mean((0, 2)).tolist()
    inverse = (x.detach().var((0, 2), correction=0) + layer.eps).rsqrt().tolist()
    nn.init.uniform_(layer.weight)

    def loops(g: Any, x: Any, weight: Any, bias: Any) -> Any:
        of_x, of_weight, of_bias = _zeros(x), [], []
        for c, (m, r) in enumerate(zip(mean, inverse, strict=True)):
            at = [(n, i) for n in range(3) for i in range(4)]
            ys, gs = [(x[n][c][i] - m) * r for n, i in at], [g[n][c][i] for n, i in at]
            of_weight.append(total([a * b for a, b in zip(gs, ys, strict=True)]))
            of_bias.append(total(gs))
            of_mean, of_deviation, factor = of_bias[c] / 12, of_weight[c] / 12, weight[c] * r
            for (n, i), a, y in zip(at, gs, ys, strict=True):
                of_x[n][c][i] = (a - of_mean - y * of_deviation) * factor
        return of_x, of_weight, of_bias

    checked(loops, layer(x), torch.randn(3, 2, 4), x, *layer.parameters())


def test_layer_norm() -> None:
    """Each row for itself, of w g in the place of g; the weight's gradient sums g y over rows, the bias's g."""
    torch.manual_seed(0)
    layer, x = nn.LayerNorm(4), torch.randn(3, 4, requires_grad=True)
    mean = x.detach().mean(1).tolist()
    inverse = (x.detach().var(1, correction=0) + layer.eps).rsqrt().tolist()
    nn.init.uniform_(layer.weight)

    def loops(g: Any, x: Any, weight: Any, bias: Any) -> Any:
        of_x, products = [], []
        for row, xs, m, r in zip(g, x, mean, inverse, strict=True):
            ys = [(v - m) * r for v in xs]
            ds = [a * w for a, w in zip(row, weight, strict=True)]
            of_mean = total(ds) / 4
            of_deviation = total([d * y for d, y in zip(ds, ys, strict=True)]) / 4
            of_x.append([(d - of_mean - y * of_deviation) * r for d, y in zip(ds, ys, strict=True)])
            products.append([a * y for a, y in zip(row, ys, strict=True)])
        columns = [list(column) for column in zip(*products, strict=True)]
        return of_x, [total(column) for column in columns], [total([row[i] for row in g]) for i in range(4)]

    checked(loops, layer(x), torch.randn(3, 4), x, *layer.parameters())
