"""A model, or a training step of it, before and after a change: which totals changed, and which layers caused that.

Several models by name, as two folders of saved profiles have them, are ``Differences``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar, TypeAlias

from costmodel.arguments import short
from costmodel.errors import InputError
from costmodel.measures import STEP_TOTALS, Number, of_layers, shown_in, step_total
from costmodel.profiling import Profile
from costmodel.rendering import Rendered
from costmodel.training import TrainingStep

Side: TypeAlias = Profile | TrainingStep
"""One side of a difference."""

OF_A_LAYER = ("params", "forward_macs", "backward_macs", "saved_bytes")
"""The measures of a layer of a training step."""


@dataclass(frozen=True, slots=True)
class Change:
    """One layer that changed."""

    name: str
    what: str
    """``new``, ``gone`` or ``changed``."""
    before: dict[str, Number]
    after: dict[str, Number]
    """Its figures of each measure, before and after."""

    def difference(self, quantity: str) -> Number:
        """The increase of a measure."""
        return self.after[quantity] - self.before[quantity]


@dataclass(frozen=True)
class Difference(Rendered):
    """What changed from ``old`` to ``new``: two profiles, or two training steps."""

    view: ClassVar[str] = "difference"

    old: Side
    new: Side

    def __post_init__(self) -> None:
        for side in (self.old, self.new):
            if not isinstance(side, Profile | TrainingStep):
                raise InputError(f"a difference is of two Profiles, or of two TrainingSteps, not {short(side)}")
        if type(self.old) is not type(self.new):
            raise InputError("a difference is of two Profiles, or of two TrainingSteps, not of one of each")

    @property
    def of_steps(self) -> bool:
        """Whether the two are training steps."""
        return isinstance(self.new, TrainingStep)

    @property
    def totals(self) -> dict[str, tuple[Number, Number]]:
        """Each total before and after, of the measures that tables of totals show."""
        names = STEP_TOTALS if self.of_steps else [m.name for m in shown_in("totals")]
        both = {name: (_total(self.old, name), _total(self.new, name)) for name in names}
        return {name: (was, now) for name, (was, now) in both.items() if was is not None and now is not None}

    @cached_property
    def layers(self) -> tuple[Change, ...]:
        """The layers that changed, those first that moved a total by the greatest share of it.

        A layer is the same one where it has the same name (and is called the same time, if several).
        """
        before, after = _by_name(self.old), _by_name(self.new)
        names = OF_A_LAYER if self.of_steps else [measure.name for measure in of_layers()]
        nothing: dict[str, Number] = dict.fromkeys(names, 0)
        changes = []
        for key in dict.fromkeys((*before, *after)):
            was, now = before.get(key), after.get(key)
            if was != now:
                what = "new" if was is None else "gone" if now is None else "changed"
                name, nth = key
                label = name if nth == 1 else f"{name} (call {nth})"
                changes.append(Change(label, what, was or nothing, now or nothing))
        return tuple(sorted(changes, key=self._weight, reverse=True))

    @property
    def shown(self) -> list[str]:
        """The measures that the table of changed layers shows."""
        return list(OF_A_LAYER) if self.of_steps else [measure.name for measure in of_layers("changes")]

    def grown(self, limit: Fraction) -> list[str]:
        """The totals that grew by more than a share of their old value."""
        return [total for total, (was, now) in self.totals.items() if now > was and now - was > limit * was]

    def to_markdown(self, *, top: int = 20, limit: Fraction | None = None) -> str:
        """Totals before and after, and the ``top`` layers that moved them most; totals grown over ``limit`` marked."""
        return self._render("markdown", top=top, limit=limit)

    def _weight(self, change: Change) -> Fraction:
        """The greatest share of a total that the layer moved."""
        shares = [
            Fraction(abs(change.difference(name))) / Fraction(max(abs(was), abs(now)))
            for name, (was, now) in self.totals.items()
            if name in change.before and (was or now)
        ]
        return max(shares, default=Fraction(0))


@dataclass(frozen=True)
class Differences(Rendered):
    """What changed in several models, each known by its name, from ``old`` to ``new``."""

    view: ClassVar[str] = "differences"

    old: Mapping[str, Side]
    new: Mapping[str, Side]

    @cached_property
    def both(self) -> dict[str, Difference]:
        """Models that are on both sides."""
        return {name: Difference(self.old[name], side) for name, side in self.new.items() if name in self.old}

    @cached_property
    def changed(self) -> dict[str, Difference]:
        """Those of them in which a layer or a total changed."""
        return {
            name: found
            for name, found in self.both.items()
            if found.layers or any(was != now for was, now in found.totals.values())
        }

    @property
    def added(self) -> dict[str, Side]:
        """Models that were not there before."""
        return {name: side for name, side in self.new.items() if name not in self.old}

    @property
    def gone(self) -> dict[str, Side]:
        """Models that are not there any more."""
        return {name: side for name, side in self.old.items() if name not in self.new}

    @staticmethod
    def is_step(side: Side) -> bool:
        """Whether a side is a training step."""
        return isinstance(side, TrainingStep)

    @staticmethod
    def total(side: Side, name: str) -> Number:
        """A total of a side."""
        return _total(side, name) or 0

    def grown(self, limit: Fraction) -> dict[str, list[str]]:
        """Of each model on both sides, the totals that grew by more than a share of their old value."""
        return {name: found.grown(limit) for name, found in self.both.items()}

    def to_markdown(self, *, top: int = 20, limit: Fraction | None = None, size: int = 60_000) -> str:
        """A table of the models that changed, then of each what changed; at most ``size`` characters."""
        return self._render("markdown", top=top, limit=limit, size=size)


def _total(side: Side, name: str) -> Number | None:
    return side.total(name) if isinstance(side, Profile) else step_total(side, name)


def _by_name(side: Side) -> dict[tuple[str, int], dict[str, Number]]:
    """The figures of each layer, by its name and the number of the call of that name."""
    if isinstance(side, Profile):
        layers = [layer.name for layer in side.pricing.layers]
        columns = {measure.name: side.figures(measure.name) for measure in of_layers()}
    else:
        table = side.layers
        layers, columns = table["name"].tolist(), {name: table[name].tolist() for name in OF_A_LAYER}
    found: dict[tuple[str, int], dict[str, Number]] = {}
    calls: dict[str, int] = {}
    for i, layer in enumerate(layers):
        nth = calls[layer] = calls.get(layer, 0) + 1
        found[layer, nth] = {name: column[i] for name, column in columns.items()}
    return found
