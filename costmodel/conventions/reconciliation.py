"""Several tools' numbers for one model, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from costmodel.conventions.recount import Recount
from costmodel.conventions.tool import Tool, ToolFailsError
from costmodel.errors import CostModelError
from costmodel.graph import TensorSpec
from costmodel.metrics import Metric
from costmodel.records import dataclass
from costmodel.rendering import Report

if TYPE_CHECKING:
    import pandas as pd

    from costmodel.profiling import Profile


@dataclass(frozen=True, slots=True)
class Line:
    """What one tool prints."""

    tool: str
    version: str
    total: int | None
    """``None`` where the tool fails."""
    unit: str
    params: int | None
    why: str
    """The largest differences; where the tool fails, the reason."""


@dataclass(frozen=True, eq=False, repr=False)
class Reconciliation(Report):
    """What each tool prints for a model, and where it differs most."""

    view: ClassVar[str] = "reconciliation"

    model: str
    inputs: tuple[TensorSpec, ...]
    """What the model was given."""
    mode: str
    macs: int
    params: int
    lines: tuple[Line, ...]
    recounts: Mapping[str, Recount]
    """By tool; without those that fail."""

    @property
    def rows(self) -> pd.DataFrame:
        """One row per tool: ``tool, version, total, unit, params, why``; ``total`` is empty where the tool fails."""
        import pandas as pd

        columns = ["tool", "version", "total", "unit", "params", "why"]
        return pd.DataFrame([[getattr(line, c) for c in columns] for line in self.lines], columns=columns, dtype=object)


def reconcile(p: Profile, tools: Iterable[Tool]) -> Reconciliation:
    """Asks for each tool's number; a tool that fails on the model is listed with its reason.

    Raises ``CostModelError`` where the model cannot be read at all.
    """
    lines, recounts = [], {}
    for tool in tools:
        try:
            found = p.counted_as(tool.name)
        except ToolFailsError as error:
            lines.append(_without_number(tool, error.why))
        else:
            recounts[tool.name] = found
            lines.append(Line(tool.name, tool.version, found.total, found.unit, found.params, found.summary))
    return Reconciliation(p.name, p.inputs, p.mode, p.macs, p.params, tuple(lines), recounts)


def _without_number(tool: Tool, why: str) -> Line:
    return Line(tool.name, tool.version, None, tool.unit, None, why)


def counted(p: Profile, tools: Iterable[Tool]) -> list[Line]:
    """What each tool prints for one model of several; where it fails, or the model cannot be read, why."""
    try:
        return list(reconcile(p, tools).lines)
    except CostModelError as error:
        return [_without_number(tool, str(error)) for tool in tools]


def metric(tool: Tool, lines: Mapping[str, Line]) -> Metric:
    """A column of a comparison: what a tool prints for each model."""
    return Metric(
        tool.name,
        {row: line.total for row, line in lines.items()},
        better="lower",
        unit=tool.unit,
        means=f"as counted by {tool.name} {tool.version}, computed without running it",
        sources={row: line.why for row, line in lines.items() if line.total is None},
        head=f"{tool.name} {tool.version}",
    )
