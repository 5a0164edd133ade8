"""The update of a training step: what an optimizer computes, reads and writes, and what it keeps from step to step.

The step is one after the first, in which the optimizer makes its state. torch.optim has three implementations: the
``"for-loop"`` goes from tensor to tensor (torch's choice on a CPU), ``"foreach"`` from operation to operation, each on
the list of all tensors (its choice on a GPU), and ``"fused"`` is one kernel. What an update computes is the same in
all; they differ in what they read, write and hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from costmodel.formulas._arguments import public
from costmodel.formulas._updates import (
    EPSILON,
    INTERPOLATION,
    ROOT,
    Held,
    Op,
    OptimizerCost,
    cost_of_update,
    negated,
    on_gradient,
    quotient_added,
    scaled,
    square_added,
    times,
    with_decay,
)
from costmodel.quantities import Count, Work


@public
def sgd(
    *,
    elements: Count | Sequence[Count],
    momentum: float = 0,
    dampening: float = 0,
    weight_decay: float = 0,
    nesterov: bool = False,
    maximize: bool = False,
    itemsize: Count = 4,
    implementation: str = "for-loop",
) -> OptimizerCost:
    """Stochastic gradient descent: p - rate g, for n elements of parameters. ``elements`` are those of each tensor.

    flops = 2 n; with momentum + 2 n, and n more where dampening is not 0; with nesterov + 2 n; with a decay + 2 n
    memory_access = 3 n: p and g read, p written; with momentum + 5 n; with nesterov or a decay + 3 n each
    state = n with momentum: the buffer
    state_bytes = itemsize n

    A factor of 1 is no multiplication. A fused kernel reads p and g and writes p, and likewise the buffer.

    Source: torch.optim.SGD; momentum: Sutskever et al., ICML 2013, proceedings.mlr.press/v28/sutskever13.html.

    >>> cost = sgd(elements=1000, momentum=0.9)                      # 2 + 2 operations, 3 + 5 elements
    >>> cost.flops, cost.memory_access, cost.state_bytes
    (4000, 8000, 4000)
    """
    if nesterov and (not momentum or dampening):
        raise ValueError("nesterov: needs a momentum, and a dampening of 0")
    ops = on_gradient(weight_decay, maximize)
    if momentum:
        ops += [times(), Op(2, scaled(Work(adds=1), 1 - dampening))]
    ops += [Op(2, scaled(Work(adds=1), momentum))] * nesterov
    ops.append(Op(2, Work(adds=1, multiplies=1)))
    made = bool(maximize) or bool(weight_decay)
    held: list[Held] = []
    if maximize:
        held.append((1, 0 if momentum and not nesterov else 1))  # the last gradient goes when the next is there
    if weight_decay:
        held.append((2 if maximize else 1, 0))
    if nesterov:
        held.append((2 if made else 1, 0))
    return cost_of_update(
        elements, itemsize, implementation, ops, kept=1 if momentum else 0, held=held, held_by_lists=int(made),
        fused=(3, 2) if momentum else (2, 1),
    )  # fmt: skip


@public
def momentum(
    *,
    elements: Count | Sequence[Count],
    momentum: float = 0.9,
    dampening: float = 0,
    weight_decay: float = 0,
    nesterov: bool = False,
    maximize: bool = False,
    itemsize: Count = 4,
    implementation: str = "for-loop",
) -> OptimizerCost:
    """Stochastic gradient descent with momentum: ``sgd`` with a momentum of 0.9.

    flops = 4 n: buf = momentum buf + g, p - rate buf
    memory_access = 8 n
    state = n: the buffer
    state_bytes = itemsize n

    Source: torch.optim.SGD; Sutskever et al., ICML 2013, proceedings.mlr.press/v28/sutskever13.html.

    >>> momentum(elements=1000, implementation="fused").memory_access            # p, g, buf read; p, buf written
    5000
    """
    return sgd(
        elements=elements, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov,
        maximize=maximize, itemsize=itemsize, implementation=implementation,
    )  # fmt: skip


def _adam(
    decay: Sequence[Op],
    gradients_made: int,
    beta2: float,
    amsgrad: bool,
    maximize: bool,
    elements: Count | Sequence[Count],
    itemsize: Count,
    implementation: str,
) -> OptimizerCost:
    """``decay``: what a decay of the weights does; ``gradients_made``: the tensors that replace a gradient in turn."""
    ops = [
        *[negated()] * maximize, *decay, Op(2, INTERPOLATION), times(), square_added(1 - beta2),
        *[Op(2, Work(compares=1))] * amsgrad,
        Op(1, ROOT), Op(1, Work(divides=1)), Op(1, EPSILON), quotient_added(),
    ]  # fmt: skip
    moments = 3 if amsgrad else 2
    made = min(gradients_made, 1)
    # The root and the quotient of it, beside the last tensor's denominator; the gradient in a tensor of its own.
    held = [(2 + made, 1), (2, 1)] if gradients_made == 2 else [(2 + made, 1)]
    if maximize:
        held.append((1, 2))
    return cost_of_update(
        elements, itemsize, implementation, ops, kept=moments, counts=True,
        values_read=2 if implementation == "foreach" else 1, held=held, held_by_lists=1,
        fused=(2 + moments, 1 + moments),
    )  # fmt: skip


@public
def adam(
    *,
    elements: Count | Sequence[Count],
    beta2: float = 0.999,
    weight_decay: float = 0,
    amsgrad: bool = False,
    maximize: bool = False,
    itemsize: Count = 4,
    implementation: str = "for-loop",
) -> OptimizerCost:
    """Adam, for n elements of parameters in k tensors. ``elements`` are those of each tensor.

    m = m + (1 - beta1)(g - m), v = beta2 v + (1 - beta2) g g, p - rate m / (√v / correction + eps), in seven kernels

    flops = 13 n + k: 3 n for m, 4 n for v, 3 n for the denominator, 3 n for p, and the counters; with a decay + 2 n;
    with amsgrad + n
    memory_access = 18 n + 3 k; with amsgrad or a decay + 3 n each
    state = 2 n: m and v; with amsgrad 3 n
    state_bytes = itemsize state + 4 k: a counter of steps for each tensor
    temporaries = 2 n for one tensor (the root, and its quotient); foreach n

    foreach reads each counter twice as a number, and 1 that it adds to all. A fused kernel reads p, g, m, v and the
    counters, and writes p, m and v.

    Source: Kingma & Ba, arXiv:1412.6980, algorithm 1; amsgrad: Reddi et al., arXiv:1904.09237; torch.optim.Adam.

    >>> cost = adam(elements=1000)
    >>> cost.flops, cost.memory_access, cost.state_bytes
    (13001, 18003, 8004)
    """
    decay = [with_decay(weight_decay)] if weight_decay else []
    made = bool(maximize) + bool(weight_decay)
    return _adam(decay, made, beta2, amsgrad, maximize, elements, itemsize, implementation)


@public
def adamw(
    *,
    elements: Count | Sequence[Count],
    beta2: float = 0.999,
    weight_decay: float = 0.01,
    amsgrad: bool = False,
    maximize: bool = False,
    itemsize: Count = 4,
    implementation: str = "for-loop",
) -> OptimizerCost:
    """AdamW: Adam, and the weights decay by themselves: p (1 - rate decay), a kernel of its own before the others.

    flops = 14 n + k; with amsgrad + n
    memory_access = 20 n + 3 k; with amsgrad + 3 n
    state = 2 n: both moments; with amsgrad 3 n
    state_bytes = itemsize state + 4 k: a counter of steps for each tensor
    temporaries = 2 n for one tensor (the root, and its quotient); foreach n

    A fused kernel computes the same, reads p, g, m, v and the counters, and writes p, m and v: 7 n + 3 k in all. The
    for-loop of torch 2.6 multiplies the weights also where the decay is 0.

    Source: Loshchilov & Hutter, arXiv:1711.05101, algorithm 2; torch.optim.AdamW.

    >>> cost = adamw(elements=1000)
    >>> cost.flops, cost.memory_access, cost.state_bytes
    (14001, 20003, 8004)
    >>> adamw(elements=1000, implementation="fused").memory_access
    7003
    """
    decay = [times()] if weight_decay else []
    return _adam(decay, int(maximize), beta2, amsgrad, maximize, elements, itemsize, implementation)


@public
def adagrad(
    *,
    elements: Count | Sequence[Count],
    weight_decay: float = 0,
    maximize: bool = False,
    itemsize: Count = 4,
    implementation: str = "for-loop",
) -> OptimizerCost:
    """Adagrad, for n elements of parameters in k tensors. ``elements`` are those of each tensor.

    s = s + g g, p - rate g / (√s + eps), in four kernels; foreach multiplies g by the rate in one of its own

    flops = 7 n + k: 2 n for s, 2 n for the denominator, 3 n for p, and the counters; with a decay + 2 n
    memory_access = 11 n + 3 k, foreach 13 n + 3 k + 1; with a decay + 3 n
    state = n: the sum of squares
    state_bytes = itemsize n + 4 k: a counter of steps for each tensor

    Source: Duchi et al., JMLR 12 (2011), jmlr.org/papers/v12/duchi11a.html; torch.optim.Adagrad.

    >>> cost = adagrad(elements=1000)
    >>> cost.flops, cost.memory_access, cost.state_bytes
    (7001, 11003, 4004)
    """
    gradient = on_gradient(weight_decay, maximize)
    made = min(len(gradient), 1)
    last = [times(), quotient_added(factor_is_1=True)] if implementation == "foreach" else [quotient_added()]
    held: list[Held] = [(1 + made, 1), (len(gradient), 1)]
    return cost_of_update(
        elements, itemsize, implementation,
        [*gradient, square_added(1), Op(1, ROOT), Op(1, EPSILON), *last],
        kept=1, counts=True, values_read=1, held=held, held_by_lists=2, fused=(3, 2),
    )  # fmt: skip


@public
def rmsprop(
    *,
    elements: Count | Sequence[Count],
    alpha: float = 0.99,
    weight_decay: float = 0,
    momentum: float = 0,
    centered: bool = False,
    maximize: bool = False,
    itemsize: Count = 4,
    implementation: str = "for-loop",
) -> OptimizerCost:
    """RMSprop, for n elements of parameters in k tensors. ``elements`` are those of each tensor.

    v = alpha v + (1 - alpha) g g, p - rate g / (√v + eps), in five kernels

    flops = 9 n + k: 4 n for v, 2 n for the denominator, 3 n for p, and the counters; centered + 6 n (a mean of g, and
    its square taken off v); with momentum + 2 n; with a decay + 2 n
    memory_access = 13 n + 2 k; centered + 6 n; with momentum + 5 n; with a decay + 3 n
    state = n: v; centered, and with momentum, n more each
    state_bytes = itemsize state + 4 k: a counter of steps for each tensor

    torch has no fused implementation of it.

    Source: Tieleman & Hinton, lecture 6.5 (2012); centered: Graves, arXiv:1308.0850, section 4.2; torch.optim.RMSprop.

    >>> cost = rmsprop(elements=1000)
    >>> cost.flops, cost.memory_access, cost.state_bytes
    (9001, 13002, 4004)
    """
    gradient = on_gradient(weight_decay, maximize)
    made = min(len(gradient), 1)
    ops = [*gradient, times(), square_added(1 - alpha)]
    if centered:
        ops += [Op(2, INTERPOLATION), square_added(-1)]
    ops += [Op(1, ROOT), Op(1, EPSILON)]
    if momentum:
        ops += [times(), quotient_added(factor_is_1=True), Op(2, Work(adds=1, multiplies=1))]
    else:
        ops.append(quotient_added())
    return cost_of_update(
        elements, itemsize, implementation, ops, kept=1 + bool(momentum) + bool(centered), counts=True,
        held=[(1 + made, 1), (len(gradient), 1)], held_by_lists=1 + made, fused=None,
    )  # fmt: skip


OPTIMIZERS: tuple[Callable[..., OptimizerCost], ...] = (sgd, momentum, adam, adamw, adagrad, rmsprop)
"""Those with a formula."""
