"""What the machine has on which this process runs."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


def available_memory() -> int:
    """Bytes of memory that can be taken without others' being paged out; without limit where the system does not say.

    Less than the machine has free in a container with a limit of its own.
    """
    amounts = [sys.maxsize]
    with suppress(AttributeError, ValueError, OSError):  # not on every system
        amounts.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        amounts.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        amounts.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return min(amounts)


@cache
def torch_version() -> str:
    """The version of the installed torch, such as ``2.13.0``, without importing it; empty where there is none."""
    version = getattr(sys.modules.get("torch"), "__version__", None)
    if version is None:
        from importlib import metadata

        try:
            version = metadata.version("torch")
        except metadata.PackageNotFoundError:
            return ""
    return str(version).partition("+")[0]


@cache
def torch_release() -> tuple[int, int]:
    """The release of the installed torch, such as (2, 13), without importing it; greater than any where there is none.

    So what was saved is read as the newest torch would run it, where no torch is.
    """
    major, minor, *_ = (torch_version() or f"{sys.maxsize}.0").split(".")
    return int(major), int(minor)
