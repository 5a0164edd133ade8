"""Clocks of processor and GPU, as far as the system lets them be read: a time without them says little."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CPU_FOLDER = Path("/sys/devices/system/cpu")
CPU_INFO = Path("/proc/cpuinfo")
_GPU_FIELDS = {
    "clocks.sm": "SM clock, MHz", "clocks.max.sm": "greatest SM clock, MHz", "clocks.mem": "memory clock, MHz",
    "power.draw": "power, W", "temperature.gpu": "temperature, °C",
}  # fmt: skip


def cpu_frequency(folder: Path = CPU_FOLDER, info: Path = CPU_INFO) -> float | None:
    """The mean frequency of the CPUs in Hz, now; ``None`` where the system does not say."""
    found = [1e3 * number for number in _numbers(folder.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))]
    if not found:
        with suppress(OSError, ValueError):
            lines = info.read_text(encoding="utf-8").splitlines()
            found = [1e6 * float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return sum(found) / len(found) if found else None


def cpu_governors(folder: Path = CPU_FOLDER) -> list[str]:
    """What sets the frequency of the CPUs, such as ``performance`` or ``powersave``; empty where it is not said."""
    found = set()
    for file in folder.glob("cpu[0-9]*/cpufreq/scaling_governor"):
        with suppress(OSError):
            found.add(file.read_text(encoding="utf-8").strip())
    return sorted(found)


def cpu_clocks(before: float | None, folder: Path = CPU_FOLDER, info: Path = CPU_INFO) -> tuple[str, ...]:
    """The CPU's frequency before and now, what sets it, and the load of the machine."""
    now = cpu_frequency(folder, info)
    governors = cpu_governors(folder)
    said = [
        "CPU frequency: the system does not say"
        if before is None or now is None
        else f"CPU frequency: {before / 1e9:.2f} GHz before, {now / 1e9:.2f} GHz after",
        f"CPU governor: {', '.join(governors) or 'the system does not say'}",
    ]
    with suppress(AttributeError, OSError):  # not on every system
        said.append(f"load in the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    return tuple(said)


def gpu_clocks(which: str, command: str = "nvidia-smi") -> tuple[str, ...]:
    """The GPU's clocks, power and temperature now, as nvidia-smi has them; or that they cannot be read."""
    query = [command, f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader,nounits", f"--id={which}"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
        values = done.stdout.strip().splitlines()[0].split(",")
        found = [f"{what}: {value.strip()}" for what, value in zip(_GPU_FIELDS.values(), values, strict=True)]
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return ("GPU clocks: nvidia-smi does not say",)
    return ("of the GPU after the runs", *found)


def _numbers(files: Iterator[Path]) -> Iterator[float]:
    for file in files:
        with suppress(OSError, ValueError):
            yield float(file.read_text(encoding="utf-8"))
