"""Each loss as plain loops over numbers that count: the result is torch's, and the arithmetic the rule's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from costmodel.graph import OpCall, TensorSpec
from costmodel.ops import RULES
from costmodel.quantities import Work
from tests.ops._asking import work
from tests.ops._counting import Number, counted, exp, largest, log, total, values

F = torch.nn.functional
NONE, MEAN, SUM = 0, 1, 2


def both_cases(condition: bool, yes: Number, no: Number) -> Number:
    """One of two results that were both computed."""
    return yes if condition else no


def log_sigmoid(x: Number) -> Number:
    """Minus log(1 + exp(-x))."""
    return -log(exp(-x) + 1)


def mse(x: Number, t: Number) -> Number:
    """The squared difference."""
    d = x - t
    return d * d


def smooth_l1(beta: float) -> Callable[[Number, Number], Number]:
    """Quadratic near 0, linear beyond."""

    def term(x: Number, t: Number) -> Number:
        d = abs(x - t)
        return both_cases(d < beta, d * d * (1 / 2) / beta, d - beta / 2)

    return term


def huber(delta: float) -> Callable[[Number, Number], Number]:
    """Quadratic near 0, linear beyond."""

    def term(x: Number, t: Number) -> Number:
        d = abs(x - t)
        return both_cases(d < delta, d * d * (1 / 2), delta * (d - delta / 2))

    return term


def soft_margin(x: Number, t: Number) -> Number:
    """log(1 + exp(-t x))."""
    return log(exp(-(t * x)) + 1)


def bce(x: Number, t: Number) -> Number:
    """Binary cross entropy, logarithms no less than -100."""
    one_less, own = (-x).of(math.log1p), log(x)
    one_less = Number(-100, x.tally) if one_less < -100 else one_less
    own = Number(-100, x.tally) if own < -100 else own
    return (t - 1) * one_less - t * own


def bce_with_logits(x: Number, t: Number) -> Number:
    """Binary cross entropy of logits."""
    return (1 - t) * x - log_sigmoid(x)


TERMS: list[tuple[str, Callable[[Number, Number], Number], dict[str, Any]]] = [
    ("mse_loss", mse, {}),
    ("smooth_l1_loss", smooth_l1(0.3), {"beta": 0.3}),
    ("smooth_l1_loss", lambda x, t: abs(x - t), {"beta": 0.0}),
    ("huber_loss", huber(0.3), {"delta": 0.3}),
    ("soft_margin_loss", soft_margin, {}),
    ("binary_cross_entropy", bce, {}),
    ("binary_cross_entropy_with_logits", bce_with_logits, {}),
]


@pytest.mark.parametrize("reduction", [NONE, MEAN, SUM])
@pytest.mark.parametrize(("name", "term", "options"), TERMS)
def test_elementwise_losses(
    name: str, term: Callable[[Number, Number], Number], options: dict[str, Any], reduction: int
) -> None:
    """A term for each element, and n - 1 additions for their sum, and a division for their mean."""
    torch.manual_seed(0)
    x, t = torch.rand(7), torch.rand(7)

    def loss(xs: list[Number], ts: list[Number]) -> Any:
        terms = [term(a, b) for a, b in zip(xs, ts, strict=True)]
        if reduction == NONE:
            return terms
        return total(terms) / 7 if reduction == MEAN else total(terms)

    result, done = counted(loss, x, t)
    real = getattr(torch.ops.aten, name).default(x, t, reduction=reduction, **options)
    torch.testing.assert_close(values(result).float(), real)
    assert done == work(f"aten.{name}.default", self=x, target=t, reduction=reduction, **options)


def test_cross_entropies_with_weights() -> None:
    """A weight multiplies each term; a positive weight w makes ((w - 1) t + 1) of the logarithm's factor 1."""
    torch.manual_seed(0)
    x, t, weight, positive = torch.rand(2, 3), torch.rand(2, 3), torch.rand(2, 3), torch.rand(3)

    def weighted(xs: Any, ts: Any, ws: Any) -> Any:
        return [[bce(*item[:2]) * item[2] for item in zip(*rows, strict=True)] for rows in zip(xs, ts, ws, strict=True)]

    result, done = counted(weighted, x, t, weight)
    torch.testing.assert_close(values(result).float(), F.binary_cross_entropy(x, t, weight, reduction="none"))
    assert done == work("aten.binary_cross_entropy.default", self=x, target=t, weight=weight, reduction=NONE)

    def of_logits(xs: Any, ts: Any, ps: Any) -> Any:
        less_one = [p - 1 for p in ps]
        return [
            [(1 - b) * a - (q * b + 1) * log_sigmoid(a) for a, b, q in zip(row, targets, less_one, strict=True)]
            for row, targets in zip(xs, ts, strict=True)
        ]

    result, done = counted(of_logits, x, t, positive)
    real = F.binary_cross_entropy_with_logits(x, t, pos_weight=positive, reduction="none")
    torch.testing.assert_close(values(result).float(), real)
    arguments = {"self": x, "target": t, "pos_weight": positive, "reduction": NONE}
    assert done == work("aten.binary_cross_entropy_with_logits.default", **arguments)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", [NONE, MEAN, SUM])
def test_negative_log_likelihood(reduction: int, weighted: bool) -> None:
    """Scores are looked up; with weights each is multiplied, and the weights are added up for the mean."""
    torch.manual_seed(0)
    x, weight = torch.rand(4, 5), torch.rand(5)
    target = torch.tensor([3, 0, 0, 4])

    def loss(xs: Any, ws: Any) -> Any:
        terms = [-xs[i][c] for i, c in enumerate(target.tolist())]
        if weighted:
            terms = [term * ws[c] for term, c in zip(terms, target.tolist(), strict=True)]
        if reduction == NONE:
            return terms
        over: Any = total([ws[c] for c in target.tolist()]) if weighted else 4
        return total(terms) / over if reduction == MEAN else total(terms)

    result, done = counted(loss, x, weight)
    arguments = {"self": x, "target": target, "weight": weight if weighted else None, "reduction": reduction}
    real = torch.ops.aten.nll_loss_forward(*arguments.values(), -100)[0]
    torch.testing.assert_close(values(result).float(), real)
    assert done == work("aten.nll_loss_forward.default", **arguments, ignore_index=-100)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_multi_margin(p: int, weighted: bool) -> None:
    """Each class but the target's own gives a term of its sample's sum, which is divided by the number of classes."""
    torch.manual_seed(0)
    x, weight, target = torch.rand(3, 4), torch.rand(4), torch.tensor([1, 3, 0])

    def loss(xs: Any, ws: Any) -> Any:
        samples = []
        for row, c in zip(xs, target.tolist(), strict=True):
            terms = []
            for i, score in enumerate(row):
                if i != c:
                    z = 1.0 - row[c] + score
                    z = z if z > 0 else Number(0, z.tally)
                    z = z * z if p == 2 else z
                    terms.append(z * ws[c] if weighted else z)
            samples.append(total(terms) / 4)
        return total(samples) / 3

    result, done = counted(loss, x, weight)
    given = weight if weighted else None
    torch.testing.assert_close(values(result).float(), F.multi_margin_loss(x, target, p, weight=given))
    arguments = {"self": x, "target": target, "p": p, "margin": 1, "weight": given, "reduction": MEAN}
    assert done == work("aten.multi_margin_loss.default", **arguments)


@pytest.mark.parametrize("classes", [4, 5])
def test_multilabel_margin(classes: int) -> None:
    """A term for each pair of a label and a class that is none: most where half of the classes are labels."""
    torch.manual_seed(0)
    x = torch.rand(2, classes)
    labels = classes // 2
    target = torch.full((2, classes), -1)
    target[:, :labels] = torch.arange(labels)

    def loss(xs: Any) -> Any:
        samples = []
        for row in xs:
            terms = []
            for label in row[:labels]:
                for other in row[labels:]:
                    z = 1.0 - label + other
                    terms.append(z if z > 0 else Number(0, z.tally))
            samples.append(total(terms) / classes)
        return total(samples) / 2

    result, done = counted(loss, x)
    torch.testing.assert_close(values(result).float(), F.multilabel_margin_loss(x, target))
    assert done == work("aten.multilabel_margin_loss_forward.default", self=x, target=target, reduction=MEAN)


def log_sum(states: list[Number]) -> Number:
    """log(sum(exp)), the greatest taken off first and put back."""
    m = largest(states)
    if m.value == -math.inf:  # then nothing is reached: the arithmetic is the same, its result is not a number
        for state in states:
            exp(Number(0, m.tally)) if state is m else exp(state - Number(0, m.tally))
    shift = Number(0.0, m.tally) if m.value == -math.inf else m
    return log(total([exp(state - shift) for state in states])) + shift


def test_ctc() -> None:
    """Each further step joins three states before, of 2 S + 1, and adds a symbol's logarithm; two states may end."""
    torch.manual_seed(0)
    x = torch.randn(6, 1, 5).log_softmax(-1)
    labels = [1, 2, 3]
    extended = [0, 1, 0, 2, 0, 3, 0]

    def loss(xs: Any) -> Any:
        # A large negative number stands for minus infinity, so that every state costs the same.
        tally = xs[0][0][0].tally
        never = Number(-1e4, tally)
        alpha = [xs[0][0][0], xs[0][0][1], *[never] * 5]
        for t in range(1, 6):
            before = [never, never, *alpha]
            alpha = []
            for s, symbol in enumerate(extended):
                skips = symbol != 0 and s > 1 and extended[s - 2] != symbol
                alpha.append(log_sum([before[s + 2], before[s + 1], before[s] if skips else never]) + xs[t][0][symbol])
        return [-log_sum(alpha[-2:])]

    result, done = counted(loss, x)
    real = torch.ops.aten._ctc_loss(x, torch.tensor([labels]), [6], [3])[0]
    torch.testing.assert_close(values(result).float(), real, rtol=1e-4, atol=1e-4)
    arguments = {"log_probs": x, "targets": torch.tensor([labels]), "input_lengths": [6], "target_lengths": [3]}
    assert done == work("aten._ctc_loss.default", **arguments)


def test_ctc_of_lengths_in_tensors_depends_on_their_values() -> None:
    """Each sequence has its own steps and labels; without values none is counted, and the rule says so."""
    rule = RULES["aten._ctc_loss.Tensor"]
    lengths = {"input_lengths": torch.tensor([6, 5, 0]), "target_lengths": torch.tensor([3, 0, 2])}
    assert rule.observe is not None
    assert rule.observe(lengths) == {"states": 5 * 7 + 4 * 1, "labelled": 2}
    x, spec = TensorSpec((6, 3, 5)), TensorSpec((3,), "int64")
    given = {"log_probs": x, "targets": TensorSpec((5,), "int64"), "input_lengths": spec, "target_lengths": spec}
    known = OpCall("aten._ctc_loss.Tensor", {**given, "observed": rule.observe(lengths)}, ())
    unknown = OpCall("aten._ctc_loss.Tensor", given, ())
    assert rule.bound_because is not None
    assert rule.bound_because(known) is None
    assert "depends on the values of the lengths; none is counted" in str(rule.bound_because(unknown))
    assert rule.work(unknown) == Work()
    assert rule.work(known) == Work(compares=39 * 2 + 2, adds=39 * 7 + 2 * 4, transcendentals=39 * 4 + 2 * 3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_linear_cross_entropy_chunk_by_chunk(reduction: str, probabilities: bool, weighted: bool) -> None:
    """A linear layer and a cross entropy: of indices or of probabilities, whose sum multiplies the log-sum-exp."""
    torch.manual_seed(0)
    logits, weight, target = torch.rand(3, 4), torch.rand(4), torch.rand(3, 4).softmax(1)
    classes = [2, 0, 3]

    def loss(rows: Any, targets: Any, ws: Any) -> Any:
        terms = []
        for row, t, c in zip(rows, targets, classes, strict=True):
            m = largest(row)
            shifted = [x - m for x in row]
            norm = log(total([exp(x) for x in shifted]))
            if probabilities:
                p = [a * w for a, w in zip(t, ws, strict=True)] if weighted else t
                terms.append(total(p) * norm - total([a * x for a, x in zip(p, shifted, strict=True)]))
            else:
                terms.append((norm - shifted[c]) * ws[c] if weighted else norm - shifted[c])
        if reduction == "none":
            return terms
        over: Any = total([ws[c] for c in classes]) if weighted and not probabilities and reduction == "mean" else 3
        return total(terms) / over if reduction == "mean" else total(terms)

    result, done = counted(loss, logits, target, weight)
    given, ws = target if probabilities else torch.tensor(classes), weight if weighted else None
    real = F.cross_entropy(logits, given, weight=ws, reduction=reduction)
    torch.testing.assert_close(values(result).float(), real)
    args = {
        "input": TensorSpec((3, 6)), "linear_weight": TensorSpec((4, 6)), "linear_bias": None,
        "target": TensorSpec((3, 4)) if probabilities else TensorSpec((3,), "int64"),
        "weight": TensorSpec((4,)) if weighted else None, "reduction": reduction, "compute_input_grad": False,
        "compute_linear_weight_grad": False, "compute_linear_bias_grad": False,
    }  # fmt: skip
    name = "torch_nn._linear_cross_entropy_batch_chunked"
    name = f"{name}_no_reduction.default" if reduction == "none" else f"{name}.default"
    assert RULES[name].work(OpCall(name, args, ())) == done + Work(macs=3 * 6 * 4)
