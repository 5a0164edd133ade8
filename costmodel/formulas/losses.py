"""Losses of pairs of elements, one term each: how far predictions are from their targets, and the mean or sum of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from costmodel.formulas._arguments import public, require_one_of
from costmodel.formulas._complex_numbers import MAGNITUDE, on_numbers
from costmodel.formulas._kernels import Kernels, Shape, broadcast, require_reduction, shapes_of
from costmodel.formulas.cost import LayerCost
from costmodel.quantities import Count, Work, prod

_ADD, _MULTIPLY, _DIVIDE = Work(adds=1), Work(multiplies=1), Work(divides=1)
_COMPARE, _FUNCTION = Work(compares=1), Work(transcendentals=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """One row of the table: the term of x and its target t, and its work in one kernel, or its several kernels."""

    formula: str
    work: Work | None = None
    """Of a term, where one kernel computes the terms and reduces them."""
    kernels: Callable[[Kernels, Shape, Shape], Shape] | None = None
    """Otherwise: runs the kernels on x and t, and returns the terms."""
    complex_kernels: Callable[[Kernels, Shape, Shape], Shape] | None = None
    """The same of complex numbers, where torch takes some; the terms are real."""


def _l1(k: Kernels, x: Shape, t: Shape) -> Shape:
    return k.each(k.each(x, t, work=_ADD))  # the difference; its absolute value, which is no arithmetic


def _complex_l1(k: Kernels, x: Shape, t: Shape) -> Shape:
    return k.each(k.each(x, t, work=on_numbers(_ADD, complex_valued=True)), work=MAGNITUDE)


def _kl_div(k: Kernels, x: Shape, t: Shape) -> Shape:
    product = k.each(t, x, work=_MULTIPLY)
    own = k.each(t, work=_FUNCTION + _MULTIPLY)  # t log t
    return k.each(own, product, work=_ADD)


def _kl_div_log_target(k: Kernels, x: Shape, t: Shape) -> Shape:
    difference = k.each(t, x, work=_ADD)
    probability = k.each(t, work=_FUNCTION)
    return k.each(probability, difference, work=_MULTIPLY)


def _hinge_embedding(k: Kernels, x: Shape, t: Shape) -> Shape:
    # Both cases of the definition, each taken or replaced by zeros, and added.
    zeros = k.made(x)
    hinge = k.each(k.each(k.made(x), x, work=_ADD), work=_COMPARE)  # margin - x, not below 0
    apart = k.each(k.each(t, work=_COMPARE), hinge, zeros)
    alike = k.each(k.each(t, work=_COMPARE), x, zeros)
    return k.each(apart, alike, work=_ADD)


LOSSES: Mapping[str, Loss] = {
    "l1": Loss(formula="|x - t|", kernels=_l1, complex_kernels=_complex_l1),
    "mse": Loss(formula="(x - t)^2", work=Work(adds=1, multiplies=1)),
    # d = |x - t|. Of a definition by cases, each case is computed, and one is taken.
    "smooth_l1": Loss(
        formula="d d / 2 / beta if d < beta, else d - beta / 2",
        work=Work(adds=2, compares=1, multiplies=2, divides=1),
    ),
    "huber": Loss(
        formula="d d / 2 if d < delta, else delta (d - delta / 2)", work=Work(adds=2, compares=1, multiplies=3)
    ),
    "soft_margin": Loss(formula="log(1 + exp(-t x))", work=Work(multiplies=1, transcendentals=2, adds=1)),
    "hinge_embedding": Loss(formula="x if t = 1, else max(margin - x, 0)", kernels=_hinge_embedding),
    "kl_div": Loss(formula="t log t - t x", kernels=_kl_div),
    "kl_div_log_target": Loss(formula="exp(t) (t - x)", kernels=_kl_div_log_target),
}
"""What the term of a prediction x and its target t is, by name."""

_COMPLEX_VALUED = tuple(name for name, row in LOSSES.items() if row.complex_kernels is not None)


@public
def elementwise_loss(
    *,
    name: str,
    shape: Sequence[Count] | Count,
    target: Sequence[Count] | Count | None = None,
    reduction: str = "mean",
    complex_valued: bool = False,
) -> LayerCost:
    """A loss of LOSSES: predictions of ``shape``, targets of the shape ``target`` (the same by default), broadcast.

    flops = N times the term's operations, + N - 1 for a sum, + N for a mean, of N terms
    memory_access = x + t + y for mse, smooth_l1, huber, soft_margin: one kernel, which also reduces

    Operations of a term: l1 1, mse 2, soft_margin 4, smooth_l1 and huber 6, kl_div 4 (2 of them on t alone),
    kl_div_log_target 3 (1 on t), hinge_embedding 5 (2 on x, 2 on t).
    Of several kernels, each reads its operands and writes its result, so that memory access is 5 N for l1, 8 N for
    kl_div and kl_div_log_target, 22 N for hinge_embedding where nothing is broadcast, and N + 1 more to reduce them.
    ``reduction``: none, mean, sum, and batchmean for kl_div, a sum divided by the batch. Complex-valued, as torch has
    it, is l1: 6 operations a term, the absolute value being 4.
    Sources: torch.nn.L1Loss, MSELoss, HuberLoss (Huber 1964), SmoothL1Loss (arXiv:1504.08083), SoftMarginLoss,
    HingeEmbeddingLoss, KLDivLoss (Kullback & Leibler 1951).

    >>> elementwise_loss(name="mse", shape=(8, 10)).flops          # 80 (1 + 1), and 79 + 1
    240
    >>> elementwise_loss(name="l1", shape=(8, 10)).memory_access   # 80 (3 + 2), and 80 + 1
    481
    """
    require_one_of(name=name, choices=tuple(LOSSES))
    require_reduction(reduction, *(["batchmean"] if "kl_div" in name else []))
    x, t = shapes_of(shape=shape, target=shape if target is None else target)
    row, k = LOSSES[name], Kernels()
    if complex_valued:
        if row.complex_kernels is None:
            raise ValueError(f"name={name!r} has no complex-valued form: that is one of {', '.join(_COMPLEX_VALUED)}")
        return k.cost(k.reduced(row.complex_kernels(k, x, t), reduction))
    if row.kernels is None:
        assert row.work is not None
        terms = broadcast(x, t)
        return k.cost(k.loss(x, t, terms=terms, work=row.work.times(prod(terms)), reduction=reduction))
    if reduction != "batchmean":
        return k.cost(k.reduced(row.kernels(k, x, t), reduction))
    total = k.reduced(row.kernels(k, x, t), "sum")
    return k.cost(k.each(total, work=_DIVIDE) if x else total)  # a single number has no batch


@public
def binary_cross_entropy(
    *,
    shape: Sequence[Count] | Count,
    logits: bool = False,
    weight: Sequence[Count] | Count | None = None,
    pos_weight: Sequence[Count] | Count | None = None,
    reduction: str = "mean",
) -> LayerCost:
    """(t - 1) log(1 - p) - t log p of N probabilities p, or of logits x: (1 - t) x - logsigmoid(x), in one kernel.

    flops = 8 N of probabilities: logarithms are no less than -100; 6 N of logits
    flops = N more for a weight; 3 N + pos_weight more for pos_weight, which makes ((pos_weight - 1) t + 1) of the
    factor 1 of logsigmoid; N - 1 more for a sum, N for a mean
    memory_access = x + t + weight + pos_weight + y

    ``weight`` and ``pos_weight`` are shapes, broadcast to ``shape``.
    Source: torch.nn.BCELoss, torch.nn.BCEWithLogitsLoss.

    >>> binary_cross_entropy(shape=(4, 5), logits=True, reduction="sum").flops  # 6 * 20 + 19
    139
    >>> binary_cross_entropy(shape=(4, 5), weight=5).memory_access  # 20 + 20 + 5 + 1
    46
    """
    require_reduction(reduction)
    if pos_weight is not None and not logits:
        raise ValueError("pos_weight is one of logits: pass logits=True")
    (x,) = shapes_of(shape=shape)
    weights = shapes_of(**{k: v for k, v in (("weight", weight), ("pos_weight", pos_weight)) if v is not None})
    terms = broadcast(x, *weights)
    term = (
        # (1 - t) x - logsigmoid(x), of which the last is two functions and an addition
        Work(adds=3, multiplies=1, transcendentals=2)
        if logits
        else Work(transcendentals=2, compares=2, multiplies=2, adds=2)
    )
    if weight is not None:
        term = term + _MULTIPLY
    if pos_weight is not None:
        term = term + Work(multiplies=2, adds=1)
    once = Work() if pos_weight is None else Work(adds=prod(weights[-1]))
    k = Kernels()
    return k.cost(k.loss(x, x, *weights, terms=terms, work=term.times(prod(terms)) + once, reduction=reduction))


@public
def poisson_nll_loss(
    *,
    shape: Sequence[Count] | Count,
    target: Sequence[Count] | Count | None = None,
    log_input: bool = True,
    full: bool = False,
    reduction: str = "mean",
) -> LayerCost:
    """The negative log-likelihood of counts t: exp(x) - t x of logarithms x of means, or x - t log(x + eps) of means x.

    flops = 3 N of logarithms, 4 N of means; N - 1 more for a sum, N for a mean
    flops = 9 N more with ``full``: Stirling's t log t - t + log(2 pi t) / 2 where t > 1
    memory_access = 8 N (kernels: exp, product, difference), or 10 N; with ``full`` 25 N more; N + 1 to reduce

    That is of equal shapes; ``target`` is the shape of the targets, which is broadcast.
    Source: torch.nn.PoissonNLLLoss.

    >>> poisson_nll_loss(shape=10).flops, poisson_nll_loss(shape=10, log_input=False, full=True).flops
    (40, 140)
    """
    require_reduction(reduction)
    x, t = shapes_of(shape=shape, target=shape if target is None else target)
    k = Kernels()
    if log_input:
        mean, product = k.each(x, work=_FUNCTION), k.each(t, x, work=_MULTIPLY)
    else:
        mean = x
        product = k.each(t, k.each(k.each(x, work=_ADD), work=_FUNCTION), work=_MULTIPLY)
    terms = k.each(mean, product, work=_ADD)
    if full:
        half_log = k.each(k.each(k.each(t, work=_MULTIPLY), work=_FUNCTION), work=_MULTIPLY)
        t_log_t = k.each(t, k.each(t, work=_FUNCTION), work=_MULTIPLY)
        stirling = k.each(k.each(t_log_t, t, work=_ADD), half_log, work=_ADD)
        few = k.each(t, work=_COMPARE)
        terms = k.each(terms, k.each(stirling, few), work=_ADD)
    return k.cost(k.reduced(terms, reduction))


@public
def gaussian_nll_loss(
    *,
    shape: Sequence[Count] | Count,
    target: Sequence[Count] | Count | None = None,
    var: Sequence[Count] | Count | None = None,
    var_is_number: bool = False,
    full: bool = False,
    reduction: str = "mean",
    complex_valued: bool = False,
) -> LayerCost:
    """The negative log-likelihood (log v + (x - t)^2 / v) / 2 of normal distributions with means x and variances v.

    flops = 3 V + 5 N, of V variances: v < 0, max(v, eps) and log v once each; with ``full``, + log(2 pi) / 2, N more;
    N - 1 more for a sum, N for a mean
    memory_access = 11 V + 2 + x + t + 9 N; with ``full`` 2 N more; N + 1 to reduce

    Kernels: v < 0, whether any is, and a look at that; a copy of v, its maximum with eps, its logarithm; x - t, the
    square, the quotient, the sum, its half. ``target`` and ``var`` are shapes, by default that of x. Of a variance that
    is a number, a tensor like x is made, in the place of the first three kernels. Complex-valued are x and t: a sum is
    2 flops, a product 6, a quotient 11.
    Source: torch.nn.GaussianNLLLoss; Nix & Weigend 1994.

    >>> gaussian_nll_loss(shape=(4, 3), var=(4, 1)).flops  # 3 * 4 + 5 * 12, and 12
    84
    """
    require_reduction(reduction)
    x, t, v = shapes_of(shape=shape, target=shape if target is None else target, var=shape if var is None else var)
    k = Kernels()
    if var_is_number:
        v = k.each(k.made(x), work=_MULTIPLY)
    else:
        negative = k.each(v, work=_COMPARE)
        k.run(read=prod(negative), written=1)  # whether any is
        k.run(read=1, written=0)
    v = k.each(k.each(v), work=_COMPARE)
    log = k.each(v, work=_FUNCTION)
    add, multiply, divide = (
        on_numbers(work, complex_valued=complex_valued) for work in (_ADD, _MULTIPLY, _DIVIDE)
    )  # fmt: skip
    square = k.each(k.each(x, t, work=add), work=multiply)
    terms = k.each(k.each(log, k.each(square, v, work=divide), work=add), work=multiply)
    if full:
        terms = k.each(terms, work=add)
    return k.cost(k.reduced(terms, reduction, complex_valued=complex_valued))
