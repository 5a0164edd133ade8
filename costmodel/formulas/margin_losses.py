"""Losses that hold a distance or a score against a margin: of pairs, of triplets, and of classes."""

from __future__ import annotations

from collections.abc import Sequence

from costmodel.formulas import _functions as fn
from costmodel.formulas._arguments import public, require
from costmodel.formulas._functions import COMPARE, DIVIDE
from costmodel.formulas._kernels import Shape, require_reduction, shapes_of, sum_of
from costmodel.formulas._norms import norm_of
from costmodel.formulas._tape import Tape, Tensor, defined
from costmodel.formulas.cost import NO_WORK, LayerCost
from costmodel.quantities import Count, Work, prod

_INT64 = 8
"""Bytes of the index of a class."""


@public
def margin_ranking_loss(
    *,
    shape: Sequence[Count] | Count,
    other: Sequence[Count] | Count | None = None,
    target: Sequence[Count] | Count | None = None,
    reduction: str = "mean",
) -> LayerCost:
    """max(0, -t (x1 - x2) + margin) of scores x1 and x2, of which the one that t = 1 or -1 says should be higher.

    flops = 4 N; N - 1 more for a sum, N for a mean
    memory_access = 12 N: kernels x1 - x2, -t, their product, the sum with the margin, max; N + 1 to reduce

    That is of equal shapes; ``other`` and ``target`` are the shapes of x2 and t, which are broadcast.
    backward: the derivative of each kernel: of x1, -t g where the loss is not 0, of x2 the opposite
    saved: -t (for the gradients of x1 and x2), x1 - x2 (for that of t), and what max took
    Source: torch.nn.MarginRankingLoss.

    >>> margin_ranking_loss(shape=50).flops, margin_ranking_loss(shape=50, reduction="none").memory_access
    (250, 600)
    """
    require_reduction(reduction)
    x, y, t = shapes_of(
        shape=shape, other=shape if other is None else other, target=shape if target is None else target
    )
    return defined(_margin_ranking_loss, x, y, t, reduction)


def _margin_ranking_loss(k: Tape, first: Shape, second: Shape, target: Shape, reduction: str) -> Tensor:
    difference = fn.subtract(k, k.input(first, 0), k.input(second, 1))
    product = fn.multiply(k, fn.minus_from_number(k, k.input(target, 2), work=NO_WORK), difference)
    return fn.reduced(k, fn.at_least(k, fn.plus_number(k, product)), reduction)


@public
def cosine_embedding_loss(*, features: Count, rows: Sequence[Count] | Count = (), reduction: str = "mean") -> LayerCost:
    """1 - cos(a, b) of pairs of vectors that are alike, max(0, cos(a, b) - margin) of those that are not.

    flops = R (6 F + 8), of R pairs of F features; R - 1 more for a sum, R for a mean
    memory_access = 10 R F + 39 R; R + 1 to reduce

    Kernels: a b, a a, b b (7 R F), their sums (3 R F + 3 R), eps added to two of them, the product of these, its root,
    the quotient (12 R); zeros, ones, 1 - cos, cos - margin, its maximum with 0 (9 R), and for each case a comparison
    of the target and a choice (12 R), which are added (3 R). ``rows`` is the number of pairs, or ``()`` for one alone.
    backward: the derivative of each kernel
    saved: a, b, their cosine's parts, and what was chosen
    Source: torch.nn.CosineEmbeddingLoss.

    >>> cosine_embedding_loss(features=10, rows=15).flops  # 15 * 68, and 15
    1035
    """
    require_reduction(reduction)
    require(features=features)
    (r,) = shapes_of(rows=rows)
    return defined(_cosine_embedding_loss, (*r, features), reduction)


def _cosine_embedding_loss(k: Tape, vectors: Shape, reduction: str) -> Tensor:
    rows = vectors[:-1]
    a, b, t = k.input(vectors, 0), k.input(vectors, 1), k.input(rows, 2)
    products = [fn.multiply(k, x, y) for x, y in ((a, b), (a, a), (b, b))]
    dot, *squares = (fn.total(k, product, axis=-1) for product in products)
    first, second = (fn.plus_number(k, square) for square in squares)
    cosine = fn.divide(k, dot, fn.sqrt(k, fn.multiply(k, first, second)))
    zeros = fn.constant(k, rows)
    alike = fn.subtract(k, fn.constant(k, rows), cosine)
    apart = fn.at_least(k, fn.plus_number(k, cosine))
    chosen = [fn.where(k, k.each("is the other", t, work=COMPARE, itemsize=1), case, zeros) for case in (alike, apart)]
    return fn.reduced(k, fn.add(k, *chosen), reduction)


@public
def triplet_margin_loss(
    *,
    features: Count,
    rows: Sequence[Count] | Count = (),
    p: float = 2,
    swap: bool = False,
    reduction: str = "mean",
) -> LayerCost:
    """max(0, d(a, pos) - d(a, neg) + margin), where d is the p-norm of a difference of vectors.

    flops = R (8 F + 3), of R triplets of F features and p = 2; R - 1 more for a sum, R for a mean
    memory_access = 12 R F + 9 R; R + 1 to reduce

    A distance is F differences, eps added to each, and a norm: F products, F - 1 additions and a root for p = 2; F - 1
    additions for 1; F - 1 comparisons for infinity; F + 1 powers and F - 1 additions for any other. ``swap`` takes the
    less of d(a, neg) and d(pos, neg): a third distance and a comparison. ``rows`` is ``()`` for one triplet.
    backward: the derivative of each kernel: of a distance that of its norm, as in pairwise_distance
    saved: the differences, the distances, and what max took
    Source: torch.nn.TripletMarginLoss; Balntas et al., BMVC 2016.

    >>> triplet_margin_loss(features=7, rows=5).flops  # 5 * 59, and 5
    300
    """
    require_reduction(reduction)
    require(features=features)
    (r,) = shapes_of(rows=rows)
    if not p > 0:
        raise ValueError(f"p={p}: a norm of an order above 0")
    return defined(_triplet_margin_loss, (*r, features), p, swap, reduction)


def _triplet_margin_loss(k: Tape, vectors: Shape, p: float, swap: bool, reduction: str) -> Tensor:
    anchor, positive, negative = (k.input(vectors, i) for i in range(3))

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return norm_of(k, fn.plus_number(k, fn.subtract(k, a, b)), p)

    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = fn.lesser(k, far, distance(positive, negative))
    gap = fn.subtract(k, fn.plus_number(k, near), far)
    return fn.reduced(k, fn.at_least(k, gap, inplace=False), reduction)


@public
def multi_margin_loss(
    *,
    classes: Count,
    batch: Sequence[Count] | Count = (),
    p: int = 1,
    weight: bool = False,
    reduction: str = "mean",
) -> LayerCost:
    """The sum of max(0, margin - x_t + x_c)^p over the classes c other than the target t, over their number.

    flops = N ((C - 1) (2 + p) + (C - 2) + 1), of N samples of C classes; N (C - 1) more for weights of classes;
    N - 1 more for a sum, N for a mean
    memory_access = x + t + weight + y

    ``batch`` is the number of samples, or ``()`` for one that has no batch dimension.
    backward: by one kernel, of each class but the target p z^(p - 1) g where z = margin - x_t + x_c is above 0, and of
    the target minus their sum
    saved: x and t
    Source: torch.nn.MultiMarginLoss; Crammer & Singer 2001.

    >>> multi_margin_loss(classes=10, batch=5).flops  # 5 (9 * 3 + 8 + 1), and 5
    185
    """
    require_reduction(reduction)
    require(classes=classes, p=p)
    (n,) = shapes_of(batch=batch)
    term = Work(adds=2, compares=1, multiplies=p - 1 + (1 if weight else 0))
    # The sum of one class is no addition, and a single class has no other.
    one = isinstance(classes, int) and classes == 1
    sample = Work(divides=1) if one else term.times(classes - 1) + Work(adds=classes - 2, divides=1)
    # z = margin - x_t + x of each other class; g, or p z^(p - 1) g, where z > 0, and the target has minus their sum.
    slope = Work(adds=3, compares=1, multiplies=2 * (p - 1) + (1 if weight else 0)).times(classes - 1)
    slope = slope + Work(multiplies=classes)
    return defined(_multi_margin_loss, classes, n, weight, sample, slope, reduction)


def _multi_margin_loss(
    k: Tape, classes: Count, batch: Shape, weight: bool, sample: Work, slope: Work, reduction: str
) -> Tensor:  # fmt: skip
    x, t = k.input((*batch, classes), 0), k.input(batch, 1, itemsize=_INT64)
    weights = [k.buffer(classes)] if weight else []
    return _of_samples(k, x, t, weights, batch, sample, slope, reduction)


def _of_samples(
    k: Tape, x: Tensor, t: Tensor, others: Sequence[Tensor], batch: Shape, sample: Work, slope: Work, reduction: str
) -> Tensor:  # fmt: skip
    """A term of each sample and their mean or sum by one kernel, and one for the gradient, which keeps them all."""
    y = k.make(batch if reduction == "none" else (), "loss", x)
    work = sample.times(prod(batch))
    if reduction != "none":
        work = work + sum_of(prod(batch), mean=reduction == "mean")
    given = [w for w in others if w.storage.name is None]
    k.run(read=sum(a.stored for a in (x, t, *given)), written=y.size, work=work)
    k.derive(y, x, x, t, *others, once=slope.times(prod(batch)), shape=x.shape)
    return y


@public
def multilabel_margin_loss(
    *, classes: Count, batch: Sequence[Count] | Count = (), reduction: str = "mean"
) -> LayerCost:
    """The sum of max(0, 1 - x_l + x_c) over all pairs of a label l and a class c that is none, over C.

    flops = N (4 P), of N samples of P pairs; N - 1 more for a sum, N for a mean
    memory_access = x + t + y, and which classes are labels, written: C per sample

    How many pairs there are depends on the labels: P = floor(C / 2) ceil(C / 2), where half of the classes are labels,
    is the most. A pair is 2 additions and a comparison; P - 1 additions and a division are left for the sample.
    backward: by one kernel, g and -g for each pair above the margin
    saved: x, t, and which classes are labels
    Source: torch.nn.MultiLabelMarginLoss.

    >>> multilabel_margin_loss(classes=10, batch=5).flops  # 5 * 4 * 25, and 5
    505
    """
    require_reduction(reduction)
    require(classes=classes)
    (n,) = shapes_of(batch=batch)
    pairs = (classes // 2) * (classes - classes // 2)
    one = isinstance(classes, int) and classes == 1
    sample = Work(divides=1) if one else Work(adds=2, compares=1).times(pairs) + sum_of(pairs, mean=True)
    slope = Work(adds=2 + 2, compares=1).times(pairs) + Work(multiplies=classes)
    return defined(_multilabel_margin_loss, classes, n, sample, slope, reduction)


def _multilabel_margin_loss(
    k: Tape, classes: Count, batch: Shape, sample: Work, slope: Work, reduction: str
) -> Tensor:  # fmt: skip
    x, t = k.input((*batch, classes), 0), k.input((*batch, classes), 1, itemsize=_INT64)
    is_label = fn.constant(k, (*batch, classes))
    return _of_samples(k, x, t, [is_label], batch, sample, slope, reduction)


@public
def multilabel_soft_margin_loss(
    *, classes: Count, batch: Sequence[Count] | Count = (), weight: bool = False, reduction: str = "mean"
) -> LayerCost:
    """The mean over classes of -(t logsigmoid(x) + (1 - t) logsigmoid(-x)).

    flops = N (11 C), of N samples of C classes; N C more for weights of classes; N - 1 more for a sum, N for a mean
    memory_access = 20 N C + 3 N; with weights 2 N C + C more; N + 1 to reduce

    Kernels: logsigmoid(x) (3 operations), its product with t; 1 - t, -x, its logsigmoid, their product; the sum, its
    sign; the sum over classes, the quotient. ``batch`` is ``()`` for one sample without a batch dimension.
    backward: the derivative of each kernel
    saved: x, -x, t, 1 - t, and exp(-|x|) of both, for the gradient of x
    Source: torch.nn.MultiLabelSoftMarginLoss.

    >>> multilabel_soft_margin_loss(classes=10, batch=5).flops  # 5 * 110, and 5
    555
    """
    require_reduction(reduction)
    require(classes=classes)
    (n,) = shapes_of(batch=batch)
    return defined(_multilabel_soft_margin_loss, (*n, classes), weight, reduction)


def _multilabel_soft_margin_loss(k: Tape, shape: Shape, weight: bool, reduction: str) -> Tensor:
    x, t = k.input(shape, 0), k.input(shape, 1)
    yes = fn.multiply(k, t, fn.log_sigmoid(k, x))
    absent = fn.minus_from_number(k, t)
    negated = fn.minus_from_number(k, x, work=NO_WORK)
    no = fn.multiply(k, absent, fn.log_sigmoid(k, negated))
    terms = fn.minus_from_number(k, fn.add(k, yes, no), work=NO_WORK)
    if weight:
        terms = fn.multiply(k, terms, k.buffer(shape[-1]))
    return fn.reduced(k, fn.times_number(k, fn.total(k, terms, axis=-1), work=DIVIDE), reduction)
