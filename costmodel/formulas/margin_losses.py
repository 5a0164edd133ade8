"""Losses that hold a distance or a score against a margin: of pairs, of triplets, and of classes."""

from __future__ import annotations

from collections.abc import Sequence

from costmodel.formulas._arguments import public, require
from costmodel.formulas._kernels import Kernels, Shape, require_reduction, shapes_of, sum_of
from costmodel.formulas.cost import LayerCost
from costmodel.quantities import Count, Work, prod

_ADD, _MULTIPLY, _DIVIDE = Work(adds=1), Work(multiplies=1), Work(divides=1)
_COMPARE, _ROOT = Work(compares=1), Work(transcendentals=1)


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
    Source: torch.nn.MarginRankingLoss.

    >>> margin_ranking_loss(shape=50).flops, margin_ranking_loss(shape=50, reduction="none").memory_access
    (250, 600)
    """
    require_reduction(reduction)
    x, y, t = shapes_of(
        shape=shape, other=shape if other is None else other, target=shape if target is None else target
    )
    k = Kernels()
    difference = k.each(x, y, work=_ADD)
    product = k.each(k.each(t), difference, work=_MULTIPLY)
    return k.cost(k.reduced(k.each(k.each(product, work=_ADD), work=_COMPARE), reduction))


@public
def cosine_embedding_loss(*, features: Count, rows: Sequence[Count] | Count = (), reduction: str = "mean") -> LayerCost:
    """1 - cos(a, b) of pairs of vectors that are alike, max(0, cos(a, b) - margin) of those that are not.

    flops = R (6 F + 8), of R pairs of F features; R - 1 more for a sum, R for a mean
    memory_access = 10 R F + 39 R; R + 1 to reduce

    Kernels: a b, a a, b b (7 R F), their sums (3 R F + 3 R), eps added to two of them, the product of these, its root,
    the quotient (12 R); zeros, ones, 1 - cos, cos - margin, its maximum with 0 (9 R), and for each case a comparison
    of the target and a choice (12 R), which are added (3 R). ``rows`` is the number of pairs, or ``()`` for one alone.
    Source: torch.nn.CosineEmbeddingLoss.

    >>> cosine_embedding_loss(features=10, rows=15).flops  # 15 * 68, and 15
    1035
    """
    require_reduction(reduction)
    require(features=features)
    (r,) = shapes_of(rows=rows)
    vectors, k = (*r, features), Kernels()
    products = [k.each(vectors, vectors, work=_MULTIPLY), *(k.each(vectors, work=_MULTIPLY) for _ in "ab")]
    dot, *squares = (k.total(product, axis=-1) for product in products)
    norms = k.each(*(k.each(square, work=_ADD) for square in squares), work=_MULTIPLY)
    cosine = k.each(dot, k.each(norms, work=_ROOT), work=_DIVIDE)
    zeros = k.made(r)
    alike = k.each(k.made(r), cosine, work=_ADD)
    apart = k.each(k.each(cosine, work=_ADD), work=_COMPARE)
    chosen = [k.each(k.each(r, work=_COMPARE), case, zeros) for case in (alike, apart)]
    return k.cost(k.reduced(k.each(*chosen, work=_ADD), reduction))


def _distance(k: Kernels, vectors: Shape, p: float) -> Shape:
    """The p-norm of a - b + eps, along the last axis."""
    difference = k.each(k.each(vectors, vectors, work=_ADD), work=_ADD)
    rows, n = vectors[:-1], vectors[-1]
    if p == 2:
        norm = Work(multiplies=n, adds=n - 1, transcendentals=1)
    elif p == 1:
        norm = Work(adds=n - 1)
    elif p == float("inf"):
        norm = Work(compares=n - 1)
    elif p > 0:
        norm = Work(transcendentals=n + 1, adds=n - 1)
    else:
        raise ValueError(f"p={p}: a norm of an order above 0")
    k.run(read=prod(difference), written=prod(rows), work=norm.times(prod(rows)))
    return rows


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
    Source: torch.nn.TripletMarginLoss; Balntas et al., BMVC 2016.

    >>> triplet_margin_loss(features=7, rows=5).flops  # 5 * 59, and 5
    300
    """
    require_reduction(reduction)
    require(features=features)
    (r,) = shapes_of(rows=rows)
    k = Kernels()
    near, far = _distance(k, (*r, features), p), _distance(k, (*r, features), p)
    if swap:
        far = k.each(far, _distance(k, (*r, features), p), work=_COMPARE)
    gap = k.each(k.each(near, work=_ADD), far, work=_ADD)
    return k.cost(k.reduced(k.each(gap, work=_COMPARE), reduction))


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
    k = Kernels()
    weights = ((classes,),) if weight else ()
    return k.cost(
        k.loss((*n, classes), n, *weights, terms=n, work=sample.times(prod(n)), reduction=reduction)
    )  # fmt: skip


@public
def multilabel_margin_loss(
    *, classes: Count, batch: Sequence[Count] | Count = (), reduction: str = "mean"
) -> LayerCost:
    """The sum of max(0, 1 - x_l + x_c) over all pairs of a label l and a class c that is none, over C.

    flops = N (4 P), of N samples of P pairs; N - 1 more for a sum, N for a mean
    memory_access = x + t + y, and which classes are labels, written: C per sample

    How many pairs there are depends on the labels: P = floor(C / 2) ceil(C / 2), where half of the classes are labels,
    is the most. A pair is 2 additions and a comparison; P - 1 additions and a division are left for the sample.
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
    k = Kernels()
    k.made((*n, classes))
    return k.cost(
        k.loss((*n, classes), (*n, classes), terms=n, work=sample.times(prod(n)), reduction=reduction)
    )  # fmt: skip


@public
def multilabel_soft_margin_loss(
    *, classes: Count, batch: Sequence[Count] | Count = (), weight: bool = False, reduction: str = "mean"
) -> LayerCost:
    """The mean over classes of -(t logsigmoid(x) + (1 - t) logsigmoid(-x)).

    flops = N (11 C), of N samples of C classes; N C more for weights of classes; N - 1 more for a sum, N for a mean
    memory_access = 20 N C + 3 N; with weights 2 N C + C more; N + 1 to reduce

    Kernels: logsigmoid(x) (3 operations), its product with t; 1 - t, -x, its logsigmoid, their product; the sum, its
    sign; the sum over classes, the quotient. ``batch`` is ``()`` for one sample without a batch dimension.
    Source: torch.nn.MultiLabelSoftMarginLoss.

    >>> multilabel_soft_margin_loss(classes=10, batch=5).flops  # 5 * 110, and 5
    555
    """
    require_reduction(reduction)
    require(classes=classes)
    (n,) = shapes_of(batch=batch)
    x, k = (*n, classes), Kernels()
    log_sigmoid = Work(transcendentals=2, adds=1)
    yes = k.each(x, k.each(x, work=log_sigmoid), work=_MULTIPLY)
    absent, negated = k.each(x, work=_ADD), k.each(x)
    no = k.each(absent, k.each(negated, work=log_sigmoid), work=_MULTIPLY)
    terms = k.each(k.each(yes, no, work=_ADD))
    if weight:
        terms = k.each(terms, (classes,), work=_MULTIPLY)
    return k.cost(k.reduced(k.each(k.total(terms, axis=-1), work=_DIVIDE), reduction))
