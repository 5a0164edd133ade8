"""Gradients of distances: their definitions as loops over numbers that count, whose results are torch's."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
import torch

from costmodel.quantities import Work
from tests.ops._asking import work
from tests.ops._counting import Number, counted, values


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


def vars_of(work: Work) -> dict[str, int]:
    """The counts by their names."""
    return {field.name: getattr(work, field.name) for field in fields(Work)}
