"""``costmodel generate``."""

from __future__ import annotations

from typing import Annotated

import typer

from costmodel.cli import console
from costmodel.cli.options import Csv, Dtype, Json, Markdown, Model, Save
from costmodel.cli.output import save_all, wrote_format


def generate(
    model: Model,
    prompt: Annotated[int, typer.Option(help="Tokens of each sample's prompt.", min=1)],
    new: Annotated[int, typer.Option(help="New tokens of each sample.", min=1)] = 1,
    batch: Annotated[int, typer.Option("--batch", "-b", help="Samples.", min=1)] = 1,
    dtype: Dtype = None,
    weights: Annotated[
        str | None, typer.Option(metavar="PACKING", help="Weights packed as int8 or int4, in the memory they take.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="A device: the least times on it, whether it fits, the largest batch and prompt that do."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="BYTES", help="Whether it fits, and the largest batch and prompt: 24GB.")
    ] = None,
    save: Save = None,
    json: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Show what a language model costs that reads a prompt and makes new tokens, with its own key-value cache.

    A configuration is enough, hf:config.json: no weights are made. The prompt's call gives the first new token.
    """
    from costmodel.decoding import generation
    from costmodel.training.answers import bytes_of
    from costmodel.views import generation as view
    from costmodel.views.styled import Text

    room = None if memory is None else (f"in {memory} of memory", bytes_of(memory))
    with console.doing(f"tracing {model} with its cache"):
        made = generation(model, prompt=prompt, new=new, batch=batch, dtype=dtype, weights=weights)
        roof = None if device is None else made.roofline(device)
        shown = view.parts(made, console.width())
    if not wrote_format(made, json=json, csv=csv, markdown=markdown):
        with console.doing("looking for the largest batch" if roof or room else "summing up"):
            if roof is not None:
                where = f"on {roof.device.title}"
                size = roof.device.memory
                shown += ["", Text(where, style="bold")] if size is None else view.answers(made, where, size)
                shown += view.on_device(roof)
            if room is not None:
                shown += view.answers(made, *room)
        console.show(shown)
    save_all(made, save)
