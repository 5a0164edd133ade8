"""Which of the ops that ran have a rule, and where figures are lower bounds."""

from __future__ import annotations

from typing import ClassVar

from costmodel.graph import Note
from costmodel.pricing import Pricing
from costmodel.records import dataclass
from costmodel.shown import Shown


@dataclass(frozen=True)
class Coverage(Shown):
    """Every op that ran, in exactly one of three groups; and where figures are lower bounds for another reason."""

    view: ClassVar[str] = "coverage"

    counted: dict[str, int]
    """Ops whose cost is counted, and how often they ran."""
    free: dict[str, str]
    """Ops that cost nothing, and why."""
    unknown: dict[str, tuple[str, ...]]
    """Ops without a rule, and the modules in which they ran. Add a rule with ``costmodel.register_op``."""
    bounds: tuple[Note, ...] = ()
    """Where (``where``, a module) a figure is a lower bound for another reason, and which (``why``)."""


def coverage_of(pricing: Pricing) -> Coverage:
    """The coverage of the ops of a priced graph."""
    counted: dict[str, int] = {}
    free: dict[str, str] = {}
    for op in pricing.ops:
        if op.rule is None:
            continue
        if op.rule.free_because is not None:
            free[op.call.op] = op.rule.free_because
        else:
            counted[op.call.op] = counted.get(op.call.op, 0) + 1
    return Coverage(counted, free, pricing.unknown, pricing.bounds)
