"""The update of a training step: what an optimizer computes, reads and writes, and what it keeps from step to step.

The step is one after the first, in which the optimizer makes its state. torch.optim has three implementations: the
``"for-loop"`` goes from tensor to tensor (torch's choice on a CPU), ``"foreach"`` from operation to operation, each on
the list of all tensors (its choice on a GPU), and ``"fused"`` is one kernel. What an update computes is the same in
all; they differ in what they read, write and hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from costmodel.formulas._arguments import as_shape, positive_part, public, require, require_one_of
from costmodel.quantities import Count, Work

COUNTER_BYTES = 4
"""Bytes of the number of steps, kept for each tensor: a 32-bit float."""

_ROOT = Work(transcendentals=1)
_EPSILON = Work(adds=1)
_INTERPOLATION = Work(adds=2, multiplies=1)
"""A moving average: m + w (g - m)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerCost:
    """The cost of one update. Every count is a Python int, a NumPy array or a sympy expression, as its inputs were.

    ``a + b`` is the cost of two groups of parameters, updated one after the other.
    """

    work: Work = field(default_factory=Work)
    """Arithmetic by kind."""
    read: int = 0
    """Elements read, when each op is a kernel of its own."""
    written: int = 0
    """Elements written, likewise."""
    state: int = 0
    """Elements that the optimizer keeps in the parameters' dtype."""
    state_bytes: int = 0
    """Bytes of all that it keeps, its counters of steps among them."""
    temporaries: int = 0
    """The most elements that an update holds at once, of tensors that it makes and frees."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and matrix products: none."""
        return self.work.macs

    @property
    def flops(self) -> int:
        """Arithmetic operations, one each."""
        return self.work.flops

    @property
    def memory_access(self) -> int:
        """Elements read plus elements written."""
        return self.read + self.written

    def __add__(self, other: OptimizerCost) -> OptimizerCost:
        return OptimizerCost(
            work=self.work + other.work,
            read=self.read + other.read,
            written=self.written + other.written,
            state=self.state + other.state,
            state_bytes=self.state_bytes + other.state_bytes,
            temporaries=_greater(self.temporaries, other.temporaries),
        )


# -- one update, from its operations on one element -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Op:
    """An elementwise operation, on one element of each tensor that it reads; it writes one."""

    reads: int
    work: Work


_Held: TypeAlias = tuple[int, int]
"""How many tensors a for-loop holds at some moment: of the tensor that it updates, and of the one before."""


def _greater(a: Count, b: Count) -> Count:
    return b + positive_part(a - b)


def _scaled(work: Work, factor: float) -> Work:
    """With a multiplication, where the factor is not 1."""
    return work if factor == 1 else work + Work(multiplies=1)


def _negated() -> _Op:
    return _Op(1, Work())


def _with_decay(weight_decay: float) -> _Op:
    """g + decay p."""
    return _Op(2, _scaled(Work(adds=1), weight_decay))


def _times() -> _Op:
    return _Op(1, Work(multiplies=1))


def _square_added(factor: float) -> _Op:
    """v + factor g g."""
    return _Op(2, _scaled(Work(multiplies=1, adds=1), factor))


def _quotient_added(factor_is_1: bool = False) -> _Op:
    """p - rate m / d."""
    return _Op(3, _scaled(Work(divides=1, adds=1), 1 if factor_is_1 else 0))


def _gradient(weight_decay: float, maximize: bool) -> list[_Op]:
    """What is done to the gradient first."""
    return [_negated()] * bool(maximize) + [_with_decay(weight_decay)] * bool(weight_decay)


def _update(
    elements: Count | Sequence[Count],
    itemsize: Count,
    implementation: str,
    ops: Sequence[_Op],
    *,
    kept: int,
    counts: bool = False,
    values_read: int = 0,
    held: Sequence[_Held] = (),
    held_by_lists: int = 0,
    fused: tuple[int, int] | None = (0, 0),
) -> OptimizerCost:
    """The cost of an update of tensors of so many ``elements`` each.

    Args:
        elements: of each tensor.
        itemsize: bytes of one.
        implementation: the word that the formula was given.
        ops: what is done to each element.
        kept: tensors of state for each tensor of parameters.
        counts: whether a counter of steps is kept for each.
        values_read: how often each counter is read as a number.
        held: what a for-loop holds of the tensors that it makes, at the moments at which that can be the most.
        held_by_lists: how many lists of tensors as large as all parameters are held where each op is on lists.
        fused: elements that one fused kernel reads and writes, for each element; ``None``: there is none.
    """
    require_one_of(choices=("for-loop", "foreach", "fused"), implementation=implementation)
    sizes = as_shape(elements)
    require(elements=sizes, least=0)
    require(itemsize=itemsize)
    total, tensors = sum(sizes[1:], start=sizes[0]) if sizes else 0, len(sizes)
    counters = tensors if counts else 0
    state = kept * total
    work = Work(adds=counters)
    for op in ops:
        work += op.work.times(total)
    if implementation == "fused":
        if fused is None:
            raise ValueError("torch has no fused implementation of it: choose for-loop or foreach")
        read, written, temporaries = fused[0] * total + counters, fused[1] * total, 0
    else:
        read, written = sum(op.reads for op in ops) * total + values_read * counters, len(ops) * total
        on_lists = implementation == "foreach"
        temporaries = held_by_lists * total if on_lists else _most(sizes, held)
        read = read + (1 if on_lists and counts and tensors else 0)  # the 1 that is added to all counters
    return OptimizerCost(
        work=work, read=read + counters, written=written + counters, state=state,
        state_bytes=state * itemsize + COUNTER_BYTES * counters, temporaries=temporaries,
    )  # fmt: skip


def _most(sizes: Sequence[Count], held: Sequence[_Held]) -> Count:
    most: Count = 0
    for before, size in zip((0, *sizes), sizes, strict=False):
        for own, of_the_last in held:
            most = _greater(own * size + of_the_last * before, most)
    return most


# -- the optimizers ----------------------------------------------------------------------------------------------------


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
    ops = _gradient(weight_decay, maximize)
    if momentum:
        ops += [_times(), _Op(2, _scaled(Work(adds=1), 1 - dampening))]
    ops += [_Op(2, _scaled(Work(adds=1), momentum))] * nesterov
    ops.append(_Op(2, Work(adds=1, multiplies=1)))
    made = bool(maximize) or bool(weight_decay)
    held: list[_Held] = []
    if maximize:
        held.append((1, 0 if momentum and not nesterov else 1))  # the last gradient goes when the next is there
    if weight_decay:
        held.append((2 if maximize else 1, 0))
    if nesterov:
        held.append((2 if made else 1, 0))
    return _update(
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
    decay: Sequence[_Op],
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
        *[_negated()] * maximize, *decay, _Op(2, _INTERPOLATION), _times(), _square_added(1 - beta2),
        *[_Op(2, Work(compares=1))] * amsgrad,
        _Op(1, _ROOT), _Op(1, Work(divides=1)), _Op(1, _EPSILON), _quotient_added(),
    ]  # fmt: skip
    moments = 3 if amsgrad else 2
    made = min(gradients_made, 1)
    # The root and the quotient of it, beside the last tensor's denominator; the gradient in a tensor of its own.
    held = [(2 + made, 1), (2, 1)] if gradients_made == 2 else [(2 + made, 1)]
    if maximize:
        held.append((1, 2))
    return _update(
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
    decay = [_with_decay(weight_decay)] if weight_decay else []
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
    decay = [_times()] if weight_decay else []
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
    gradient = _gradient(weight_decay, maximize)
    made = min(len(gradient), 1)
    last = [_times(), _quotient_added(factor_is_1=True)] if implementation == "foreach" else [_quotient_added()]
    held: list[_Held] = [(1 + made, 1), (len(gradient), 1)]
    return _update(
        elements, itemsize, implementation,
        [*gradient, _square_added(1), _Op(1, _ROOT), _Op(1, _EPSILON), *last],
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
    gradient = _gradient(weight_decay, maximize)
    made = min(len(gradient), 1)
    ops = [*gradient, _times(), _square_added(1 - alpha)]
    if centered:
        ops += [_Op(2, _INTERPOLATION), _square_added(-1)]
    ops += [_Op(1, _ROOT), _Op(1, _EPSILON)]
    if momentum:
        ops += [_times(), _quotient_added(factor_is_1=True), _Op(2, Work(adds=1, multiplies=1))]
    else:
        ops.append(_quotient_added())
    return _update(
        elements, itemsize, implementation, ops, kept=1 + bool(momentum) + bool(centered), counts=True,
        held=[(1 + made, 1), (len(gradient), 1)], held_by_lists=1 + made, fused=None,
    )  # fmt: skip


OPTIMIZERS: tuple[Callable[..., OptimizerCost], ...] = (sgd, momentum, adam, adamw, adagrad, rmsprop)
"""Those with a formula."""
