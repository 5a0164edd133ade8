"""Whether a training step fits into a memory, with which batch; and on a device, how long it takes at least."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from costmodel.capacity import Fit, bytes_of, greatest, in_memory
from costmodel.errors import CostModelError, InputError
from costmodel.records import dataclass

if TYPE_CHECKING:
    from costmodel.roofline import Roofline
    from costmodel.training.step import TrainingStep


@dataclass(frozen=True, kw_only=True)
class StepFit(Fit):
    """Whether a step fits, and the largest batch that does; on a device its least time, and its utilisation.

    That is ``None`` also where it cannot be traced: of a step that was read from a file, or whose inputs have no batch.
    """

    roofline: Roofline | None = None
    """The least time; ``None`` for a size of memory."""
    seconds: float | None = None
    """What a step takes."""
    mfu: float | None = None
    hfu: float | None = None


def fits(
    s: TrainingStep, *, device: str | None, math: str, memory: int | str | None, seconds: float | None
) -> tuple[StepFit, ...]:
    """How a step fits a device, and a size of memory."""
    found = []
    if device is not None:
        roof = s.roofline(device, math)
        used = () if seconds is None else (s.mfu(seconds, device, math), s.hfu(seconds, device, math))
        mfu, hfu = used or (None, None)
        size = roof.device.memory
        is_enough, batch = (None, None) if size is None else _room(s, size)
        found.append(
            StepFit(
                where=f"on {roof.device.title}", memory=size, fits=is_enough, largest_batch=batch, roofline=roof,
                seconds=seconds, mfu=mfu, hfu=hfu,
            )
        )  # fmt: skip
    if memory is not None:
        size = bytes_of(memory)
        is_enough, batch = _room(s, size)
        found.append(StepFit(where=in_memory(memory), memory=size, fits=is_enough, largest_batch=batch))
    return tuple(found)


def _room(s: TrainingStep, size: int) -> tuple[bool, int | None]:
    """Whether the step fits, and the largest batch that does."""
    can_be_traced = s.again is not None and bool(s.batch)
    return s.peak_memory <= size, s.largest_batch(size) if can_be_traced else None


def traced_again(step: TrainingStep) -> Callable[[Any], TrainingStep]:
    """What traces the step with other inputs."""
    if step.again is None:
        raise InputError("this training step was read from a file: trace the model for another batch")
    return step.again


def largest_batch(step: TrainingStep, memory: int | str) -> int:
    """The greatest batch that fits, traced with the next one."""

    def peak(batch: int) -> int:
        return step.peak_memory if batch == step.batch else step.with_batch(batch).peak_memory

    least = 1
    try:
        peak(1)
    except CostModelError:  # batch norm of vectors has no variance of one sample, and raises
        if step.batch == 1:
            raise
        least = 2
    return greatest(peak, bytes_of(memory), step.batch, least)
