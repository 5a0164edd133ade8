"""The command that lists what can be named: ``models``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from costmodel.cli import console
from costmodel.cli.options import Json

if TYPE_CHECKING:
    from rich.table import Table

    from costmodel.models import Published


def models(
    published: Annotated[
        bool, typer.Option("--published", help="What papers and libraries say, beside what is computed here.")
    ] = False,
    json: Json = False,
) -> None:
    """The networks that can be named."""
    from costmodel import models as zoo

    if published:
        rows = list(_published_rows(zoo.published()))
        if json:
            import json as writer

            console.write(writer.dumps(rows, indent=1, ensure_ascii=False))
        else:
            console.show([_published_table(rows)])
        return
    if json:
        import json as writer

        console.write(writer.dumps(zoo.list_models(), indent=1))
        return
    console.show([_names_table(), "Also torchvision:NAME, timm:NAME, hf:TYPE, package.module:factory, file.py:factory"])


def _names_table() -> Table:
    from rich.table import Table
    from rich.text import Text

    from costmodel import models as zoo

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("model", "arguments", "what it is"):
        table.add_column(title, no_wrap=title == "model")
    for names in zoo.FAMILIES.values():
        for name in names:
            factory = getattr(zoo, name)
            arguments = ", ".join(
                f"{p.name}={p.default!r}" for p in inspect.signature(factory).parameters.values()
            )  # fmt: skip
            about = (inspect.getdoc(factory) or "").split("\n")[0]
            table.add_row(Text(name), Text(arguments, style="dim"), Text(about))
    return table


def _published_rows(records: tuple[Published, ...]) -> list[dict[str, Any]]:
    from costmodel.models import build
    from costmodel.profile import profile

    labels = [_label(record) for record in records]
    computed = {}
    for label in console.progress(list(dict.fromkeys(labels))):
        record = records[labels.index(label)]
        p = profile(build(record.name, **record.variant))
        computed[label] = (p.params, p.macs)
    return [
        {
            "model": label, "params_printed": r.params_printed, "params": computed[label][0],
            "macs_printed": r.macs_printed, "quoted_as": r.quoted_as, "macs": computed[label][1],
            "source": r.source, "why": r.why, "note": r.note,
        }
        for label, r in zip(labels, records, strict=True)
    ]  # fmt: skip


def _label(record: Published) -> str:
    arguments = ", ".join(f"{k}={v}" for k, v in record.variant.items())
    return f"{record.name}({arguments})" if arguments else record.name


def _published_table(rows: list[dict[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from costmodel.views import units

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), header_style="bold", show_edge=False, pad_edge=False)
    for title, justify in (
        ("model", "left"), ("params\nprinted", "right"), ("params\ncomputed", "right"), ("MACs\nprinted", "right"),
        ("MACs\ncomputed", "right"), ("source", "left"),
    ):  # fmt: skip
        table.add_column(title, justify=justify)  # type: ignore[arg-type]  # a literal, by the table above
    for row in rows:
        remark = row["source"] + (f" ({row['why']})" if row["why"] else "")
        table.add_row(
            Text(row["model"]), row["params_printed"] or "", units.si(row["params"]), row["macs_printed"] or "",
            units.si(row["macs"]), Text(remark),
        )  # fmt: skip
    return table


COMMANDS = (models,)
