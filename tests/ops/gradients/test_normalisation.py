"""Gradients of norms: their definitions as loops over numbers that count, whose results are torch's."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch

from costmodel.quantities import Work
from tests.ops._asking import work
from tests.ops._counting import Number, counted, sqrt, total, value_of, values


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


def test_the_root_of_a_variance_is_taken_once() -> None:
    """What the forward kept is not computed again: no gradient in training has a root."""
    x, c = torch.rand(2, 3, 4), torch.rand(3)
    done = work(
        "aten.native_batch_norm_backward.default", grad_out=x, input=x, weight=c, running_mean=c, running_var=c,
        save_mean=c, save_invstd=c, train=True, eps=1e-5, output_mask=[True, True, True],
    )  # fmt: skip
    assert done.transcendentals == 0 < counted(lambda v: sqrt(v), torch.tensor(2.0))[1].transcendentals
