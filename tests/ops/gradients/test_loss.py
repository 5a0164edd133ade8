"""Gradients of losses: their definitions as loops over numbers that count, whose results are torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from costmodel.quantities import Work
from tests.ops._asking import traffic, work
from tests.ops._counting import Number, counted, exp, values
from tests.ops.gradients._tensors import G, P

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
