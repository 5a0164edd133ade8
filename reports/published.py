"""Published figures, which convention makes each, and what is known of those that none makes: published.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import costmodel
from costmodel import models
from costmodel.models import Published
from costmodel.provenance.result import Finding
from costmodel.views import units
from costmodel.views.markdown import escape, table
from costmodel.views.published import percent, spec

PLAIN = {"params": "params", "macs": "MACs"}
"""The plain count of each quantity."""

Made = Mapping[tuple[str, str, str], Finding]
"""By spec, quantity and figure."""


def files() -> dict[str, bytes]:
    """The report's one file, by its name."""
    records = models.published()
    return {"published.md": markdown(records, find(records)).encode()}


def printed(record: Published) -> dict[str, str]:
    """A statement's figures, by quantity."""
    texts = {"params": record.params_printed, "macs": record.macs_printed}
    return {quantity: text for quantity, text in texts.items() if text is not None}


def find(records: Sequence[Published]) -> Made:
    """Which conventions make each figure. All figures of one network are looked up at once."""
    wanted: dict[str, dict[str, list[str]]] = {}
    for record in records:
        for quantity, text in printed(record).items():
            wanted.setdefault(spec(record), {}).setdefault(quantity, []).append(text)
    return {
        (model, finding.figure.quantity, finding.figure.text): finding
        for model, figures in wanted.items()
        for finding in costmodel.published(model, **figures).findings  # type: ignore[arg-type]  # its keywords
    }


def conventions(finding: Finding) -> str:
    """Those that make a figure: the plain count alone, if none makes it better; else up to two, and the plain one.

    A tool's number is named where neither this library nor a paper counts so.
    """
    known = [r for r in finding.matches if r.kind in ("library", "paper")] or list(finding.matches[:1])
    best = [r for r in known if r.match == known[0].match]
    plain = [r for r in known if r.convention in PLAIN.values()]
    shown = plain if plain and plain[0] in best else [*best[:2], *plain]
    return "; ".join(r.convention if r.match in ("exact", "rounded") else f"{r.convention}, {r.match}" for r in shown)


def of_quantity(record: Published, quantity: str, made: Made) -> list[str]:
    """A figure as printed and as computed, the difference, and what makes it."""
    text = printed(record).get(quantity)
    if text is None:
        return ["", "", "", ""]
    finding = made[spec(record), quantity, text]
    plain = next(r for r in finding.reckonings if r.convention == PLAIN[quantity])
    return [text, units.si(plain.count or 0), percent(plain.difference), escape(conventions(finding) or "–")]


def markdown(records: Sequence[Published], made: Made) -> str:
    """Every statement with what makes its figures; those that nothing makes; what the conventions count."""
    rows = []
    unmade = []
    for record in records:
        params, macs = (of_quantity(record, quantity, made) for quantity in PLAIN)
        name = [f"`{spec(record)}`", escape(record.source)]
        rows.append([*name, *params, macs[0], escape(record.quoted_as), *macs[1:]])
        for quantity, text in printed(record).items():
            finding = made[spec(record), quantity, text]
            if not finding.matches:
                nearest = finding.nearest
                said = [escape(finding.figure.title), escape(f"{nearest.convention}, {units.si(nearest.count or 0)}")]
                unmade.append([*name, *said, percent(nearest.difference), escape(record.why)])
    used = {r.convention: r for f in made.values() for r in f.matches if r.kind in ("library", "paper")}
    remarks = [
        [f"`{spec(record)}`", escape(record.source), escape(remark)]
        for record in records
        if (remark := " ".join(filter(None, [record.note, _why_of_a_made_one(record, made)])))
    ]
    figures = sum(map(len, map(printed, records)))
    about = (
        f"{len(records)} statements of papers, and of libraries where those are quoted more, about "
        f"{len({spec(record) for record in records})} networks: {figures} figures. A printed figure is as its source "
        "prints it, and none is adjusted to fit; *as* is the source's own word for multiply-accumulates. *Made by* is "
        "the convention that makes the figure in as many digits as it has, as `costmodel.published` finds it: a count "
        "that rounds to it, or that truncated begins with it. That is arithmetic: few digits are made by several "
        "conventions, and by one of a later tool by accident. The difference is that of the plain count: computed / "
        "printed - 1."
    )
    head = [
        "network", "source", "params, printed", "computed", "difference", "made by", "MACs, printed", "as", "computed",
        "difference", "made by",
    ]  # fmt: skip
    legend = [[escape(r.convention), escape(r.what), escape(r.source or "costmodel")] for r in used.values()]
    return "\n\n".join([
        "# Published figures, and what makes them",
        about,
        table(head, rows, left=2),
        "## Figures that no convention makes",
        f"{len(unmade)} of {figures}.",
        table(["network", "source", "figure", "nearest", "off by", "why"], unmade, left=6),
        "## What the conventions count",
        table(["convention", "what is counted", "source"], sorted(legend), left=3),
        "## Remarks",
        table(["network", "source", "remark"], remarks, left=3),
    ]) + "\n"  # fmt: skip


def _why_of_a_made_one(record: Published, made: Made) -> str:
    """What is known beside what is found: the reason of a statement of which each figure is made."""
    is_made = all(made[spec(record), quantity, text].matches for quantity, text in printed(record).items())
    return record.why if is_made else ""
