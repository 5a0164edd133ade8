"""``costmodel published``."""

from __future__ import annotations

from typing import Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Csv, Inputs, Json, LiveModel, Markdown, Save, Train, profiled
from costmodel.cli.output import save_all, wrote_format
from costmodel.errors import InputError


def published(
    model: LiveModel,
    macs: Annotated[
        list[str] | None, typer.Option(metavar="FIGURE", help="A figure as it is printed: 4.1G, '569M mult-adds'.")
    ] = None,
    flops: Annotated[
        list[str] | None, typer.Option(metavar="FIGURE", help="What the source calls FLOPs: 3.8G, '4.1 GFLOPs'.")
    ] = None,
    params: Annotated[list[str] | None, typer.Option(metavar="FIGURE", help="Parameters: 25.6M, 25557032.")] = None,
    activations: Annotated[
        list[str] | None, typer.Option(metavar="FIGURE", help="Elements of activations: 11.1M.")
    ] = None,
    inputs: Inputs = None,
    train: Train = False,
    save: Save = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Find whose count a figure is that a paper or a model card prints.

    Exit status 1 where no convention makes one of the figures.
    """
    from costmodel.provenance import published as asked
    from costmodel.views import provenance

    if not (macs or flops or params or activations):
        raise InputError("give a figure to look for: --macs, --flops, --params or --activations")
    p = profiled(model, inputs, train=train)
    with console.doing(f"counting {model} as others do"):
        found = asked(p, macs=macs or (), flops=flops or (), params=params or (), activations=activations or ())
    save_all(found, save)
    if not wrote_format(found, json=json, csv=csv, markdown=markdown):
        console.show(provenance.parts(found, console.width()))
    if not found.ok:
        raise typer.Exit(1)
