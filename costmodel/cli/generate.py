"""``costmodel generate``."""

from __future__ import annotations

from typing import Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Csv, Dtype, Json, LiveModel, Markdown, Save
from costmodel.cli.output import save_all, wrote_format


def generate(
    model: LiveModel,
    prompt: Annotated[int, typer.Option(help="Tokens of each sample's prompt.", min=1)],
    new: Annotated[int, typer.Option(help="New tokens of each sample.", min=1)] = 1,
    batch: Annotated[int, typer.Option("--batch", "-b", help="Samples.", min=1)] = 1,
    dtype: Dtype = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="PACKING",
            help="Weights of linear layers packed as int8 or int4: in memory and in the least times; not in the table.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="A device: the least times on it, whether it fits, the largest batch and prompt that do. CSV and "
            "LaTeX have the table alone."
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="BYTES", help="Whether it fits, and the largest batch and prompt: 24GB. Not in CSV and LaTeX."
        ),
    ] = None,
    save: Save = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Show what a language model costs that reads a prompt and makes new tokens, with its own key-value cache.

    A configuration is enough, hf:config.json: no weights are made. The prompt's call gives the first new token.
    """
    from costmodel.capacity import bytes_of
    from costmodel.decoding import generation
    from costmodel.devices import device as named
    from costmodel.views import generation as view

    for check, given in ((named, device), (bytes_of, memory)):
        if given is not None:
            check(given)  # before the model is traced
    with console.doing(f"tracing {model} with its cache"):
        made = generation(model, prompt=prompt, new=new, batch=batch, dtype=dtype, weights=weights)
    if device is not None or memory is not None:
        with console.doing("looking for the largest batch"):
            made = made.with_answers(device=device, memory=memory)
    if not wrote_format(made, json=json, csv=csv, markdown=markdown):
        with console.doing("summing up"):
            shown = view.parts(made, console.width())
        console.show(shown)
    save_all(made, save)
