"""What some candidates cost: figures of those that have them, and for each other one the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from costmodel.candidates.grid import Columns


@dataclass(frozen=True)
class Rows:
    """The results of a block of candidates, which are named by their place in it."""

    places: Any = ()
    """The candidates that have figures."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Theirs, column by column: lists or arrays."""
    failures: Mapping[int, str] = field(default_factory=dict)
    """What is wrong with the others."""


class Pricer(Protocol):
    """Says what candidates cost; it is sent to other processes."""

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures that it has."""

    @property
    def others(self) -> tuple[str, ...]:
        """The names of its other columns, which follow the measures."""

    def block(self, is_sent: bool) -> int:
        """How many candidates to price at once: in this process, or where they are sent to another."""

    def describe(self) -> dict[str, Any]:
        """What decides the figures, as plain data: rows of one folder have this in common."""

    def price(self, columns: Columns) -> Rows:
        """The figures of some candidates."""
