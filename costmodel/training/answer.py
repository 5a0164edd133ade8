"""What is asked of a training step for a device or a size of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from costmodel.training.answers import bytes_of

if TYPE_CHECKING:
    from costmodel.roofline import Roofline
    from costmodel.training.step import TrainingStep


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Whether a step fits, and the largest batch that does; on a device its least time, and its utilisation."""

    where: str
    """``on NVIDIA L4``, or ``in 24GB of memory``."""
    memory: int | None = None
    """Bytes that there are; ``None`` for a device whose memory has no one size."""
    fits: bool | None = None
    largest_batch: int | None = None
    """``None`` where that cannot be traced: of a step that was read from a file, or whose inputs have no batch."""
    roofline: Roofline | None = None
    """The least time; ``None`` for a size of memory."""
    seconds: float | None = None
    """What a step takes."""
    mfu: float | None = None
    hfu: float | None = None


def answers(
    s: TrainingStep, *, device: str | None, math: str, memory: int | str | None, seconds: float | None
) -> tuple[Answer, ...]:
    """The answers for a device, and for a size of memory as it was written."""
    found = []
    if device is not None:
        roof = s.roofline(device, math)
        used = () if seconds is None else (s.mfu(seconds, device, math), s.hfu(seconds, device, math))
        mfu, hfu = used or (None, None)
        size = roof.device.memory
        fits, batch = (None, None) if size is None else _room(s, size)
        found.append(
            Answer(
                where=f"on {roof.device.title}", memory=size, fits=fits, largest_batch=batch, roofline=roof,
                seconds=seconds, mfu=mfu, hfu=hfu,
            )
        )  # fmt: skip
    if memory is not None:
        size = bytes_of(memory)
        fits, batch = _room(s, size)
        written = memory if isinstance(memory, str) else f"{size:,} bytes"
        found.append(Answer(where=f"in {written} of memory", memory=size, fits=fits, largest_batch=batch))
    return tuple(found)


def _room(s: TrainingStep, size: int) -> tuple[bool, int | None]:
    """Whether the step fits, and the largest batch that does."""
    can_be_traced = s.again is not None and bool(s.batch)
    return s.peak_memory <= size, s.largest_batch(size) if can_be_traced else None
