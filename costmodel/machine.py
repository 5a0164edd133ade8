"""What the machine has on which this process runs."""

from __future__ import annotations

import os
import sys


def physical_memory() -> int:
    """Bytes of memory; without limit where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize
