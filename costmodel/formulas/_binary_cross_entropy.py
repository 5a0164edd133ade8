"""The kernels of binary cross entropy, of probabilities and of logits, and of its gradients."""

from __future__ import annotations

from costmodel.formulas import _functions as fn
from costmodel.formulas._functions import ADD, DIVIDE, MULTIPLY
from costmodel.formulas._kernels import Shape, broadcast, sum_of
from costmodel.formulas._tape import Tape, Tensor
from costmodel.formulas.cost import NO_WORK
from costmodel.quantities import Count, Work, prod

_SIGMOID = Work(transcendentals=1, adds=1, divides=1)
_LOG_SIGMOID = Work(transcendentals=2, adds=1)
_LOGIT = Work(transcendentals=1, adds=1, divides=1)


def binary_cross_entropy(k: Tape, shape: Shape, weight: Shape | None, reduction: str) -> Tensor:
    """Of probabilities: the kernel of x's gradient computes g (x - t) / (x (1 - x)); of t it is -g logit(x)."""
    x, t = k.input(shape, 0), k.input(shape, 1)
    weights = [] if weight is None else [k.buffer(*weight)]
    weighted = MULTIPLY if weights else NO_WORK
    y = fn.fused_loss(
        k, x, t, *weights, reduction=reduction,
        work=Work(transcendentals=2, compares=2, multiplies=2, adds=2) + weighted,
        slope=Work(adds=2, multiplies=2, compares=1, divides=1) + weighted,
    )  # fmt: skip
    terms = broadcast(shape, *(w.shape for w in weights))

    def of_target(g: Count) -> None:
        n = x.size
        k.run(read=n, written=n, work=_LOGIT.times(n))
        k.run(read=n, written=n)
        _scaled(k, t, g, terms, weights, reduction)

    k.back(y, t, of_target, keeps=(x, t, *weights))
    return y


def with_logits(k: Tape, shape: Shape, weight: Shape | None, pos_weight: Shape | None, reduction: str) -> Tensor:
    """Of logits: the gradient of x is g (s(x) - t), that of t is -g x.

    With weights p of what is positive, g ((p t + 1 - t) s(x) - p t), and g (logsigmoid(-x) - p logsigmoid(x)).
    """
    x, t = k.input(shape, 0), k.input(shape, 1)
    weights = [] if weight is None else [k.buffer(*weight)]
    positive = [] if pos_weight is None else [k.buffer(*pos_weight)]
    given = (x, t, *weights, *positive)
    terms = broadcast(*(a.shape for a in given))
    # (1 - t) x - logsigmoid(x), of which the last is two functions and an addition
    term = Work(adds=3, multiplies=2 if weights else 1, transcendentals=2)
    once = NO_WORK
    if positive:
        term, once = term + Work(multiplies=2, adds=1), Work(adds=positive[0].size)
    y = k.make(terms if reduction == "none" else (), "loss", x, t)
    done = term.times(prod(terms)) + once
    if reduction != "none":
        done = done + sum_of(prod(terms), mean=reduction == "mean")
    k.run(read=sum(a.stored for a in given), written=y.size, work=done)

    def of_input(g: Count) -> None:
        n = prod(broadcast(shape, *(p.shape for p in positive)))
        if positive:
            k.run(read=positive[0].size + x.size, written=n, work=MULTIPLY.times(n))
            k.run(read=n, written=n, work=ADD.times(n))
            k.run(read=n + x.size, written=n, work=ADD.times(n))
        k.run(read=x.size, written=x.size, work=_SIGMOID.times(x.size))
        if positive:
            k.run(read=n + x.size, written=n, work=MULTIPLY.times(n))
        k.run(read=2 * n, written=n, work=ADD.times(n))
        _scaled(k, x, g, terms, weights, reduction)

    def of_target(g: Count) -> None:
        n = x.size
        k.run(read=n, written=n)
        if positive:
            for _ in range(2):
                k.run(read=n, written=2 * n, work=_LOG_SIGMOID.times(n))
            k.run(read=n + positive[0].size, written=n, work=MULTIPLY.times(n))
            k.run(read=2 * n, written=n, work=ADD.times(n))
        _scaled(k, t, g, terms, weights, reduction)

    for of, kernels in ((x, of_input), (t, of_target)):
        k.back(y, of, kernels, keeps=given)
    return y


def _scaled(k: Tape, of: Tensor, g: Count, terms: Shape, weights: list[Tensor], reduction: str) -> None:
    """The derivative of each term times what arrives, times the weights, over their number in a mean."""
    n = prod(terms)
    k.run(read=of.size + g, written=n, work=MULTIPLY.times(n))
    for w in weights:
        k.run(read=n + w.size, written=n, work=MULTIPLY.times(n))
    if reduction == "mean":
        k.run(read=n, written=n, work=DIVIDE.times(n))
    k.give(of, n, terms)
