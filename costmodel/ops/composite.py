"""Composite ops that are recorded as one core op.

The trace sees composite ops undecomposed. One that has a rule of its own (``aten.linear``, attention, an LSTM) is
recorded as it is; one that is registered here as its core op; torch decomposes all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from costmodel.graph import Arguments, TensorSpec
from costmodel.ops import files
from costmodel.ops.registry import Registry
from costmodel.ops.rule import Example
from costmodel.records import dataclass


def _same(args: Arguments) -> Arguments:
    return args


def never(args: Arguments) -> bool:
    """No call is an identity."""
    return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Composite:
    """How composite ops map to a core op. It stands beside the core op's rule."""

    targets: tuple[str, ...]
    core: str
    """The op that is recorded."""
    arguments: Callable[[Arguments], Arguments | None] = _same
    """The core op's arguments, from the composite's; ``None`` where torch must decompose this call after all."""
    is_identity: Callable[[Arguments], bool] = never
    """Whether the call does nothing and returns its first argument."""
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] | None = None
    """What it allocates besides its first output, from the core op's arguments; ``None`` where that is what the core op
    does, and the core op's further outputs, which are not returned."""
    examples: tuple[Example, ...]
    """Arguments of the composite itself, as a rule's examples."""


COMPOSITES = Registry[Composite](files.COMPOSITES)
"""Every composite by target."""


def register_composites(*composites: Composite) -> None:
    """Adds composites to the registry; a target that is registered already is an error."""
    for composite in composites:
        for target in composite.targets:
            if COMPOSITES.is_registered(target):
                raise ValueError(f"{target!r} is registered already, as {COMPOSITES[target].core!r}")
            COMPOSITES[target] = composite


def without(*names: str) -> Callable[[Arguments], Arguments]:
    """The composite's arguments but for those that the core op does not take."""
    return lambda args: {name: value for name, value in args.items() if name not in names}
