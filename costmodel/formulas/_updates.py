"""What the update of a training step costs: of any optimizer, from the operations that it does on one element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import TypeAlias

from costmodel.formulas._arguments import as_shape, positive_part, require, require_one_of
from costmodel.quantities import Count, Work
from costmodel.records import dataclass

COUNTER_BYTES = 4
"""Bytes of the number of steps, kept for each tensor: a 32-bit float."""

ROOT = Work(transcendentals=1)
EPSILON = Work(adds=1)
INTERPOLATION = Work(adds=2, multiplies=1)
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
class Op:
    """An elementwise operation, on one element of each tensor that it reads; it writes one."""

    reads: int
    work: Work


Held: TypeAlias = tuple[int, int]
"""How many tensors a for-loop holds at some moment: of the tensor that it updates, and of the one before."""


def _greater(a: Count, b: Count) -> Count:
    return b + positive_part(a - b)


def scaled(work: Work, factor: float) -> Work:
    """With a multiplication, where the factor is not 1."""
    return work if factor == 1 else work + Work(multiplies=1)


def negated() -> Op:
    return Op(1, Work())


def with_decay(weight_decay: float) -> Op:
    """g + decay p."""
    return Op(2, scaled(Work(adds=1), weight_decay))


def times() -> Op:
    return Op(1, Work(multiplies=1))


def square_added(factor: float) -> Op:
    """v + factor g g."""
    return Op(2, scaled(Work(multiplies=1, adds=1), factor))


def quotient_added(factor_is_1: bool = False) -> Op:
    """p - rate m / d."""
    return Op(3, scaled(Work(divides=1, adds=1), 1 if factor_is_1 else 0))


def on_gradient(weight_decay: float, maximize: bool) -> list[Op]:
    """What is done to the gradient first."""
    return [negated()] * bool(maximize) + [with_decay(weight_decay)] * bool(weight_decay)


def cost_of_update(
    elements: Count | Sequence[Count],
    itemsize: Count,
    implementation: str,
    ops: Sequence[Op],
    *,
    kept: int,
    counts: bool = False,
    values_read: int = 0,
    held: Sequence[Held] = (),
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


def _most(sizes: Sequence[Count], held: Sequence[Held]) -> Count:
    most: Count = 0
    for before, size in zip((0, *sizes), sizes, strict=False):
        for own, of_the_last in held:
            most = _greater(own * size + of_the_last * before, most)
    return most
