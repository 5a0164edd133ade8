"""Gradients of sampling by a grid: their definitions as loops over numbers that count, whose results are torch's."""

from __future__ import annotations

import math
from typing import Any

import torch

from tests.ops._asking import work
from tests.ops._counting import Number, counted, total, value_of, values


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
