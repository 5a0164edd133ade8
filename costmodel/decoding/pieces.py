"""Exact sums over tokens whose cost is linear in the context, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from costmodel.measures import MEASURES
from costmodel.profiling import Profile


@dataclass(frozen=True, eq=False)
class Numbers:
    """What is compared of one token: each op by itself, so that no two differences can cancel."""

    ops: tuple[str, ...]
    by_op: tuple[int, ...]
    totals: Mapping[str, int]
    peak: int
    """The most live bytes."""
    cache_bytes: int


@dataclass(frozen=True)
class Piece:
    """Consecutive contexts between which every figure of every op is linear."""

    first: int
    last: int
    at_first: Numbers
    at_last: Numbers

    def sum(self, figure: Callable[[Numbers], int]) -> int:
        """The figure's sum over all contexts: of an arithmetic series, so an integer."""
        return (self.last - self.first + 1) * (figure(self.at_first) + figure(self.at_last)) // 2


def summed(name: str) -> Callable[[Numbers], int]:
    """The total of a measure, as a figure of ``Piece.sum``."""
    return lambda numbers: numbers.totals[name]


def additive(p: Profile) -> dict[str, int]:
    """The totals that add up over calls of a model: those that its ops have, not its parameters."""
    names = [m.name for m in MEASURES.values() if m.of_layer is not None and m.additive and m.needs_rules]
    totals = {name: p.total(name) for name in names}
    return {name: total for name, total in totals.items() if type(total) is int}


def numbers_of(p: Profile, live: tuple[int, ...], cache_bytes: int) -> Numbers:
    """The numbers of one token's trace."""
    ops = p.pricing.ops
    costs = [(op.work.macs, op.work.flops, op.traffic.elements, op.traffic.bytes) for op in ops]
    flat = (int(n) for cost in costs for n in cost)
    return Numbers(
        ops=tuple(op.call.op for op in ops),
        by_op=(*flat, *live, cache_bytes),
        totals=additive(p),
        peak=max(live, default=p.peak_memory),
        cache_bytes=cache_bytes,
    )


def pieces(first: int, last: int, at: Callable[[int], Numbers]) -> Iterator[Piece]:
    """The contexts from ``first`` to ``last`` in pieces, each as long as bisection finds one that is linear.

    A piece is believed where the line through its ends meets traces beside both ends and in the middle. A cost that
    saturates, as that of attention in a window, is split around its bend; one that is linear nowhere is traced at each
    context.
    """
    if first > last:
        return
    ends = at(first), at(last)
    if _is_linear(first, last, ends, at):
        yield Piece(first, last, *ends)
        return
    middle = (first + last) // 2
    yield from pieces(first, middle, at)
    yield from pieces(middle + 1, last, at)


def _is_linear(first: int, last: int, ends: tuple[Numbers, Numbers], at: Callable[[int], Numbers]) -> bool:
    length = last - first
    if length <= 1:
        return True
    if ends[0].ops != ends[1].ops:
        return False
    low, high = (np.array(end.by_op, dtype=object) for end in ends)
    for context in dict.fromkeys(((first + last) // 2, first + 1, last - 1)):
        found = at(context)
        if found.ops != ends[0].ops:
            return False
        if not ((np.array(found.by_op, dtype=object) - low) * length == (high - low) * (context - first)).all():
            return False
    return True
