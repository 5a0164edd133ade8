"""Losses of scores of classes: negative log-likelihood, cross entropy, and connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from costmodel.formulas import _functions as fn
from costmodel.formulas._arguments import as_shape, positive_part, public, require
from costmodel.formulas._functions import ADD, COMPARE, DIVIDE, MULTIPLY
from costmodel.formulas._kernels import Kernels, Shape, require_reduction, shapes_of, sum_of
from costmodel.formulas._tape import Tape, Tensor, defined
from costmodel.formulas.activations import softmax
from costmodel.formulas.cost import NO_WORK, LayerCost
from costmodel.formulas.gradient import BackwardCost, Needs
from costmodel.formulas.products import linear
from costmodel.quantities import Count, Work, prod

_INT64 = 8
"""Bytes of the index of a class."""


def _scores(classes: Count, batch: Sequence[Count] | Count, size: Sequence[Count] | Count) -> tuple[Shape, Shape]:
    """The shapes of scores (batch, classes, *size) and of one value for each of their positions."""
    require(classes=classes)
    n, positions = shapes_of(batch=batch, size=size)
    if positions and not n:
        raise ValueError(f"size={positions}: scores without a batch dimension have no positions")
    return (*n, classes, *positions), (*n, *positions)


def _nll(k: Tape, scores: Tensor, targets: Tensor, weights: Sequence[Tensor], reduction: str) -> Tensor:
    # The sum of weights is a second result of the kernel, whatever the reduction.
    n, mean = targets.size, reduction == "mean"
    work = MULTIPLY.times(n) if weights else NO_WORK
    sum_of_weights = k.make((), "sum of weights")
    y = k.make(targets.shape if reduction == "none" else (), "loss", scores)
    if reduction != "none":
        work = work + sum_of(n, mean=mean) + (Work(adds=n - 1) if weights else NO_WORK)
    k.run(read=sum(x.stored for x in (scores, targets, *weights)), written=y.size + 1, work=work)
    # -w g at the target of each, over the sum of weights in a mean; zeros elsewhere.
    term = (DIVIDE if mean else NO_WORK) + (MULTIPLY if weights else NO_WORK)
    given = sum(x.stored for x in (targets, *weights)) + (1 if mean else 0)

    def back(g: Count) -> None:
        k.run(read=g + given, written=scores.size, work=term.times(n))
        k.give(scores, scores.size, scores.shape)

    k.back(y, scores, back, keeps=(scores, targets, *weights, sum_of_weights))
    return y


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
    backward: -w g at the target of each position, over the sum of weights in a mean, and zeros elsewhere
    saved: scores, targets and the sum of weights
    Source: torch.nn.NLLLoss.

    >>> nll_loss(classes=4, batch=15).memory_access  # 60 + 15 + 1 + 1
    77
    """
    require_reduction(reduction)
    scores, targets = _scores(classes, batch, size)
    return defined(_nll_loss, scores, targets, classes, weight, reduction)


def _nll_loss(k: Tape, scores: Shape, targets: Shape, classes: Count, weight: bool, reduction: str) -> Tensor:
    weights = [k.buffer(classes)] if weight else []
    return _nll(k, k.input(scores, 0), k.input(targets, 1, itemsize=_INT64), weights, reduction)


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
    backward: that of nll_loss, then g - exp(y) sum(g) of each position's log-softmax y; of probabilities, the
    derivatives of their products with y
    saved: y, the targets (the probabilities, smoothed, for the gradient of y, and y for theirs), the sum of weights
    Source: torch.nn.CrossEntropyLoss; label smoothing Szegedy et al., arXiv:1512.00567, section 7.

    >>> cross_entropy(classes=3, batch=2).flops  # log-softmax: 2 rows of 2 + 3 + 2 + 3 + 3 + 1; and 1 + 1
    30
    """
    require_reduction(reduction)
    scores, targets = _scores(classes, batch, size)
    axis = len(as_shape(batch))
    if probabilities:
        return defined(_of_probabilities, scores, axis, weight, bool(label_smoothing), reduction)
    return defined(_of_indices, scores, targets, axis, weight, bool(label_smoothing), reduction)


def _log_softmax(k: Tape, x: Tensor, axis: int) -> Tensor:
    layer = softmax(shape=x.shape, dim=axis, log=True)
    y = k.make(x.shape, "log-softmax", x)
    k.run(read=layer.read, written=layer.written, work=layer.work)
    slopes = layer.backward()

    def back(g: Count) -> None:
        k.run(read=g + y.size, written=x.size, work=slopes.work)
        k.give(x, x.size, x.shape)

    k.back(y, x, back, keeps=(y,))
    return y


def _weights(k: Tape, scores: Shape, axis: int) -> Tensor:
    """A weight for each class, along the axis of classes."""
    return k.buffer(scores[axis], *(1 for _ in scores[axis + 1 :]))


def _of_probabilities(k: Tape, shape: Shape, axis: int, weight: bool, smooth: bool, reduction: str) -> Tensor:
    p = k.input(shape, 1)
    logs = _log_softmax(k, k.input(shape, 0), axis)
    if smooth:
        p = fn.plus_number(k, fn.times_number(k, p))
    terms = fn.multiply(k, logs, p)
    if weight:
        terms = fn.multiply(k, terms, _weights(k, shape, axis))
    if reduction == "none":
        return fn.minus_from_number(k, fn.total(k, terms, axis=axis), work=NO_WORK)
    loss = fn.minus_from_number(k, fn.total(k, terms), work=NO_WORK)
    return fn.times_number(k, loss, work=DIVIDE) if reduction == "mean" else loss


def _of_indices(
    k: Tape, shape: Shape, positions: Shape, axis: int, weight: bool, smooth: bool, reduction: str
) -> Tensor:  # fmt: skip
    targets = k.input(positions, 1, itemsize=_INT64)
    weights = [k.buffer(shape[axis])] if weight else []
    logs = _log_softmax(k, k.input(shape, 0), axis)
    loss = _nll(k, logs, targets, weights, reduction)
    if smooth:
        weighted = fn.multiply(k, logs, _weights(k, shape, axis)) if weight else logs
        uniform = _uniform(k, weighted, targets, weights, reduction, axis)
        loss = fn.add(k, fn.times_number(k, loss), fn.times_number(k, uniform))
    return loss


def _uniform(
    k: Tape, logs: Tensor, targets: Tensor, weights: Sequence[Tensor], reduction: str, axis: int
) -> Tensor:  # fmt: skip
    """The loss of a uniform distribution, of which label smoothing takes its part."""
    loss = fn.minus_from_number(k, fn.total(k, logs, axis=axis), work=NO_WORK)
    ignored = k.each("is ignored", targets, work=COMPARE, itemsize=1)
    loss = fn.masked(k, loss, ignored)
    if reduction != "mean":
        return fn.reduced(k, loss, reduction)
    if weights:
        # The mean is over the targets' weights: targets that are ignored become class 0, and their weights 0.
        kept = k.each("class", targets, ignored)
        number = fn.total(k, k.each("weight", k.each("weight", kept, targets), ignored))
    else:
        number = fn.total(k, k.each("is kept", ignored))
        number.storage.itemsize = _INT64
    return fn.divide(k, fn.total(k, loss), number)


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
        gradient = partial(_both, layer, loss)
        return replace(layer + loss, kind="linear", params=layer.params, gradient=gradient)
    if as_shape(size) or label_smoothing:
        raise ValueError("chunked=True: such a kernel has neither positions (size) nor label smoothing")
    n = prod(targets)
    sample = Work(compares=classes - 1, adds=2 * classes - 1, transcendentals=classes + 1)
    if probabilities:
        sample = sample + Work(adds=2 * (classes - 1), multiplies=classes + 1)
        weighted = Work(multiplies=classes if weight else 0)
    else:
        weighted = Work(multiplies=1 if weight else 0)
    work = layer.work + (sample + ADD + weighted).times(n)
    if weight and not probabilities and reduction == "mean":
        work = work + Work(adds=n - 1)  # the mean is over the targets' weights
    k = Kernels()
    parameters = [(layer.params,), *([(classes,)] if weight else [])]
    given = scores if probabilities else targets
    loss_shape = k.loss((*targets, in_features), given, *parameters, terms=targets, work=work, reduction=reduction)
    return replace(k.cost(loss_shape), kind="linear", params=layer.params)


def _both(layer: LayerCost, loss: LayerCost, needs: Needs) -> BackwardCost:
    """The loss's, of the scores if anything of the layer is asked for, and the layer's."""
    of_scores = needs.input(0) or needs.weight or needs.bias
    of_target = needs.inputs if isinstance(needs.inputs, bool) else needs.input(1)
    return loss.backward(inputs=(of_scores, of_target)) + layer.backward(
        inputs=needs.input(0), weight=needs.weight, bias=needs.bias
    )


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
    ``zero_infinity``.
    backward: as many states from the end, 13 operations each, joined with the forward's and collected by class, 9; each
    class of each step 6
    saved: log-probabilities, targets, losses, the forward's states, and lengths that are tensors
    Targets lie one after the other, or in rows of ``padded_to``.
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
    lengths = tuple(zip(input_lengths, target_lengths, strict=True))
    labels = sum(target_lengths) if padded_to is None else batch * padded_to
    return defined(
        _ctc_loss, lengths, steps, classes, labels, work, lengths_in_tensors, zero_infinity, reduction, batched
    )  # fmt: skip


_BEFORE = Work(compares=2, adds=3 + 2 + 1 + 1, transcendentals=4)
"""A state's probability of what follows, from three states after it."""
_COLLECTED = Work(adds=1 + 3 + 1, compares=1, transcendentals=3)
"""Joined with that of what came before, and added by logarithms to the others of its label."""
_OF_CLASS = Work(transcendentals=2, adds=3, multiplies=1)
"""(exp(p) - exp(collected + loss - p)) g"""


def _ctc_loss(
    k: Tape, lengths: tuple[tuple[Count, Count], ...], steps: Count, classes: Count, labels: Count, work: Work,
    lengths_in_tensors: bool, zero_infinity: bool, reduction: str, batched: bool,
) -> Tensor:  # fmt: skip
    batch, given = len(lengths), 2 * len(lengths) if lengths_in_tensors else 0
    of_lengths = [k.input((batch,), i, itemsize=_INT64) for i in (2, 3)] if lengths_in_tensors else []
    x, targets = k.input((steps, batch, classes), 0), k.input((labels,), 1, itemsize=_INT64)
    losses = k.make((batch,), "losses", x)
    alphas = k.make((batch, steps, 2 * _greatest([s for _, s in lengths]) + 1), "states")
    k.run(read=x.size + labels + given, written=batch + alphas.size, work=work)
    slopes = _OF_CLASS.times(sum(t for t, _ in lengths) * classes)
    for t, s in lengths:
        states = 2 * s + 1
        slopes = slopes + _COLLECTED.times(t * states)
        if not (isinstance(t, int) and t == 0):
            slopes = slopes + _BEFORE.times((t - 1) * states)
    raw = losses

    def back(g: Count) -> None:
        k.run(read=g + x.size + labels + given + batch + alphas.size, written=x.size, work=slopes)
        k.give(x, x.size, x.shape)

    k.back(raw, x, back, keeps=(x, targets, raw, alphas, *of_lengths))
    if zero_infinity:
        zero, infinite = fn.constant(k, ()), k.each("is infinite", losses, work=COMPARE, itemsize=1)
        losses = fn.where(k, infinite, zero, losses)
    if reduction == "mean":
        itemsize = _INT64 if lengths_in_tensors else None
        of_labels = k.each("labels", k.buffer(batch), work=COMPARE, itemsize=itemsize)
        losses = fn.divide(k, losses, of_labels)
    y = fn.reduced(k, losses, reduction)
    return y if batched else fn.view(k, y, ())
