"""What fits into a size of memory: a number of bytes, a text, or what a device has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count

from costmodel.arguments import short
from costmodel.devices import device, device_names
from costmodel.errors import InputError
from costmodel.records import dataclass
from costmodel.views import parsing


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Whether something fits into a memory, and the largest batch of it that does."""

    where: str
    """``on NVIDIA L4``, or ``in 24GB of memory``."""
    memory: int | None = None
    """Bytes that there are; ``None``, as is what fits, for a device whose memory has no one size."""
    fits: bool | None = None
    largest_batch: int | None = None


def bytes_of(memory: int | str) -> int:
    """A size of memory: a number of bytes, ``"24GB"``, or what a device has."""
    if _is_device(memory):
        size = device(str(memory)).memory
        if size is None:
            raise InputError(f"{memory} has no memory of one size: give bytes, such as '8GB'")
        return size
    if isinstance(memory, str):
        return parsing.parse(memory, "B")
    if type(memory) is not int or memory < 0:
        raise InputError(f"memory={short(memory)}: give bytes, a text such as '24GB', or a device's name")
    return memory


def in_memory(memory: int | str) -> str:
    """Where something fits that fits into a size of memory, as it was written. Raises as ``bytes_of`` does.

    >>> in_memory("24GB"), in_memory(8_000_000_000)
    ('in 24GB of memory', 'in 8,000,000,000 bytes of memory')
    >>> in_memory("h100")
    'in the memory of NVIDIA H100 SXM5 80 GB'
    """
    if _is_device(memory):
        return f"in the memory of {device(str(memory)).title}"
    size = bytes_of(memory)
    return f"in {memory if isinstance(memory, str) else f'{size:,} bytes'} of memory"


def _is_device(memory: int | str) -> bool:
    return isinstance(memory, str) and (memory in device_names() or ".toml" in memory)


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
