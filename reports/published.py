"""Published figures beside computed ones, and why they differ: published.md."""

from __future__ import annotations

from collections.abc import Sequence

from costmodel import models
from costmodel.views.markdown import escape, table
from costmodel.views.published import Line, cells, compute, percent

NOTABLE = 0.01
"""The relative difference above which a reason is given."""


def files() -> dict[str, bytes]:
    """The report's one file, by its name."""
    return {"published.md": markdown(compute(models.published())).encode()}


def is_notable(line: Line) -> bool:
    """Whether the computed parameters or MACs differ from the printed ones by more than 1 %."""
    return any(abs(d) > NOTABLE for d in (line.params_difference, line.macs_difference) if d is not None)


def markdown(lines: Sequence[Line]) -> str:
    """Every statement, then the reason of each difference above 1 %."""
    notable = [x for x in lines if is_notable(x)]
    head = [
        "network", "source", "params, printed", "computed", "difference", "MACs, printed", "as", "computed",
        "difference",
    ]  # fmt: skip
    rows = []
    for x in lines:
        params, ours, off, macs, our_macs, macs_off = cells(x)
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
