"""``costmodel calibrate``."""

from __future__ import annotations

from costmodel.cli import console


def calibrate() -> None:
    """Measure this machine's CPU, for `roofline --device this-cpu`; takes some seconds."""
    from costmodel.calibrate import calibrate as measured
    from costmodel.devices import cache_file
    from costmodel.views import units

    with console.doing("measuring this machine's CPU"):
        found = measured()
    console.write(f"this-cpu: {found.title}")
    for dtype in found.peak:
        console.write(f"  {dtype}: {units.si(found.rate(dtype), 'FLOP/s')}")
    console.write(f"  memory: {units.si(found.bandwidth, 'B/s')}")
    console.print_status(f"written to {cache_file()}")
