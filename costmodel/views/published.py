"""What papers print of their networks beside what is computed: for a terminal, as Markdown and JSON."""

from __future__ import annotations

import json as writer
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costmodel.models import Published
from costmodel.views import grid, units
from costmodel.views.markdown import escape, table

if TYPE_CHECKING:
    from rich.console import RenderableType

ROOMY = 160
"""Characters that a row with both figures, its source and its reason takes."""

NOTABLE = 0.01
"""The relative difference above which a reason is given."""


@dataclass(frozen=True, slots=True)
class Line:
    """A published statement, and the network that it is about as computed."""

    record: Published
    params: int
    macs: int

    @property
    def model(self) -> str:
        """The network as ``costmodel.load`` takes it."""
        return spec(self.record)

    @property
    def params_difference(self) -> float | None:
        """Of the computed parameters to the printed ones, relative; None where none are printed."""
        return _relative(self.params, self.record.params)

    @property
    def macs_difference(self) -> float | None:
        """Likewise of the MACs."""
        return _relative(self.macs, self.record.macs)

    @property
    def is_notable(self) -> bool:
        """Whether one of the two is above 1 %."""
        return any(abs(d) > NOTABLE for d in (self.params_difference, self.macs_difference) if d is not None)


def _relative(computed: int, printed: int | None) -> float | None:
    return None if printed is None else computed / printed - 1


def spec(record: Published) -> str:
    """The network that a record is about, as ``costmodel.load`` takes it.

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
    """An object for each statement, with exact figures."""
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


def _cells(x: Line) -> list[str]:
    r = x.record
    return [
        r.params_printed or "", units.si(x.params) if r.params_printed else "", percent(x.params_difference),
        r.macs_printed or "", units.si(x.macs) if r.macs_printed else "", percent(x.macs_difference),
    ]  # fmt: skip


def parts(lines: Sequence[Line], width: int) -> list[RenderableType]:
    """A row for each statement; on a narrow terminal its two figures below each other, beside source and reason."""
    from rich.text import Text

    if width < ROOMY:
        return [_stacked(lines)]
    titles = ("params\nprinted", "computed", "difference", "MACs\nprinted", "computed", "difference")
    rows = [_cells(x) for x in lines]
    columns = [grid.Column(title, [row[i] for row in rows]) for i, title in enumerate(titles)]
    remarks = [f"{x.record.source}{f' ({x.record.why})' if x.record.why else ''}" for x in lines]
    columns.append(grid.Column("source", remarks, right=False, wrap=True))
    made, _ = grid.table("model", [Text(x.model) for x in lines], columns, width, keep_all=True)
    return [made]


def _stacked(lines: Sequence[Line]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), header_style="bold", show_edge=False, pad_edge=False)
    made.add_column("model and source", ratio=1, overflow="fold")
    made.add_column()
    for title in ("printed", "computed", "difference"):
        made.add_column(title, justify="right", no_wrap=True)
    for x in lines:
        said = Text(f"{x.model}\n", style="bold")
        said.append(x.record.source, style="not bold")
        if x.record.why:
            said.append(f"\n{x.record.why}", style="not bold dim")
        params, macs = _cells(x)[:3], _cells(x)[3:]
        named = [row for row in (("params", *params), ("MACs", *macs)) if row[1]]
        made.add_row(said, *("\n".join(column) for column in zip(*named, strict=True)), end_section=True)
    return made


def markdown(lines: Sequence[Line]) -> str:
    """The report: every statement, then the reason of each difference above 1 %."""
    notable = [x for x in lines if x.is_notable]
    head = [
        "network", "source", "params, printed", "computed", "difference", "MACs, printed", "as", "computed",
        "difference",
    ]  # fmt: skip
    rows = []
    for x in lines:
        params, ours, off, macs, our_macs, macs_off = _cells(x)
        said = [f"`{x.model}`", escape(x.record.source)]
        rows.append([*said, params, ours, off, macs, escape(x.record.quoted_as), our_macs, macs_off])
    whys = [
        [f"`{x.model}`", escape(x.record.source), percent(x.params_difference), percent(x.macs_difference),
         escape(x.record.why)]
        for x in notable
    ]  # fmt: skip
    notes = [[f"`{x.model}`", escape(x.record.source), escape(x.record.note)] for x in lines if x.record.note]
    about = (
        f"{len(lines)} statements of papers, and of libraries where those are quoted more, about "
        f"{len({x.model for x in lines})} networks. A printed figure is as its source prints it, and none is adjusted "
        "to fit; *as* is the source's own word for multiply-accumulates. What is computed is the closed form of this "
        "library's network, which the cross-check holds to its trace. The difference is computed / printed - 1; half a "
        "unit of the last printed digit is rounding."
    )
    return "\n\n".join([
        "# Published figures, and computed ones",
        about,
        table(head, rows, left=2),
        "## Differences above 1 %, explained",
        f"{len(notable)} of {len(lines)}.",
        table(["network", "source", "params", "MACs", "why"], whys, left=5),
        "## Remarks",
        table(["network", "source", "remark"], notes, left=3),
    ]) + "\n"  # fmt: skip
