"""Print how many milliseconds imports take: of costmodel, of torch, and of what a profile needs beside torch.

python tests/benchmarks/import_time.py. Each run is a fresh interpreter that times one after the other, so that the
added time does not drown in the noise of torch's. Bytecode is cached, as it is for an installed package, whatever
the environment says.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

RUNS = 11
LIMIT = 100.0
TIMED = """
from time import perf_counter
times = [perf_counter()]
import costmodel
times.append(perf_counter())
import torch
times.append(perf_counter())
costmodel.profile
times.append(perf_counter())
print(*(end - start for start, end in zip(times, times[1:])))
"""
PARTS = "import costmodel", "import torch", "+ costmodel.profile"


def main() -> None:
    """Measure and print; the first run, which compiles and fills caches, is left out."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        printed = [subprocess.check_output([sys.executable, "-c", TIMED], env=environment) for _ in range(RUNS + 1)]
    runs = [[1000 * float(seconds) for seconds in line.split()] for line in printed[1:]]
    for name, times in zip(PARTS, zip(*runs, strict=True), strict=True):
        print(f"{name:20}{statistics.median(times):9.1f} ms   ({min(times):.1f} to {max(times):.1f})")
    print(f"median of {RUNS} fresh interpreters; the limit of what is added to torch is {LIMIT:.0f} ms")


if __name__ == "__main__":
    main()
