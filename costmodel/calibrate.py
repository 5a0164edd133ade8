"""Measures this machine's CPU for the roofline: its peak compute rate by a matrix product, its bandwidth by a copy."""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import date
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from costmodel.arguments import reason, short
from costmodel.devices import THIS_CPU, Device, cache_file, parsed
from costmodel.errors import InputError, require_torch
from costmodel.files import write_text

if TYPE_CHECKING:
    import torch

_SIZE = 1024
"""Rows and columns of the matrices: 170 FLOPs per byte, far above the ridge, and short enough to run uninterrupted."""
_PROBE_SIZE = 192
"""Rows and columns of the product that shows if a dtype is worth the large one, which takes minutes on some CPUs."""
_COPY_BYTES = 1 << 28
"""Bytes of the copied tensor: with its copy, more than nearly every last-level cache."""
_REPEATS = 25
_WAIT = 0.1
"""Seconds in which the reading of any clock changes."""


def calibrate(
    path: Path | None = None, *, repeats: int = _REPEATS, clock: Callable[[], float] = perf_counter
) -> Device:
    """Measures ``this-cpu``, and writes the result to a file in the user's cache; takes some seconds.

    A peak is the best of ``repeats`` runs. The product is of 1024 x 1024 matrices, in float32 and, if faster, in
    bfloat16 and float16; the copy reads 256 MiB and writes as many. torch's number of threads is left as it is;
    for a single thread on a busy machine, ``clock`` may be ``time.thread_time``.
    """
    require_torch("costmodel calibrate")
    text = measured(repeats, clock)
    write_text(path or cache_file(), text)
    return parsed(text)[THIS_CPU]


def require_clock(clock: Any, *, goes_on: bool = False) -> None:
    """Raises ``InputError`` for what does not read seconds, or with ``goes_on`` for a clock that stands still."""
    try:
        first = now = clock()
        until = perf_counter() + _WAIT
        while goes_on and now == first and perf_counter() < until:
            now = clock()
        fits = isfinite(first) and (now > first if goes_on else True)
        said = f"it reads {short(first)}{f', then {short(now)}' if goes_on else ''}"
    except Exception as error:
        fits, said = False, reason(error)
    if not fits:
        raise InputError(f"clock={short(clock)} ({said}): give a function that reads seconds, as time.perf_counter")


def measured(repeats: int, clock: Callable[[], float]) -> str:
    """What ``calibrate`` writes, with torch's present number of threads."""
    import torch

    require_clock(clock, goes_on=True)
    how = f"measured on {date.today().isoformat()} with {_threads()} of {cpu_name()}, best of {repeats} runs"
    rates = {"float32": _product_rate(torch.float32, _SIZE, repeats, clock)}
    probed = _product_rate(torch.float32, _PROBE_SIZE, repeats, clock)
    for name, dtype in (("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        if _product_rate(dtype, _PROBE_SIZE, repeats, clock) > probed:
            rates[name] = _product_rate(dtype, _SIZE, repeats, clock)
    source, target = torch.ones(_COPY_BYTES // 4), torch.empty(_COPY_BYTES // 4)
    bandwidth = 2 * _COPY_BYTES / _best(lambda: target.copy_(source), repeats, clock)

    lines = [f"[{THIS_CPU}]", f'title = "{title()}"']
    for name, rate in rates.items():
        lines += [f"peak.{name}.value = {rate:.6e}", f'peak.{name}.source = "{how}: a product of {_SIZE}² matrices"']
    lines += [f"bandwidth.value = {bandwidth:.6e}", f'bandwidth.source = "{how}: a copy of {_COPY_BYTES >> 20} MiB"']
    return "\n".join(lines)


def title() -> str:
    """What a calibration with torch's present number of threads is called."""
    return f"{cpu_name()}, {_threads()}"


def _threads() -> str:
    import torch

    threads = torch.get_num_threads()
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


def _product_rate(dtype: torch.dtype, size: int, repeats: int, clock: Callable[[], float]) -> float:
    """FLOP/s of a product of square matrices."""
    import torch

    a = torch.ones((size, size), dtype=dtype)
    out = torch.empty_like(a)
    return float(2 * size**3 / _best(lambda: torch.mm(a, a, out=out), repeats, clock))


def _best(run: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    run()  # warms up caches, pages and threads
    times = []
    for _ in range(max(repeats, 1)):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)


def cpu_name() -> str:
    """The name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip().replace('"', "'")
    return platform.processor() or platform.machine()
