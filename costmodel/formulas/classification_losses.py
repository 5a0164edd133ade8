"""Losses of scores of classes: negative log-likelihood, cross entropy, and connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from costmodel.formulas._arguments import as_shape, positive_part, public, require
from costmodel.formulas._kernels import Kernels, Shape, require_reduction, shapes_of
from costmodel.formulas.activation import softmax
from costmodel.formulas.cost import LayerCost
from costmodel.formulas.linear import linear
from costmodel.quantities import Count, Work, prod

_ADD, _MULTIPLY, _DIVIDE = Work(adds=1), Work(multiplies=1), Work(divides=1)
_COMPARE = Work(compares=1)


def _scores(classes: Count, batch: Sequence[Count] | Count, size: Sequence[Count] | Count) -> tuple[Shape, Shape]:
    """The shapes of scores (batch, classes, *size) and of one value for each of their positions."""
    require(classes=classes)
    n, positions = shapes_of(batch=batch, size=size)
    if positions and not n:
        raise ValueError(f"size={positions}: scores without a batch dimension have no positions")
    return (*n, classes, *positions), (*n, *positions)


def _nll(k: Kernels, scores: Shape, targets: Shape, weights: Sequence[Shape], reduction: str) -> Shape:
    # The sum of weights is a second result of the kernel, whatever the reduction.
    n = prod(targets)
    work = Work()
    if weights:
        work = Work(multiplies=n) if reduction == "none" else Work(multiplies=n, adds=n - 1)
    k.run(read=0, written=1)
    return k.loss(scores, targets, *weights, terms=targets, work=work, reduction=reduction)


@public
def nll_loss(
    *,
    classes: Count,
    batch: Sequence[Count] | Count = (),
    size: Sequence[Count] | Count = (),
    weight: bool = False,
    reduction: str = "mean",
) -> LayerCost:
    """Minus the log-probability of each target's class, looked up; weighted where classes have weights.

    flops = N - 1 for a sum, N for a mean, 0 for none, of N = batch prod(size) targets; with weights N products, and
    N - 1 for their sum where the terms are reduced
    memory_access = scores + targets + weights + y + 1: one kernel, whose second result is the sum of weights

    Scores are (batch, classes, *size); ``batch`` is ``()`` where they have no batch dimension.
    Source: torch.nn.NLLLoss.

    >>> nll_loss(classes=4, batch=15).memory_access  # 60 + 15 + 1 + 1
    77
    """
    require_reduction(reduction)
    scores, targets = _scores(classes, batch, size)
    k = Kernels()
    return k.cost(_nll(k, scores, targets, [(classes,)] if weight else [], reduction))


@public
def cross_entropy(
    *,
    classes: Count,
    batch: Sequence[Count] | Count = (),
    size: Sequence[Count] | Count = (),
    probabilities: bool = False,
    weight: bool = False,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> LayerCost:
    """Log-softmax over the classes, and the negative log-likelihood of class indices or of probabilities.

    flops = N (5 C - 1) for the log-softmax of N positions of C classes, and N for the mean of the targets' scores
    flops = N (5 C - 1), and 2 N C for the products with probabilities and the mean of their sums
    memory_access = 3 N C + N + 2 of indices, 6 N C + 5 of probabilities, for a mean without weights

    Weights cost what they cost in nll_loss; with probabilities, N C multiplications more. Label smoothing by e replaces
    each probability p by p (1 - e) + e / C, which takes 2 N C operations. With class indices, it replaces the loss by
    (1 - e) loss + e / C s: s is the mean over targets, without ignored ones, of minus the weighted sum of all scores.
    Scores are (batch, classes, *size); ``batch`` is ``()`` where they have no batch dimension.
    Source: torch.nn.CrossEntropyLoss; label smoothing Szegedy et al., arXiv:1512.00567, section 7.

    >>> cross_entropy(classes=3, batch=2).flops  # log-softmax: 2 rows of 2 + 3 + 2 + 3 + 3 + 1; and 1 + 1
    30
    """
    require_reduction(reduction)
    scores, targets = _scores(classes, batch, size)
    k = Kernels()
    axis = len(as_shape(batch))
    logs = k.add(softmax(shape=scores, dim=axis, log=True))
    weights: list[Shape] = [(classes,)] if weight else []
    over = (classes, *(1 for _ in targets[axis:]))  # weights lie along the classes
    smooth = bool(label_smoothing)
    if probabilities:
        p = k.each(k.each(scores, work=_MULTIPLY), work=_ADD) if smooth else scores
        terms = k.each(logs, p, work=_MULTIPLY)
        if weight:
            terms = k.each(terms, over, work=_MULTIPLY)
        if reduction == "none":
            return k.cost(k.each(k.total(terms, axis=axis)))
        loss = k.each(k.total(terms))
        return k.cost(k.each(loss, work=_DIVIDE) if reduction == "mean" else loss)
    loss = _nll(k, logs, targets, weights, reduction)
    if smooth:
        uniform = _uniform(k, k.each(logs, over, work=_MULTIPLY) if weight else logs, targets, weights, reduction, axis)
        loss = k.each(k.each(loss, work=_MULTIPLY), k.each(uniform, work=_MULTIPLY), work=_ADD)
    return k.cost(loss)


def _uniform(
    k: Kernels, logs: Shape, targets: Shape, weights: Sequence[Shape], reduction: str, axis: int
) -> Shape:  # fmt: skip
    """The loss of a uniform distribution, of which label smoothing takes its part."""
    loss = k.each(k.total(logs, axis=axis))
    ignored = k.each(targets, work=_COMPARE)
    loss = k.each(loss, ignored)
    if reduction != "mean":
        return k.reduced(loss, reduction)
    if weights:
        # The mean is over the targets' weights: targets that are ignored become class 0, and their weights 0.
        kept = k.each(targets, ignored)
        count = k.each(k.each(kept, targets), ignored)
    else:
        count = k.each(ignored)
    return k.each(k.total(loss), k.total(count), work=_DIVIDE)


@public
def linear_cross_entropy(
    *,
    in_features: Count,
    classes: Count,
    batch: Sequence[Count] | Count = (),
    size: Sequence[Count] | Count = (),
    bias: bool = False,
    probabilities: bool = False,
    weight: bool = False,
    label_smoothing: float = 0.0,
    chunked: bool = False,
    reduction: str = "mean",
) -> LayerCost:
    """A linear layer whose outputs are scores of classes, (batch, classes, *size), and their cross entropy.

    params = (in_features + bias) classes prod(size)
    macs = batch in_features classes prod(size)
    memory_access = that of linear and of cross_entropy; chunked: x + w + bias + targets + weights + y

    Chunked, it is one kernel that never stores all scores: of each sample, the log-sum-exp of C scores (C - 1
    comparisons, 2 C - 1 additions, C + 1 functions), less the score of the target; of probabilities, that times their
    sum (C - 1 additions, a product), less the sum of the products of probabilities and scores.
    Source: torch.nn.LinearCrossEntropyLoss; Wijmans et al., Cut Your Losses, arXiv:2411.09009.

    >>> linear_cross_entropy(in_features=5, classes=4, batch=8).memory_access  # 40 + 20 + 32 and 3 * 32 + 8 + 2
    198
    >>> linear_cross_entropy(in_features=5, classes=4, batch=8, chunked=True).memory_access  # 40 + 20 + 8 + 1
    69
    """
    require_reduction(reduction)
    scores, targets = _scores(classes, batch, size)
    outputs = classes * prod(as_shape(size))
    layer = linear(in_features=in_features, out_features=outputs, bias=bias, rows=as_shape(batch))
    if not chunked:
        loss = cross_entropy(
            classes=classes, batch=batch, size=size, probabilities=probabilities, weight=weight,
            label_smoothing=label_smoothing, reduction=reduction,
        )  # fmt: skip
        return replace(layer + loss, kind="linear", params=layer.params)
    if as_shape(size) or label_smoothing:
        raise ValueError("chunked=True: such a kernel has neither positions (size) nor label smoothing")
    n = prod(targets)
    sample = Work(compares=classes - 1, adds=2 * classes - 1, transcendentals=classes + 1)
    if probabilities:
        sample = sample + Work(adds=2 * (classes - 1), multiplies=classes + 1)
        weighted = Work(multiplies=classes if weight else 0)
    else:
        weighted = Work(multiplies=1 if weight else 0)
    work = layer.work + (sample + _ADD + weighted).times(n)
    if weight and not probabilities and reduction == "mean":
        work = work + Work(adds=n - 1)  # the mean is over the targets' weights
    k = Kernels()
    parameters = [(layer.params,), *([(classes,)] if weight else [])]
    given = scores if probabilities else targets
    loss_shape = k.loss((*targets, in_features), given, *parameters, terms=targets, work=work, reduction=reduction)
    return replace(k.cost(loss_shape), kind="linear", params=layer.params)


def _greatest(counts: Sequence[Count]) -> Count:
    """The greatest of some counts, as arithmetic."""
    greatest = counts[0]
    for count in counts[1:]:
        greatest = greatest + positive_part(count - greatest)
    return greatest


@public
def ctc_loss(
    *,
    classes: Count,
    steps: Count,
    input_lengths: Sequence[Count],
    target_lengths: Sequence[Count],
    padded_to: Count | None = None,
    lengths_in_tensors: bool = False,
    batched: bool = True,
    zero_infinity: bool = False,
    reduction: str = "mean",
) -> LayerCost:
    """Connectionist temporal classification: the probability of all alignments of a sequence, by logarithms.

    A sequence of T steps and S labels has 2 S + 1 states: its labels, and a blank around each.

    flops = sum of (T - 1) (2 S + 1) 13 + 8 over the sequences: a state joins three before it
    memory_access = batch steps classes + targets + batch + batch steps (2 max(S) + 1)

    A state is 3 exponentials of differences from the greatest (2 comparisons), their logarithm, 2 + 1 + 1 additions for
    their sum, the greatest and the symbol's own; at the end, if there are labels, two states are joined: 8 operations.
    Kernels besides: the mean divides each loss by its labels, at least 1 (2 batch); a loss that is infinite is 0 with
    ``zero_infinity``. Targets lie one after the other, or in rows of ``padded_to``.
    Source: Graves et al., ICML 2006, section 4.1, equations 6 to 8; torch.nn.CTCLoss.

    >>> ctc_loss(classes=5, steps=6, input_lengths=(6, 5), target_lengths=(3, 2), reduction="none").flops
    731
    """
    require_reduction(reduction)
    require(classes=classes, steps=steps)
    require(least=0, input_lengths=tuple(input_lengths), target_lengths=tuple(target_lengths))
    batch = len(input_lengths)
    if len(target_lengths) != batch or not batch:
        raise ValueError(f"{batch} input lengths and {len(target_lengths)} target lengths: one each per sequence")
    state = Work(compares=2, adds=3 + 2 + 1 + 1, transcendentals=4)
    last = Work(compares=1, adds=2 + 1 + 1, transcendentals=3)
    work = Work()
    for t, s in zip(input_lengths, target_lengths, strict=True):
        if not (isinstance(t, int) and t == 0):
            work = work + state.times((t - 1) * (2 * s + 1))
        if not (isinstance(s, int) and s == 0):
            work = work + last
    k = Kernels()
    labels = sum(target_lengths) if padded_to is None else batch * padded_to
    lengths = 2 * batch if lengths_in_tensors else 0
    alphas = batch * steps * (2 * _greatest(target_lengths) + 1)
    k.run(read=batch * steps * classes + labels + lengths, written=batch + alphas, work=work)
    losses: Shape = (batch,)
    if zero_infinity:
        zero, infinite = k.made(()), k.each(losses, work=_COMPARE)
        losses = k.each(infinite, zero, losses)
    if reduction == "mean":
        losses = k.each(losses, k.each((batch,), work=_COMPARE), work=_DIVIDE)
    loss = k.reduced(losses, reduction)
    return k.cost(loss if batched else ())
