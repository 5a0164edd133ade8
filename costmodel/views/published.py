"""Published figures of the networks beside the computed ones: for a terminal, and as JSON."""

from __future__ import annotations

import json as writer
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from costmodel.models import Published, closed_form
from costmodel.views import grid, units
from costmodel.views.styled import Part, Text

ROOMY = 160
"""The least width, in characters, for a row with both figures, the source and the reason."""


@dataclass(frozen=True, slots=True)
class Line:
    """A published statement with the computed figures of its network."""

    record: Published
    params: int
    macs: int

    @property
    def model(self) -> str:
        """The network's spec string."""
        return spec(self.record)

    @property
    def params_difference(self) -> float | None:
        """The relative difference of the computed parameters from the printed ones; None if none are printed."""
        return _relative(self.params, self.record.params)

    @property
    def macs_difference(self) -> float | None:
        """The same for the MACs."""
        return _relative(self.macs, self.record.macs)


def compute(records: Sequence[Published]) -> list[Line]:
    """The statements with the figures of their networks' closed forms."""
    forms = [closed_form(record.name, **record.variant) for record in records]
    return [Line(record, form.params, form.macs) for record, form in zip(records, forms, strict=True)]


def _relative(computed: int, printed: int | None) -> float | None:
    return None if printed is None else computed / printed - 1


def spec(record: Published) -> str:
    """The spec string of the network that a record is about.

    >>> spec(Published(name="mobilenet_v1", variant={"width": 0.5}, source="a paper"))
    'mobilenet_v1(width=0.5)'
    """
    arguments = ", ".join(f"{k}={v}" for k, v in record.variant.items())
    return f"{record.name}({arguments})" if arguments else record.name


def percent(difference: float | None) -> str:
    """A relative difference with its sign, to a hundredth of a percent.

    >>> percent(0.01234), percent(-0.5), percent(0.0), percent(1e-6), percent(None)
    ('+1.23 %', '-50.00 %', '0', '+0.00 %', '')
    """
    if difference is None:
        return ""
    return "0" if difference == 0 else f"{100 * difference:+.2f} %"


def json(lines: Sequence[Line]) -> str:
    """An object per statement, with exact figures."""
    rows: list[dict[str, Any]] = [
        {
            "model": x.model, "params_printed": x.record.params_printed, "params": x.params,
            "params_difference": x.params_difference, "macs_printed": x.record.macs_printed,
            "quoted_as": x.record.quoted_as, "macs": x.macs, "macs_difference": x.macs_difference,
            "source": x.record.source, "why": x.record.why, "note": x.record.note,
        }
        for x in lines
    ]  # fmt: skip
    return writer.dumps(rows, indent=1, ensure_ascii=False)


def cells(x: Line) -> list[str]:
    """The parameters as printed, as computed and their difference, then the same for the MACs."""
    r = x.record
    return [
        r.params_printed or "", units.si(x.params) if r.params_printed else "", percent(x.params_difference),
        r.macs_printed or "", units.si(x.macs) if r.macs_printed else "", percent(x.macs_difference),
    ]  # fmt: skip


def parts(lines: Sequence[Line], width: int) -> list[Part | str]:
    """A row per statement; on a narrow terminal its figures stand below its source and reason."""
    titles = ("params\nprinted", "computed", "difference", "MACs\nprinted", "computed", "difference")
    rows = [cells(x) for x in lines]
    if width < ROOMY:
        return [part for x, row in zip(lines, rows, strict=True) for part in _stacked(x, row, width)]
    columns = [grid.Column(title, [row[i] for row in rows]) for i, title in enumerate(titles)]
    remarks = [f"{x.record.source}{f' ({x.record.why})' if x.record.why else ''}" for x in lines]
    columns.append(grid.Column("source", remarks, right=False, wrap=True))
    made, _ = grid.table("model", [Text(x.model) for x in lines], columns, width, keep_all=True)
    return [made]


def _stacked(x: Line, row: Sequence[str], width: int) -> list[Part | str]:
    named = [part for part in (("params", *row[:3]), ("MACs", *row[3:])) if part[1]]
    # As wide as any figure is, so that those of all statements stand below each other.
    columns = [
        grid.Column(f"{title:>10}", [part[i] for part in named])
        for i, title in enumerate(("printed", "computed", "difference"), 1)
    ]
    figures, _ = grid.table("", [Text(part[0]) for part in named], columns, width, keep_all=True)
    why = [Text(x.record.why, "dim")] if x.record.why else []
    return [Text(x.model, "bold"), Text(x.record.source), *why, figures, ""]
