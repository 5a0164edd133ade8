"""Losses of scores of classes, as plain loops over numbers that count, and the memory that torch's kernels move."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from costmodel import formulas as f
from costmodel.quantities import Work
from tests.formulas.oracles import run
from tests.formulas.test_losses import log_softmax
from tests.ops._counting import Number, counted, exp, largest, log, total, values

REDUCTIONS = ("none", "mean", "sum")

torch.manual_seed(0)
SIZES: dict[str, tuple[int, ...]] = {"a row": (), "a sequence": (3,), "a map": (2, 3), "a volume": (2, 1, 3)}
WEIGHT = torch.rand(4) + 0.5


def scores(size: tuple[int, ...]) -> torch.Tensor:
    """Scores of 4 classes at each position of 5 samples."""
    return torch.rand(5, 4, *size)


def positions(x: torch.Tensor) -> torch.Tensor:
    """The scores of each position, in a row."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def summed(terms: list[Number], reduction: str, over: Any = None) -> Any:
    """The terms, their sum, or their mean."""
    if reduction == "none":
        return terms
    return total(terms) / (len(terms) if over is None else over) if reduction == "mean" else total(terms)


def of_targets(
    rows: Any, targets: list[int], weights: list[Number], reduction: str, weighted: bool
) -> Any:  # fmt: skip
    """Minus the targets' scores, weighted; the sum of weights is found where the terms are reduced."""
    terms = [-row[c] for row, c in zip(rows, targets, strict=True)]
    if not weighted:
        return summed(terms, reduction)
    own = [weights[c] for c in targets]
    terms = [term * w for term, w in zip(terms, own, strict=True)]
    return summed(terms, reduction, None if reduction == "none" else total(own))


def smoothed(
    loss: Any, rows: Any, targets: list[int], weights: list[Number], reduction: str, weighted: bool
) -> Any:  # fmt: skip
    """The loss, and that of a uniform distribution over the classes."""
    tally = weights[0].tally
    if weighted:
        rows = [[x * w for x, w in zip(row, weights, strict=True)] for row in rows]
    uniform = [-total(row) for row in rows]
    kept = [not Number(c, tally) < 0 for c in targets]  # a comparison with the index that is ignored
    uniform = [u if k else Number(0, tally) for u, k in zip(uniform, kept, strict=True)]
    over = None
    if reduction == "mean":
        over = total([weights[c] if weighted else Number(k, tally) for c, k in zip(targets, kept, strict=True)])
    uniform = summed(uniform, reduction, over)
    if reduction == "none":
        return [0.9 * a + (0.1 / 4) * b for a, b in zip(loss, uniform, strict=True)]
    return 0.9 * loss + (0.1 / 4) * uniform


def of_probabilities(
    rows: Any, targets: Any, weights: list[Number], reduction: str, weighted: bool, smooth: bool
) -> Any:  # fmt: skip
    """Minus the sum of the products of scores and probabilities; the mean is over positions, not classes."""
    sums = []
    for row, given in zip(rows, targets, strict=True):
        p = [t * 0.9 + 0.1 / 4 for t in given] if smooth else given
        terms = [x * t for x, t in zip(row, p, strict=True)]
        sums.append([term * w for term, w in zip(terms, weights, strict=True)] if weighted else terms)
    if reduction == "none":
        return [-total(terms) for terms in sums]
    whole = -total([term for terms in sums for term in terms])
    return whole / len(sums) if reduction == "mean" else whole


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_negative_log_likelihood(size: tuple[int, ...], reduction: str, weighted: bool) -> None:
    """Scores are looked up; weights are products, and their sum is a second result, of one element."""
    x = scores(size).log_softmax(1)
    target = torch.randint(4, (5, *size))
    result, done = counted(
        lambda rows, ws: of_targets(rows, target.flatten().tolist(), ws, reduction, weighted), positions(x), WEIGHT
    )
    real, kernels = run(nn.NLLLoss(weight=WEIGHT if weighted else None, reduction=reduction), x, target)
    torch.testing.assert_close(values(result).float().flatten(), real.flatten())
    cost = f.nll_loss(classes=4, batch=5, size=size, weight=weighted, reduction=reduction)
    assert cost.work == done
    assert cost.output_shape == tuple(real.shape)
    assert (cost.read, cost.written) == (kernels.read, kernels.written + 1)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_cross_entropy(
    size: tuple[int, ...], reduction: str, probabilities: bool, smooth: bool, weighted: bool
) -> None:
    """A log-softmax, and the loss of its scores, in the kernels that torch runs."""
    x = scores(size)
    target = scores(size).softmax(1) if probabilities else torch.randint(4, (5, *size))

    def loss(rows: Any, targets: Any, ws: list[Number]) -> Any:
        rows = [log_softmax(row) for row in rows]
        if probabilities:
            return of_probabilities(rows, targets, ws, reduction, weighted, smooth)
        classes = [int(row[0].value) for row in targets]
        plain = of_targets(rows, classes, ws, reduction, weighted)
        return smoothed(plain, rows, classes, ws, reduction, weighted) if smooth else plain

    given = positions(target) if probabilities else target.view(-1, 1)
    result, done = counted(loss, positions(x), given, WEIGHT)
    module = nn.CrossEntropyLoss(
        weight=WEIGHT if weighted else None, reduction=reduction, label_smoothing=0.1 if smooth else 0.0
    )
    real, kernels = run(module, x, target)
    torch.testing.assert_close(values(result).float().flatten(), real.flatten())
    cost = f.cross_entropy(
        classes=4, batch=5, size=size, probabilities=probabilities, weight=weighted,
        label_smoothing=0.1 if smooth else 0.0, reduction=reduction,
    )  # fmt: skip
    assert cost.work == done
    assert cost.output_shape == tuple(real.shape)
    read = kernels.read
    if smooth and weighted and not probabilities and reduction == "mean":
        read += target.numel() - 4  # of the weights each target's is looked up, and the oracle counts all
    assert (cost.read, cost.written) == (read, kernels.written + (not probabilities))


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
def test_scores_without_a_batch_are_those_of_one_sample(probabilities: bool, smooth: bool) -> None:
    """The same work, and no dimension of samples in what is returned."""
    options: dict[str, Any] = {"probabilities": probabilities, "label_smoothing": 0.1 if smooth else 0.0}
    alone = f.cross_entropy(classes=4, **options, reduction="none")
    of_one = f.cross_entropy(classes=4, batch=1, **options, reduction="none")
    assert (alone.work, alone.memory_access) == (of_one.work, of_one.memory_access)
    assert (alone.output_shape, of_one.output_shape) == ((), (1,))
    with pytest.raises(ValueError, match=r"size=\(3,\): scores without a batch dimension have no positions"):
        f.cross_entropy(classes=4, size=3)


@pytest.mark.parametrize("size", [(), (3,)])
@pytest.mark.parametrize("bias", [False, True])
def test_linear_cross_entropy_is_a_linear_layer_and_its_cross_entropy(size: tuple[int, ...], bias: bool) -> None:
    """Its parameters are the linear layer's, which has an output for each class and position."""
    at: dict[str, Any] = {"batch": 5, "size": size, "reduction": "sum"}
    cost = f.linear_cross_entropy(in_features=6, classes=4, bias=bias, **at)
    outputs = 4 * math.prod(size)
    layer = f.linear(in_features=6, out_features=outputs, rows=5, bias=bias)
    loss = f.cross_entropy(classes=4, **at)
    assert cost.params == outputs * (6 + bias)
    assert cost.work == layer.work + loss.work
    assert cost.memory_access == layer.memory_access + loss.memory_access


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_linear_cross_entropy_in_chunks(reduction: str, probabilities: bool, weighted: bool) -> None:
    """The log-sum-exp of each sample's scores, less its target's; their sums over all samples, which are never stored.

    Of probabilities: their sum times the logarithm, less the sum of the products.
    """
    x, w, b = torch.rand(5, 6), torch.rand(4, 6), torch.rand(4)
    target = torch.rand(5, 4).softmax(1) if probabilities else torch.randint(4, (5,))

    def loss(rows: Any, targets: Any, ws: list[Number], bias: list[Number]) -> Any:
        terms = []
        for row, given in zip(rows, targets, strict=True):
            logits = [x + b for x, b in zip(row, bias, strict=True)]
            m = largest(logits)
            shifted = [x - m for x in logits]
            norm = log(total([exp(x) for x in shifted]))
            if probabilities:
                p = [t * w for t, w in zip(given, ws, strict=True)] if weighted else given
                terms.append(total(p) * norm - total([t * x for t, x in zip(p, shifted, strict=True)]))
            else:
                c = int(given[0].value)
                terms.append((norm - shifted[c]) * ws[c] if weighted else norm - shifted[c])
        if probabilities or not weighted or reduction != "mean":
            return summed(terms, reduction)
        return total(terms) / total([ws[int(given[0].value)] for given in targets])

    given = target if probabilities else target.view(-1, 1)
    result, done = counted(loss, x @ w.T, given, WEIGHT, b)
    real = F.cross_entropy(F.linear(x, w, b), target, weight=WEIGHT if weighted else None, reduction=reduction)
    torch.testing.assert_close(values(result).float().flatten(), real.flatten())
    cost = f.linear_cross_entropy(
        in_features=6, classes=4, batch=5, bias=True, probabilities=probabilities, weight=weighted, chunked=True,
        reduction=reduction,
    )  # fmt: skip
    assert cost.work == done + Work(macs=5 * 6 * 4)
    given_elements = x.numel() + w.numel() + b.numel() + target.numel() + (4 if weighted else 0)
    assert cost.memory_access == given_elements + real.numel()
    with pytest.raises(ValueError, match="neither positions"):
        f.linear_cross_entropy(in_features=6, classes=4, batch=5, chunked=True, label_smoothing=0.1)


# -- connectionist temporal classification -----------------------------------------------------------------------------


def log_sum(states: list[Number]) -> Number:
    """The logarithm of a sum of exponentials, the greatest taken off first and put back."""
    m = largest(states)
    return log(total([exp(state - m) for state in states])) + m


def alignments(xs: Any, labels: list[int], steps: int) -> Number:
    """Minus the logarithm of all alignments' probability. A large negative number stands for what cannot be reached."""
    extended = [0, *(symbol for label in labels for symbol in (label, 0))]
    never = Number(-1e4, xs[0][0].tally)
    alpha = [xs[0][symbol] if s < 2 else never for s, symbol in enumerate(extended)]
    for t in range(1, steps):
        before = [never, never, *alpha]
        alpha = []
        for s, symbol in enumerate(extended):
            skips = symbol != 0 and s > 1 and extended[s - 2] != symbol
            alpha.append(log_sum([before[s + 2], before[s + 1], before[s] if skips else never]) + xs[t][symbol])
    return -(log_sum(alpha[-2:]) if labels else alpha[-1])


LABELS = [[1, 2, 2], [3], []]
STEPS = [7, 5, 6]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ctc(reduction: str, zero_infinity: bool, padded: bool) -> None:
    """Sequences of their own lengths; the mean divides each loss by its labels first, at least 1."""
    x = torch.randn(7, 3, 5).log_softmax(-1)
    counts = [len(labels) for labels in LABELS]
    if padded:
        targets = torch.tensor([labels + [0] * (3 - len(labels)) for labels in LABELS])
    else:
        targets = torch.tensor([label for labels in LABELS for label in labels])

    def loss(xs: Any) -> Any:
        tally = xs[0][0][0].tally
        terms = [alignments([step[i] for step in xs], LABELS[i], STEPS[i]) for i in range(3)]
        if zero_infinity:
            terms = [term if term < math.inf else Number(0, tally) for term in terms]
        if reduction == "mean":
            least = [Number(n, tally) for n in counts]
            terms = [term / (n if n > 1 else Number(1, tally)) for term, n in zip(terms, least, strict=True)]
        return summed(terms, reduction)

    result, done = counted(loss, x)
    module = nn.CTCLoss(reduction=reduction, zero_infinity=zero_infinity)
    real, kernels = run(module, x, targets, torch.tensor(STEPS), torch.tensor(counts))
    torch.testing.assert_close(values(result).float().flatten(), real.flatten(), rtol=1e-3, atol=1e-3)
    cost = f.ctc_loss(
        classes=5, steps=7, input_lengths=STEPS, target_lengths=counts, padded_to=3 if padded else None,
        lengths_in_tensors=True, zero_infinity=zero_infinity, reduction=reduction,
    )  # fmt: skip
    assert cost.work == done
    assert cost.output_shape == tuple(real.shape)
    alphas = 3 * 7 * (2 * 3 + 1)  # of all sequences and steps, as many states as the longest has
    assert (cost.read, cost.written) == (kernels.read, kernels.written + alphas)


def test_ctc_of_lists_reads_no_lengths() -> None:
    """Lengths that are lists are no tensors; the mean makes one of them, by no kernel."""
    at: dict[str, Any] = {"classes": 5, "steps": 7, "input_lengths": STEPS, "target_lengths": [3, 1, 0]}
    of_tensors, of_lists = (f.ctc_loss(**at, lengths_in_tensors=which) for which in (True, False))
    assert of_tensors.work == of_lists.work
    assert of_tensors.read - of_lists.read == 2 * 3


def test_ctc_lengths_are_one_each_per_sequence() -> None:
    """The error says how many of both there are; and a single sequence may have no batch dimension."""
    with pytest.raises(ValueError, match="2 input lengths and 1 target lengths: one each per sequence"):
        f.ctc_loss(classes=5, steps=7, input_lengths=[7, 7], target_lengths=[3])
    alone = f.ctc_loss(
        classes=5, steps=7, input_lengths=[7], target_lengths=[3], batched=False, reduction="none"
    )  # fmt: skip
    assert alone.output_shape == ()
