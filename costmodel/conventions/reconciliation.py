"""Several tools' numbers for one model, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

from costmodel.conventions.recount import Recount
from costmodel.conventions.tool import Tool, ToolFailsError
from costmodel.records import dataclass
from costmodel.rendering import Rendered

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Line:
    """What one tool prints."""

    tool: str
    version: str
    total: int
    unit: str
    params: int | None
    why: str
    """The largest differences; where the tool fails, the reason."""
    failed: bool = False


@dataclass(frozen=True, eq=False)
class Reconciliation(Rendered):
    """What each tool prints for a model, and where it differs most."""

    view: ClassVar[str] = "reconciliation"

    model: str
    macs: int
    params: int
    lines: tuple[Line, ...]

    @property
    def rows(self) -> pd.DataFrame:
        """One row per tool: ``tool, version, total, unit, params, why``; ``total`` is empty where the tool fails."""
        import pandas as pd

        rows = [
            [line.tool, line.version, None if line.failed else line.total, line.unit, line.params, line.why]
            for line in self.lines
        ]
        return pd.DataFrame(rows, columns=["tool", "version", "total", "unit", "params", "why"], dtype=object)


def reconcile(
    model: str, macs: int, params: int, counted_as: Callable[[str], Recount], tools: Iterable[Tool]
) -> Reconciliation:
    """Asks for each tool's number; a tool that fails on the model is listed with its reason.

    Raises ``CostModelError`` where the model cannot be read at all.
    """

    def ask(tool: Tool) -> Line:
        try:
            found = counted_as(tool.name)
        except ToolFailsError as error:
            return Line(tool.name, tool.version, 0, tool.unit, None, error.why, failed=True)
        return Line(tool.name, tool.version, found.total, found.unit, found.params, found.summary)

    return Reconciliation(model, macs, params, tuple(map(ask, tools)))
