"""Callables whose inside a trace does not look into: one op stands for each call of one, with a cost that is declared.

``costmodel.register_function`` and ``register_layer(..., opaque=True)`` add to the table; ``costmodel.trace`` reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from costmodel.records import dataclass

LAYER_OP = "costmodel.layer.declared"
"""The op that stands for a call of an opaque layer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """One such callable."""

    op: str
    """The op that stands for a call of it."""
    target: Any
    """A class or a function, or its name as ``"package.module:Name"``, looked up once that module is imported."""
    arguments: tuple[str, ...] = ()
    """The names of its arguments; empty for those of its signature."""
    cost: Callable[[Any, tuple[int, ...]], Any] | None = None
    """Of a layer: its ``LayerCost``, from the module and the shape of its first input."""

    def found(self) -> Any | None:
        """The class or function itself, ``None`` while its module is not imported."""
        if not isinstance(self.target, str):
            return self.target
        name, _, path = self.target.partition(":")
        found: Any = sys.modules.get(name)
        for part in path.split("."):
            found = getattr(found, part, None)
        return found


DECLARED: dict[Any, Declared] = {}
"""Every one, by its target."""
