"""A figure held to its bound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from costmodel.budgets.bounds import Bound
from costmodel.budgets.quantities import Quantity
from costmodel.budgets.subject import Subject
from costmodel.measures import Number


@dataclass(frozen=True)
class Finding:
    """A bound, and the figure that is held to it."""

    bound: Bound
    value: Number
    is_exact: bool
    where: str = ""
    """``on h100`` or ``in 24GB``, where the figure is one of that."""

    @property
    def is_kept(self) -> bool:
        """Whether the figure keeps the bound."""
        return self.bound.holds(self.value, exact=self.is_exact)


def held(subject: Subject, bounds: Iterable[Bound]) -> tuple[Finding, ...]:
    """The figures of a model beside their bounds; each is computed once."""
    values: dict[str, Number] = {}
    found = []
    for bound in bounds:
        of = bound.quantity
        if of.name not in values:
            values[of.name] = of.value(subject)
        found.append(Finding(bound, values[of.name], of.is_exact(subject), _where(of, subject)))
    return tuple(found)


def _where(of: Quantity, subject: Subject) -> str:
    if not of.needs:
        return ""
    memory = subject.settings.memory if "memory" in of.needs else None
    if memory is None:
        return f"on {subject.settings.device}"
    return f"in {memory} bytes" if isinstance(memory, int) else f"in {memory}"
