"""Losses as plain loops over numbers that count: the value is torch's, the arithmetic the formula's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from costmodel import formulas as f
from tests.formulas.oracles import run
from tests.ops._counting import Number, counted, exp, largest, log, power_norm, sqrt, total, values

Terms = Callable[..., list[Number]]
LOG_TWO_PI = math.log(2 * math.pi)


def floor(x: Number, least: float) -> Number:
    """The greater of a number and a limit."""
    return x if x > least else Number(least, x.tally)


def chosen(condition: bool, x: Number) -> Number:
    """A number, or 0 in its place."""
    return x if condition else Number(0, x.tally)


def log_sigmoid(x: Number) -> Number:
    """Minus log(1 + exp(-x))."""
    return -log(exp(-x) + 1)


def log_softmax(row: list[Number]) -> list[Number]:
    """The logarithms of exponentials over their sum."""
    m = largest(row)
    shifted = [x - m for x in row]
    norm = log(total([exp(x) for x in shifted]))
    return [x - norm for x in shifted]


def each(term: Callable[[Number, Number], Number]) -> Terms:
    """The term of each pair of numbers."""
    return lambda xs, ts: [term(x, t) for x, t in zip(xs, ts, strict=True)]


def smooth_l1(x: Number, t: Number) -> Number:
    """Both cases, of which one is taken."""
    d = abs(x - t)
    quadratic, linear = d * d * 0.5 / 0.3, d - 0.15
    return quadratic if d < 0.3 else linear


def huber(x: Number, t: Number) -> Number:
    """Both cases, of which one is taken."""
    d = abs(x - t)
    quadratic, linear = d * d * 0.5, 0.3 * (d - 0.15)
    return quadratic if d < 0.3 else linear


def hinge(x: Number, t: Number) -> Number:
    """Each case where the target says so, else 0, and their sum."""
    return chosen(t < 0, floor(1.0 - x, 0)) + chosen(t > 0, x)


def bce(x: Number, t: Number) -> Number:
    """Logarithms no less than -100."""
    return (t - 1) * floor((-x).of(math.log1p), -100) - t * floor(log(x), -100)


def poisson(full: bool, log_input: bool) -> Callable[[Number, Number], Number]:
    """The likelihood of a count, by a mean or its logarithm, with Stirling's approximation if it is all of it."""

    def term(x: Number, t: Number) -> Number:
        loss = exp(x) - t * x if log_input else x - t * log(x + 1e-8)
        if full:
            stirling = t * log(t) - t + log(2 * math.pi * t) * 0.5
            loss = loss + chosen(t > 1, stirling)
        return loss

    return term


def gaussian(full: bool) -> Terms:
    """A variance is checked, and held above 0, once for all that share it."""

    def terms(xs: list[list[Number]], ts: list[list[Number]], variances: list[list[Number]]) -> list[Number]:
        made = []
        for row, targets, (variance,) in zip(xs, ts, variances, strict=True):
            assert not variance < 0
            own = floor(variance, 1e-6)
            entropy = log(own)
            for x, t in zip(row, targets, strict=True):
                d = x - t
                loss = (entropy + d * d / own) * 0.5
                made.append(loss + 0.5 * LOG_TWO_PI if full else loss)
        return made

    return terms


def kl_div(x: Number, t: Number) -> Number:
    """t log t - t x."""
    return t * log(t) - t * x


def weighted_bce(logits: bool) -> Terms:
    """A term for each element, times its weight; of logits with the factor that a positive weight makes."""

    def terms(xs: Any, ts: Any, weights: list[Number], positive: list[Number]) -> list[Number]:
        less_one = [p - 1 for p in positive] if logits else []
        made = []
        for row, targets in zip(xs, ts, strict=True):
            for i, (x, t) in enumerate(zip(row, targets, strict=True)):
                loss = (1 - t) * x - (less_one[i] * t + 1) * log_sigmoid(x) if logits else bce(x, t)
                made.append(loss * weights[i])
        return made

    return terms


def ranking(xs: list[Number], ys: list[Number], ts: list[Number]) -> list[Number]:
    """Minus the target times the difference, and the margin, not below 0."""
    return [floor(-t * (x - y) + 0.2, 0) for x, y, t in zip(xs, ys, ts, strict=True)]


def cosine(xs: Any, ys: Any, ts: list[Number]) -> list[Number]:
    """Each case where the target says so, else 0, and their sum."""
    made = []
    for a, b, t in zip(xs, ys, ts, strict=True):
        dot = total([p * q for p, q in zip(a, b, strict=True)])
        norms = [total([p * p for p in v]) + 1e-8 for v in (a, b)]
        cos = dot / sqrt(norms[0] * norms[1])
        made.append(chosen(t > 0, 1 - cos) + chosen(t < 0, floor(cos - 0.1, 0)))
    return made


def triplet(p: float, swap: bool) -> Terms:
    """The distance to the like, less that to the unlike, and the margin, not below 0."""

    def distance(a: list[Number], b: list[Number]) -> Number:
        return power_norm([x - y + 1e-6 for x, y in zip(a, b, strict=True)], p)

    def terms(anchors: Any, alike: Any, apart: Any) -> list[Number]:
        made = []
        for a, same, other in zip(anchors, alike, apart, strict=True):
            near, far = distance(a, same), distance(a, other)
            if swap:
                third = distance(same, other)
                far = third if third < far else far
            made.append(floor(near + 1.0 - far, 0))
        return made

    return terms


def multi_margin(p: int, weighted: bool) -> Terms:
    """Each other class is held against the target's."""

    def terms(xs: Any, ts: list[Number], weights: list[Number]) -> list[Number]:
        made = []
        for row, target in zip(xs, ts, strict=True):
            c = int(target.value)
            pairs = []
            for i, x in enumerate(row):
                if i != c:
                    z = floor(1.0 - row[c] + x, 0)
                    z = z * z if p == 2 else z
                    pairs.append(z * weights[c] if weighted else z)
            made.append(total(pairs) / len(row))
        return made

    return terms


def multilabel_margin(xs: Any, ts: Any) -> list[Number]:
    """Each label is held against each class that is none."""
    made = []
    for row, targets in zip(xs, ts, strict=True):
        labels = [int(t.value) for t in targets if t.value >= 0]
        pairs = [floor(1.0 - row[j] + x, 0) for j in labels for i, x in enumerate(row) if i not in labels]
        made.append(total(pairs) / len(row))
    return made


def multilabel_soft_margin(weighted: bool) -> Terms:
    """Each class is a binary choice; the mean over classes is the term."""

    def terms(xs: Any, ts: Any, weights: list[Number]) -> list[Number]:
        made = []
        for row, targets in zip(xs, ts, strict=True):
            losses = [-(t * log_sigmoid(x) + (1 - t) * log_sigmoid(-x)) for x, t in zip(row, targets, strict=True)]
            losses = [loss * w for loss, w in zip(losses, weights, strict=True)] if weighted else losses
            made.append(total(losses) / len(row))
        return made

    return terms


@dataclass(frozen=True)
class Case:
    """A loss: how its terms come about, the module, the formula, and what both are given."""

    terms: Terms
    module: Callable[..., nn.Module]
    formula: Callable[..., f.LayerCost]
    given: tuple[torch.Tensor, ...]
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    kept: int = 0
    """Elements that its kernel writes besides the loss, which the oracle of kernels takes to be for a backward pass."""


torch.manual_seed(0)
X, T, PROBABILITIES = torch.rand(12) + 0.1, torch.rand(12) + 0.1, torch.rand(12) * 0.8 + 0.1
COUNTS = torch.tensor([0.5, 2, 1, 4, 3, 0.7])
SIGNS = torch.tensor([1.0, -1, -1, 1, 1, -1])
ROWS, OTHER_ROWS, THIRD_ROWS = torch.rand(4, 5) + 0.1, torch.rand(4, 5) + 0.1, torch.rand(4, 5) + 0.1
CLASSES, LABELS = torch.tensor([1, 4, 0, 2]), torch.tensor([[3, 1, -1, -1, -1], [0, 2, -1, -1, -1]] * 2)
W, POSITIVE = torch.rand(5) + 0.5, torch.rand(5) + 0.5


def elementwise(name: str, *given: torch.Tensor, **options: Any) -> Callable[..., f.LayerCost]:
    """The formula of a loss of the table."""
    return lambda reduction: f.elementwise_loss(name=name, shape=tuple(given[0].shape), reduction=reduction, **options)


CASES: dict[str, Case] = {
    "l1": Case(each(lambda x, t: abs(x - t)), nn.L1Loss, elementwise("l1", X), (X, T)),
    "mse": Case(each(lambda x, t: (lambda d: d * d)(x - t)), nn.MSELoss, elementwise("mse", X), (X, T)),
    "smooth l1": Case(
        each(smooth_l1), lambda reduction: nn.SmoothL1Loss(reduction=reduction, beta=0.3),
        elementwise("smooth_l1", X), (X, T),
    ),
    "huber": Case(
        each(huber), lambda reduction: nn.HuberLoss(reduction=reduction, delta=0.3), elementwise("huber", X), (X, T)
    ),
    "soft margin": Case(
        each(lambda x, t: log(exp(-(t * x)) + 1)), nn.SoftMarginLoss, elementwise("soft_margin", SIGNS),
        (COUNTS, SIGNS),
    ),
    "hinge embedding": Case(
        each(hinge), nn.HingeEmbeddingLoss, elementwise("hinge_embedding", SIGNS), (COUNTS, SIGNS)
    ),
    "kl div": Case(each(kl_div), nn.KLDivLoss, elementwise("kl_div", X), (X, PROBABILITIES)),
    "kl div of logarithms": Case(
        each(lambda x, t: exp(t) * (t - x)), lambda reduction: nn.KLDivLoss(reduction=reduction, log_target=True),
        elementwise("kl_div_log_target", X), (X, T),
    ),
    "bce": Case(
        each(bce), nn.BCELoss, lambda reduction: f.binary_cross_entropy(shape=12, reduction=reduction),
        (PROBABILITIES, T / 2),
    ),
    "bce with logits": Case(
        each(lambda x, t: (1 - t) * x - log_sigmoid(x)), nn.BCEWithLogitsLoss,
        lambda reduction: f.binary_cross_entropy(shape=12, logits=True, reduction=reduction), (X, T / 2),
    ),
    "bce, weighted": Case(
        weighted_bce(logits=False),
        lambda reduction: nn.BCELoss(weight=W, reduction=reduction),
        lambda reduction: f.binary_cross_entropy(shape=(4, 5), weight=5, reduction=reduction),
        (ROWS / 2, OTHER_ROWS / 2), {"weight": W, "pos_weight": POSITIVE},
    ),
    "bce with logits, weighted": Case(
        weighted_bce(logits=True),
        lambda reduction: nn.BCEWithLogitsLoss(weight=W, pos_weight=POSITIVE, reduction=reduction),
        lambda reduction: f.binary_cross_entropy(
            shape=(4, 5), logits=True, weight=5, pos_weight=5, reduction=reduction
        ),
        (ROWS, OTHER_ROWS / 2), {"weight": W, "pos_weight": POSITIVE},
    ),
    **{
        f"poisson, full {full}, logarithms {log_input}": Case(
            each(poisson(full, log_input)),
            lambda reduction, full=full, log_input=log_input: nn.PoissonNLLLoss(
                log_input=log_input, full=full, reduction=reduction
            ),
            lambda reduction, full=full, log_input=log_input: f.poisson_nll_loss(
                shape=6, log_input=log_input, full=full, reduction=reduction
            ),
            (COUNTS + 0.1, COUNTS),
        )
        for full in (False, True) for log_input in (False, True)
    },
    **{
        f"gaussian, full {full}": Case(
            gaussian(full),
            lambda reduction, full=full: nn.GaussianNLLLoss(full=full, reduction=reduction),
            lambda reduction, full=full: f.gaussian_nll_loss(
                shape=(4, 5), var=(4, 1), full=full, reduction=reduction
            ),
            (ROWS, OTHER_ROWS, THIRD_ROWS[:, :1].contiguous()),
        )
        for full in (False, True)
    },
    "margin ranking": Case(
        ranking, lambda reduction: nn.MarginRankingLoss(margin=0.2, reduction=reduction),
        lambda reduction: f.margin_ranking_loss(shape=6, reduction=reduction), (COUNTS, X[:6].clone(), SIGNS),
    ),
    "cosine embedding": Case(
        cosine, lambda reduction: nn.CosineEmbeddingLoss(margin=0.1, reduction=reduction),
        lambda reduction: f.cosine_embedding_loss(features=5, rows=4, reduction=reduction),
        (ROWS, OTHER_ROWS, SIGNS[:4].clone()),
    ),
    **{
        f"triplet, p {p}, swap {swap}": Case(
            triplet(p, swap),
            lambda reduction, p=p, swap=swap: nn.TripletMarginLoss(p=p, swap=swap, reduction=reduction),
            lambda reduction, p=p, swap=swap: f.triplet_margin_loss(
                features=5, rows=4, p=p, swap=swap, reduction=reduction
            ),
            (ROWS, OTHER_ROWS, THIRD_ROWS),
        )
        for p in (1.0, 2.0, 3.0, math.inf) for swap in (False, True)
    },
    **{
        f"multi margin, p {p}, weighted {weighted}": Case(
            multi_margin(p, weighted),
            lambda reduction, p=p, weighted=weighted: nn.MultiMarginLoss(
                p=p, weight=W if weighted else None, reduction=reduction
            ),
            lambda reduction, p=p, weighted=weighted: f.multi_margin_loss(
                classes=5, batch=4, p=p, weight=weighted, reduction=reduction
            ),
            (ROWS, CLASSES), {"weight": W},
        )
        for p in (1, 2) for weighted in (False, True)
    },
    "multi-label margin": Case(
        multilabel_margin, nn.MultiLabelMarginLoss,
        lambda reduction: f.multilabel_margin_loss(classes=5, batch=4, reduction=reduction), (ROWS, LABELS), kept=20,
    ),
    **{
        f"multi-label soft margin, weighted {weighted}": Case(
            multilabel_soft_margin(weighted),
            lambda reduction, weighted=weighted: nn.MultiLabelSoftMarginLoss(
                weight=W if weighted else None, reduction=reduction
            ),
            lambda reduction, weighted=weighted: f.multilabel_soft_margin_loss(
                classes=5, batch=4, weight=weighted, reduction=reduction
            ),
            (ROWS, OTHER_ROWS / 2), {"weight": W},
        )
        for weighted in (False, True)
    },
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:reduction. .mean. divides")  # torch says that KLDivLoss's mean will change
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", CASES)
def test_a_loss_costs_what_its_definition_does(name: str, reduction: str) -> None:
    """A term for each element, sample or pair, n - 1 additions for their sum, a division for their mean."""
    case = CASES[name]

    def loss(*given: Any) -> Any:
        terms = case.terms(*given)
        if reduction == "none":
            return terms
        return total(terms) / len(terms) if reduction == "mean" else total(terms)

    result, done = counted(loss, *case.given, *case.weights.values())
    real, kernels = run(case.module(reduction=reduction), *case.given)
    torch.testing.assert_close(values(result).flatten(), real.flatten().double(), rtol=1e-4, atol=1e-5)
    cost = case.formula(reduction=reduction)
    assert cost.work == done
    assert cost.output_shape == tuple(real.shape)
    assert (cost.read, cost.written) == (kernels.read, kernels.written + case.kept)
    assert cost.params == cost.macs == 0


def test_the_batch_mean_divides_the_sum_by_the_batch() -> None:
    """One division more than the sum, by a kernel that reads and writes a number; none of a number by itself."""
    sums, means = (f.elementwise_loss(name="kl_div", shape=(4, 5), reduction=r) for r in ("sum", "batchmean"))
    assert (means.flops, means.read, means.written) == (sums.flops + 1, sums.read + 1, sums.written + 1)
    module = nn.KLDivLoss(reduction="batchmean")
    real, kernels = run(module, ROWS, OTHER_ROWS)
    assert (means.read, means.written, means.output_shape) == (kernels.read, kernels.written, real.shape)
    alone = f.elementwise_loss(name="kl_div", shape=(), reduction="batchmean")
    assert alone.flops == f.elementwise_loss(name="kl_div", shape=(), reduction="sum").flops == 4


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("module", [
    nn.L1Loss(), nn.MSELoss(), nn.KLDivLoss(reduction="sum"), nn.KLDivLoss(reduction="sum", log_target=True),
    nn.HingeEmbeddingLoss(), nn.PoissonNLLLoss(), nn.PoissonNLLLoss(full=True, log_input=False), nn.GaussianNLLLoss(),
    nn.MarginRankingLoss(),
], ids=str)  # fmt: skip
@pytest.mark.parametrize(("shape", "target"), [((4, 5), (1, 5)), ((4, 1), (1, 5)), ((4, 1), (4, 5))])
def test_what_is_broadcast_is_read_once(module: nn.Module, shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    """Elements that a smaller tensor has are read once, and terms are as many as the larger shape has."""
    at: dict[str, Any] = {"shape": shape, "target": target}
    tensors = [torch.rand(shape) + 0.1, torch.rand(target) + 0.1]
    kind = type(module)
    if kind is nn.MarginRankingLoss:
        cost = f.margin_ranking_loss(**at)
        tensors.insert(1, torch.rand(shape))
    elif kind is nn.GaussianNLLLoss:
        cost = f.gaussian_nll_loss(**at)
        tensors.append(torch.rand(shape))
    elif isinstance(module, nn.PoissonNLLLoss):
        cost = f.poisson_nll_loss(**at, full=module.full, log_input=module.log_input)
    else:
        names = {nn.L1Loss: "l1", nn.MSELoss: "mse", nn.HingeEmbeddingLoss: "hinge_embedding"}
        name = names.get(kind, "kl_div_log_target" if getattr(module, "log_target", False) else "kl_div")
        cost = f.elementwise_loss(name=name, **at, reduction=str(module.reduction))
    _, kernels = run(module, *tensors)
    assert (cost.read, cost.written) == (kernels.read, kernels.written)


def test_sizes_that_do_not_fit_are_refused() -> None:
    """The error names both; and a word that no loss or reduction has is refused with those that there are."""
    with pytest.raises(ValueError, match="sizes 5, 4 along one axis do not broadcast"):
        f.elementwise_loss(name="mse", shape=(3, 5), target=4)
    with pytest.raises(ValueError, match="choose one of l1, mse, smooth_l1"):
        f.elementwise_loss(name="l2", shape=3)
    with pytest.raises(ValueError, match="reduction='batchmean' is unknown: choose one of none, mean, sum"):
        f.elementwise_loss(name="mse", shape=3, reduction="batchmean")
    with pytest.raises(ValueError, match="pos_weight is one of logits: pass logits=True"):
        f.binary_cross_entropy(shape=3, pos_weight=3)
    with pytest.raises(ValueError, match="p=0: a norm of an order above 0"):
        f.triplet_margin_loss(features=3, p=0)


@pytest.mark.parametrize("classes", [1, 2])
def test_few_classes_make_no_negative_count(classes: int) -> None:
    """One class has no pair to be held against; two have one, whose sum is no addition."""
    pair = 3 * (classes - 1)
    assert f.multi_margin_loss(classes=classes, batch=3, reduction="none").flops == 3 * (pair + 1)
    assert f.multilabel_margin_loss(classes=classes, batch=3, reduction="none").flops == 3 * (pair + 1)
