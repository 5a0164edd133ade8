"""What people ask of a training step: utilisation, arithmetic per token, the largest batch that fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from costmodel.arguments import short
from costmodel.devices import device as named
from costmodel.devices import device_names
from costmodel.errors import CostModelError, InputError
from costmodel.views import parsing

if TYPE_CHECKING:
    from costmodel.training.step import TrainingStep


@dataclass(frozen=True)
class SixND:
    """The estimate 6 N D of a step's arithmetic (Kaplan et al. 2020, arXiv:2001.08361), and how it differs."""

    flops: int
    """6 x parameters x tokens."""
    differences: Mapping[str, int]
    """What leads from there to the step's FLOPs, without a remainder, by reason."""


def tokens(step: TrainingStep) -> int | None:
    """The tokens of one forward pass: elements of the first input of integers that has a batch and positions."""
    found = (t.size for t in step.forward.inputs if "int" in t.dtype and len(t.shape) >= 2)
    return next(found, None)


def six_nd(step: TrainingStep) -> SixND | None:
    """The estimate, and where it and the step part."""
    given = tokens(step)
    if given is None:
        return None
    total = given * step.steps
    looked_up = sum(p.size for x in step.forward.pricing.layers if x.kind == "embedding" for p in x.new_parameters)
    estimate = 6 * step.params * total
    attention = 2 * sum(
        int(op.work.macs) for op in step.whole.pricing.ops if op.kind in ("attention", "matmul") and _of_activations(op)
    )
    rest = step.flops - estimate + 6 * looked_up * total - attention
    return SixND(
        estimate,
        {
            "embeddings are looked up, not multiplied": -6 * looked_up * total,
            "products of activations, as of attention": attention,
            "all else: norms, activations, softmax, loss, update; parameters used more or less often": rest,
        },
    )


def _of_activations(op: Any) -> bool:
    return not any(t.role == "parameter" for _, t in op.call.tensors())


def utilisation(step: TrainingStep, macs: int, seconds: float, device: str, math: str) -> float:
    """Two FLOPs per MAC, as a share of what the device could do in that time at the peak of the step's main dtype.

    Source: Chowdhery et al. 2022, PaLM, arXiv:2204.02311, appendix B.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise InputError(f"seconds={short(seconds)}: the time of a step is a number above 0")
    roof = step.roofline(device, math)
    return 2 * macs / (seconds * roof.peak)


def bytes_of(memory: int | str) -> int:
    """A size of memory: a number of bytes, ``"24GB"``, or what a device has."""
    if isinstance(memory, str) and (memory in device_names() or ".toml" in memory):
        size = named(memory).memory
        if size is None:
            raise InputError(f"{memory} has no memory of one size: give bytes, such as '8GB'")
        return size
    if isinstance(memory, str):
        return parsing.parse(memory, "B")
    if type(memory) is not int or memory < 0:
        raise InputError(f"memory={short(memory)}: give bytes, a text such as '24GB', or a device's name")
    return memory


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


def greatest(peak_of: Callable[[int], int], size: int, known: int | None, least: int = 1) -> int:
    """The greatest count, of samples or tokens, whose peak fits into a size of memory; 0 where ``least`` does not.

    It is guessed by the line through two peaks, narrowed down, and traced on both sides. Along one path through the
    model the peak is a maximum of functions that grow with the count: below one that fits, all fit.
    """
    peaks: dict[int, int] = {}

    def peak(count: int) -> int:
        if count not in peaks:
            peaks[count] = peak_of(count)
        return peaks[count]

    if known is not None:
        peak(known)
    if peak(least) > size:
        return 0
    fits, too_large = least, 0
    for tries in count():
        if too_large - fits == 1:
            return fits
        # The line is exact once the peak stays at one op; halving ends the search where it wanders.
        guess = _next(peaks, fits, too_large, size) if tries < _LINES else _halved(fits, too_large)
        if peak(guess) <= size:
            fits = guess
        else:
            too_large = guess
    raise AssertionError("a search without an end")


_LINES = 8
"""Guesses by a line, before the interval is halved."""


def _halved(fits: int, too_large: int) -> int:
    return (fits + too_large) // 2 if too_large else 2 * fits


def _next(peaks: Mapping[int, int], fits: int, too_large: int, size: int) -> int:
    """A batch between the two: where a line through the two known peaks that are nearest meets the size."""
    known = sorted(peaks, key=lambda batch: abs(peaks[batch] - size))[:2]
    low, high = min(known), max(known)
    slope = peaks[high] - peaks[low]
    if slope <= 0:
        return _halved(fits, too_large)
    guess = low + (size - peaks[low]) * (high - low) // slope
    if guess == fits:  # it is the answer, if the next one is too large
        guess = fits + 1
    return max(guess, fits + 1) if not too_large else min(max(guess, fits + 1), too_large - 1)
