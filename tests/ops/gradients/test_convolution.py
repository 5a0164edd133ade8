"""Gradients of convolutions: their definitions as loops over numbers that count, whose results are torch's."""

from __future__ import annotations

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
from tests.ops._counting import counted, total


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
