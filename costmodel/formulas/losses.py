"""Losses of pairs of elements, one term each: how far predictions are from their targets, and the mean or sum of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from costmodel.formulas import _functions as fn
from costmodel.formulas._arguments import public, require_one_of
from costmodel.formulas._binary_cross_entropy import binary_cross_entropy as probabilities
from costmodel.formulas._binary_cross_entropy import with_logits
from costmodel.formulas._complex_numbers import MAGNITUDE, on_numbers
from costmodel.formulas._functions import ADD, COMPARE, DIVIDE, FUNCTION, MULTIPLY
from costmodel.formulas._kernels import Kernels, Shape, require_reduction, shapes_of
from costmodel.formulas._tape import Tape, Tensor, defined
from costmodel.formulas.cost import NO_WORK, LayerCost
from costmodel.quantities import Count, Work
from costmodel.records import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """One row of the table: the term of x and its target t, and its work in one kernel, or its several kernels."""

    formula: str
    work: Work | None = None
    """Of a term, where one kernel computes the terms and reduces them."""
    slope: Work = NO_WORK
    """Of its gradient, by one kernel too."""
    symmetric: bool = True
    """Whether that kernel makes the target's gradient as well."""
    kernels: Callable[[Tape, Tensor, Tensor], Tensor] | None = None
    """Otherwise: runs the kernels on x and t, and returns the terms."""
    complex_kernels: Callable[[Kernels, Shape, Shape], Shape] | None = None
    """The same of complex numbers, where torch takes some; the terms are real."""


def _l1(k: Tape, x: Tensor, t: Tensor) -> Tensor:
    return fn.absolute(k, fn.subtract(k, x, t))


def _complex_l1(k: Kernels, x: Shape, t: Shape) -> Shape:
    return k.each(k.each(x, t, work=on_numbers(ADD, complex_valued=True)), work=MAGNITUDE)


def _kl_div(k: Tape, x: Tensor, t: Tensor) -> Tensor:
    product = fn.multiply(k, t, x)
    return fn.subtract(k, _t_log_t(k, t), product)


def _t_log_t(k: Tape, t: Tensor) -> Tensor:
    """t log t by one kernel, 0 for t = 0: the gradient of each factor by itself."""
    y = k.each("t log t", t, work=FUNCTION + MULTIPLY)

    def back(g: Count) -> None:
        n = t.size
        k.run(read=g + n, written=n, work=MULTIPLY.times(n))
        k.run(read=2 * n, written=n, work=DIVIDE.times(n))
        k.give(t, n, t.shape)
        k.run(read=g + n, written=n, work=(FUNCTION + MULTIPLY).times(n))
        # Zero where t is: t <= 0 and t = 0, both, and a choice.
        k.run(read=n, written=n, work=COMPARE.times(n))
        k.run(read=n, written=n, work=COMPARE.times(n))
        k.run(read=2 * n, written=n)
        k.run(read=2 * n, written=n)
        k.give(t, n, t.shape)

    k.back(y, t, back, keeps=(t,))
    return y


def _kl_div_log_target(k: Tape, x: Tensor, t: Tensor) -> Tensor:
    difference = fn.subtract(k, t, x)
    return fn.multiply(k, fn.exp(k, t), difference)


def _hinge_embedding(k: Tape, x: Tensor, t: Tensor) -> Tensor:
    # Both cases of the definition, each taken or replaced by zeros, and added.
    zeros = fn.constant(k, x.shape)
    hinge = fn.at_least(k, fn.subtract(k, fn.constant(k, x.shape), x))  # margin - x, not below 0
    apart = fn.where(k, k.each("is alike", t, work=COMPARE, itemsize=1), hinge, zeros)
    alike = fn.where(k, k.each("is apart", t, work=COMPARE, itemsize=1), x, zeros)
    return fn.add(k, apart, alike)


LOSSES: Mapping[str, Loss] = {
    "l1": Loss(formula="|x - t|", kernels=_l1, complex_kernels=_complex_l1),
    "mse": Loss(formula="(x - t)^2", work=Work(adds=1, multiplies=1), slope=Work(adds=1, multiplies=2)),
    # d = |x - t|. Of a definition by cases, each case is computed, and one is taken.
    "smooth_l1": Loss(
        formula="d d / 2 / beta if d < beta, else d - beta / 2",
        work=Work(adds=2, compares=1, multiplies=2, divides=1),
        slope=Work(adds=1, compares=2, multiplies=1, divides=1),  # -g, g, or g (x - t) / beta
    ),
    "huber": Loss(
        formula="d d / 2 if d < delta, else delta (d - delta / 2)",
        work=Work(adds=2, compares=1, multiplies=3),
        slope=Work(adds=1, compares=2, multiplies=1),
    ),
    "soft_margin": Loss(
        formula="log(1 + exp(-t x))",
        work=Work(multiplies=1, transcendentals=2, adds=1),
        slope=Work(multiplies=3, transcendentals=1, adds=1, divides=1),  # -t z g / (1 + z), z = exp(-t x)
        symmetric=False,
    ),
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
    backward: of one kernel (mse, smooth_l1, huber, soft_margin), one for the gradient of x, and one for that of t if it
    is asked for; of several, the derivative of each; a mean's gradient is divided by N first
    saved: x and t of one kernel; of several what their derivatives are computed from (l1: x - t; kl_div: t, of x)
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
    if not complex_valued:
        return defined(_elementwise_loss, name, x, t, reduction)
    kernels, k = LOSSES[name].complex_kernels, Kernels()
    if kernels is None:
        raise ValueError(f"name={name!r} has no complex-valued form: that is one of {', '.join(_COMPLEX_VALUED)}")
    return k.cost(k.reduced(kernels(k, x, t), reduction))


def _elementwise_loss(k: Tape, name: str, shape: Shape, target: Shape, reduction: str) -> Tensor:
    x, t, row = k.input(shape, 0), k.input(target, 1), LOSSES[name]
    if row.kernels is None:
        assert row.work is not None
        return fn.fused_loss(
            k, x, t, work=row.work, slope=row.slope, reduction=reduction, symmetric=row.symmetric
        )  # fmt: skip
    if reduction != "batchmean":
        return fn.reduced(k, row.kernels(k, x, t), reduction)
    total = fn.reduced(k, row.kernels(k, x, t), "sum")
    return fn.times_number(k, total, work=DIVIDE) if shape else total  # a single number has no batch


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
    backward: of x, g (x - t) / (x (1 - x)) by one kernel, of t, -g logit(x); of logits, s(x) - t and -x, times g, times
    the weights, over N in a mean, a kernel each
    saved: x, t and the weights
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
    (w,) = shapes_of(weight=weight) if weight is not None else (None,)
    (p,) = shapes_of(pos_weight=pos_weight) if pos_weight is not None else (None,)
    return defined(with_logits, x, w, p, reduction) if logits else defined(probabilities, x, w, reduction)


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
    backward: the derivative of each kernel: of exp(x) - t x, g exp(x) and -g t, which autograd's engine adds
    saved: t and exp(x), of means t and x + eps; with ``full``, where the gradient of t is asked for, Stirling's parts
    Source: torch.nn.PoissonNLLLoss.

    >>> poisson_nll_loss(shape=10).flops, poisson_nll_loss(shape=10, log_input=False, full=True).flops
    (40, 140)
    """
    require_reduction(reduction)
    x, t = shapes_of(shape=shape, target=shape if target is None else target)
    return defined(_poisson_nll_loss, x, t, log_input, full, reduction)


def _poisson_nll_loss(k: Tape, shape: Shape, target: Shape, log_input: bool, full: bool, reduction: str) -> Tensor:
    x, t = k.input(shape, 0), k.input(target, 1)
    if log_input:
        mean, product = fn.exp(k, x), fn.multiply(k, t, x)
    else:
        mean = x
        product = fn.multiply(k, t, fn.log(k, fn.plus_number(k, x)))
    terms = fn.subtract(k, mean, product)
    if full:
        half_log = fn.times_number(k, fn.log(k, fn.times_number(k, t)))
        t_log_t = fn.multiply(k, t, fn.log(k, t))
        stirling = fn.add(k, fn.subtract(k, t_log_t, t), half_log)
        few = k.each("is few", t, work=COMPARE, itemsize=1)
        terms = fn.add(k, terms, fn.masked(k, stirling, few))
    return fn.reduced(k, terms, reduction)


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
    is a number, a tensor like x is made, in the place of the first three kernels.
    backward: the derivative of each kernel
    saved: x - t and max(v, eps)
    Complex-valued are x and t: a sum is
    2 flops, a product 6, a quotient 11.
    Source: torch.nn.GaussianNLLLoss; Nix & Weigend 1994.

    >>> gaussian_nll_loss(shape=(4, 3), var=(4, 1)).flops  # 3 * 4 + 5 * 12, and 12
    84
    """
    require_reduction(reduction)
    x, t, v = shapes_of(shape=shape, target=shape if target is None else target, var=shape if var is None else var)
    if complex_valued:
        return replace(defined(_gaussian_nll_loss, x, t, v, var_is_number, full, reduction, True), gradient=None)
    return defined(_gaussian_nll_loss, x, t, v, var_is_number, full, reduction, False)


def _gaussian_nll_loss(
    k: Tape, shape: Shape, target: Shape, var: Shape, var_is_number: bool, full: bool, reduction: str, is_complex: bool
) -> Tensor:
    x, t = k.input(shape, 0), k.input(target, 1)
    if var_is_number:
        v = k.each("variance", fn.constant(k, shape), work=MULTIPLY)
    else:
        v = k.input(var, 2)
        negative = k.each("is negative", v, work=COMPARE)
        k.run(read=negative.size, written=1)  # whether any is
        k.run(read=1, written=0)
    v = fn.copy(k, v)
    k.run(read=v.size, written=v.size, work=COMPARE.times(v.size))  # in place, unseen by autograd
    log = fn.log(k, v)
    add, multiply, divide = (on_numbers(work, complex_valued=is_complex) for work in (ADD, MULTIPLY, DIVIDE))
    square = fn.square(k, fn.subtract(k, x, t, work=add), work=multiply)
    terms = fn.times_number(k, fn.add(k, log, fn.divide(k, square, v, work=divide), work=add), work=multiply)
    if full:
        terms = fn.plus_number(k, terms, work=add)
    return fn.reduced(k, terms, reduction, complex_valued=is_complex)
