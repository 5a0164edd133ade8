"""This machine's CPU as a device of the roofline: its peaks measured by a matrix product and by a copy."""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import date
from pathlib import Path
from time import perf_counter

import torch

from costmodel.devices import THIS_CPU, Device, cache_file, device

_SIZE = 1024
"""Rows and columns of the matrices: 170 FLOPs a byte, far above the ridge; and soon done, between two interruptions."""
_TRIED = 192
"""Rows and columns of the product that tells whether a dtype is worth the large one: some CPUs take minutes for it."""
_COPIED = 1 << 28
"""Bytes of the copied tensor: with its copy more than what nearly every last-level cache holds."""
_REPEATS = 25


def calibrate(
    path: Path | None = None, *, repeats: int = _REPEATS, clock: Callable[[], float] = perf_counter
) -> Device:
    """Measures ``this-cpu`` and keeps the result in a file of the user's cache; takes some seconds.

    The best of ``repeats`` runs counts, because a peak is asked for. The product is of 1024 x 1024 matrices, in float32
    and, where it is faster, in bfloat16 and float16; the copy moves 256 MiB, read once and written once. torch's
    number of threads is as it is; ``clock`` may be ``time.thread_time`` for a single thread on a busy machine.
    """
    threads = torch.get_num_threads()
    used = f"{threads} thread" if threads == 1 else f"{threads} threads"
    how = f"measured on {date.today().isoformat()} with {used} of {cpu_name()}, best of {repeats} runs"
    rates = {"float32": _product_rate(torch.float32, _SIZE, repeats, clock)}
    tried = _product_rate(torch.float32, _TRIED, repeats, clock)
    for name, dtype in (("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        if _product_rate(dtype, _TRIED, repeats, clock) > tried:
            rates[name] = _product_rate(dtype, _SIZE, repeats, clock)
    source, target = torch.ones(_COPIED // 4), torch.empty(_COPIED // 4)
    bandwidth = 2 * _COPIED / _best(lambda: target.copy_(source), repeats, clock)

    lines = [f"[{THIS_CPU}]", f'title = "{cpu_name()}, {used}"']
    for name, rate in rates.items():
        lines += [f"peak.{name}.value = {rate:.6e}", f'peak.{name}.source = "{how}: a product of {_SIZE}² matrices"']
    lines += [f"bandwidth.value = {bandwidth:.6e}", f'bandwidth.source = "{how}: a copy of {_COPIED >> 20} MiB"']
    path = path or cache_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return device(THIS_CPU) if path == cache_file() else _as_written(path)


def _as_written(path: Path) -> Device:
    import tomllib

    from costmodel.devices import read

    return read(THIS_CPU, tomllib.loads(path.read_text(encoding="utf-8"))[THIS_CPU])


def _product_rate(dtype: torch.dtype, size: int, repeats: int, clock: Callable[[], float]) -> float:
    """FLOP/s of a product of square matrices."""
    a = torch.ones((size, size), dtype=dtype)
    out = torch.empty_like(a)
    return float(2 * size**3 / _best(lambda: torch.mm(a, a, out=out), repeats, clock))


def _best(run: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    run()  # caches, pages and threads are made ready
    times = []
    for _ in range(max(repeats, 1)):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)


def cpu_name() -> str:
    """What this machine's processor calls itself."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip().replace('"', "'")
    return platform.processor() or platform.machine()
