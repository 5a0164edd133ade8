"""Two profiles of a model, before and after a change: what its totals did, and which layers caused it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

from costmodel.profile import Profile
from costmodel.rendering import Rendered

QUANTITIES = ("params", "macs", "flops", "memory_access", "memory_access_bytes", "activations")
"""What is compared layer by layer."""

TOTALS = (*QUANTITIES, "peak_memory")
"""The totals that are compared."""


@dataclass(frozen=True, slots=True)
class Change:
    """One layer that is not as it was."""

    name: str
    what: str
    """``new``, ``gone`` or ``changed``."""
    before: dict[str, int]
    after: dict[str, int]

    def difference(self, quantity: str) -> int:
        """How much more it is than before."""
        return self.after[quantity] - self.before[quantity]


@dataclass(frozen=True, eq=False)
class Difference(Rendered):
    """What changed from ``old`` to ``new``."""

    view: ClassVar[str] = "difference"

    old: Profile
    new: Profile

    @property
    def totals(self) -> dict[str, tuple[int, int]]:
        """Each total before and after."""
        return {total: (getattr(self.old, total), getattr(self.new, total)) for total in TOTALS}

    @cached_property
    def layers(self) -> tuple[Change, ...]:
        """The layers that changed, those first that moved a total by the greatest share of it.

        A layer is the same one where it has the same name (and is called the same time, if several).
        """
        before, after = _by_name(self.old), _by_name(self.new)
        nothing = dict.fromkeys(QUANTITIES, 0)
        changes = []
        for key in dict.fromkeys((*before, *after)):
            was, now = before.get(key), after.get(key)
            if was != now:
                what = "new" if was is None else "gone" if now is None else "changed"
                name, nth = key
                label = name if nth == 1 else f"{name} (call {nth})"
                changes.append(Change(label, what, was or nothing, now or nothing))
        return tuple(sorted(changes, key=self._weight, reverse=True))

    def grown(self, limit: Fraction) -> list[str]:
        """The totals that grew by more than a share of what they were."""
        return [total for total, (was, now) in self.totals.items() if now > was and now - was > limit * was]

    def to_markdown(self, *, top: int = 20, limit: Fraction | None = None) -> str:
        """Totals before and after, and the ``top`` layers that moved them most; totals grown over ``limit`` marked."""
        return self._render("markdown", top=top, limit=limit)

    def _weight(self, change: Change) -> Fraction:
        return max(
            (Fraction(abs(change.difference(q)), max(self.totals[q])) for q in QUANTITIES if any(self.totals[q])),
            default=Fraction(0),
        )


def _by_name(p: Profile) -> dict[tuple[str, int], dict[str, int]]:
    found: dict[tuple[str, int], dict[str, int]] = {}
    called: dict[str, int] = {}
    for layer in p.pricing.layers:
        nth = called[layer.name] = called.get(layer.name, 0) + 1
        work = layer.work
        found[layer.name, nth] = {
            "params": sum(t.size for t in layer.new_parameters),
            "macs": work.macs,
            "flops": work.flops,
            "memory_access": layer.traffic.elements,
            "memory_access_bytes": layer.traffic.bytes,
            "activations": sum(op.activations for op in layer.ops),
        }
    return found
