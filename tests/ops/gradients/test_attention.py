"""Gradients of attention: their definitions as loops over numbers that count, whose results are torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from costmodel.quantities import Work
from tests.ops._asking import work
from tests.ops._counting import Number, counted, exp, total, values


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
