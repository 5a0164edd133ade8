"""What is asked of a generation for a device or a size of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from costmodel.decoding.bounds import GenerationRoofline
from costmodel.training.answers import bytes_of

if TYPE_CHECKING:
    from costmodel.decoding.result import Generation


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Whether a generation fits, and what does; on a device the least times, too."""

    where: str
    """``on NVIDIA L4``, or ``in 24GB of memory``."""
    memory: int | None = None
    """Bytes that there are; ``None`` for a device whose memory has no one size, and then so are the next three."""
    fits: bool | None = None
    largest_batch: int | None = None
    largest_prompt: int | None = None
    roofline: GenerationRoofline | None = None
    """The least times; ``None`` for a size of memory."""


def answers(g: Generation, device: str | None, memory: int | str | None) -> tuple[Answer, ...]:
    """The answers for a device, and for a size of memory as it was written."""
    found = []
    if device is not None:
        roof = g.roofline(device)
        found.append(_answer(g, f"on {roof.device.title}", roof.device.memory, roof))
    if memory is not None:
        size = bytes_of(memory)
        written = memory if isinstance(memory, str) else f"{size:,} bytes"
        found.append(_answer(g, f"in {written} of memory", size))
    return tuple(found)


def _answer(g: Generation, where: str, size: int | None, roof: GenerationRoofline | None = None) -> Answer:
    if size is None:
        return Answer(where=where, roofline=roof)
    return Answer(
        where=where, memory=size, fits=g.fits(size), largest_batch=g.largest_batch(size),
        largest_prompt=g.largest_prompt(size), roofline=roof,
    )  # fmt: skip
