"""Whether a generation fits into a memory, with which batch and prompt; and on a device, how long it takes at least."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.capacity import Fit, bytes_of, in_memory
from costmodel.decoding.bounds import GenerationRoofline
from costmodel.records import dataclass

if TYPE_CHECKING:
    from costmodel.decoding.result import Generation


@dataclass(frozen=True, kw_only=True)
class GenerationFit(Fit):
    """Whether a generation fits, and what does; on a device the least times, too."""

    largest_prompt: int | None = None
    roofline: GenerationRoofline | None = None
    """The least times; ``None`` for a size of memory."""


def fits(g: Generation, device: str | None, memory: int | str | None) -> tuple[GenerationFit, ...]:
    """How a generation fits a device, and a size of memory."""
    found = []
    if device is not None:
        roof = g.roofline(device)
        found.append(_fit(g, f"on {roof.device.title}", roof.device.memory, roof))
    if memory is not None:
        found.append(_fit(g, in_memory(memory), bytes_of(memory)))
    return tuple(found)


def _fit(g: Generation, where: str, size: int | None, roof: GenerationRoofline | None = None) -> GenerationFit:
    if size is None:
        return GenerationFit(where=where, roofline=roof)
    return GenerationFit(
        where=where, memory=size, fits=g.fits(size), largest_batch=g.largest_batch(size),
        largest_prompt=g.largest_prompt(size), roofline=roof,
    )  # fmt: skip
