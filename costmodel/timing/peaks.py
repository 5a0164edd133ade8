"""The device whose peak rates make the bound, for the machine that is measured."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.calibrate import measured, title
from costmodel.devices import THIS_CPU, Device, device, parsed
from costmodel.errors import InputError

QUICK = 15
"""Runs of each kernel where this CPU is calibrated for one measurement alone, which takes two seconds."""

OF_CUDA: dict[str, str] = {
    "NVIDIA B200": "b200",
    "NVIDIA H200": "h200",
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA A100-SXM4-80GB": "a100",
    "NVIDIA L40S": "l40s",
    "NVIDIA GeForce RTX 5090": "rtx5090",
    "NVIDIA GeForce RTX 4090": "rtx4090",
    "AMD Instinct MI300X": "mi300x",
}
"""The device of ``devices.toml`` that a GPU is, by the name that torch.cuda has of it. Cards of other memory or on PCIe
have other names and other rates."""


def of_this_cpu(clock: Callable[[], float]) -> tuple[Device, str]:
    """This CPU with torch's present number of threads, as it was calibrated or is now; and which of the two."""
    try:
        found = device(THIS_CPU)
    except InputError:
        why = "as it had not been before"
    else:
        if found.title == title():
            return found, "as costmodel calibrate measured it"
        why = f"as what was saved is of {found.title}"
    now = parsed(measured(QUICK, clock))[THIS_CPU]
    return now, f"calibrated just now, {why}; costmodel calibrate does so thoroughly, once"


def of_gpu(name: str) -> tuple[Device, str]:
    """The device that a GPU of this name is. Raises ``InputError`` where no figures of it are known."""
    if name not in OF_CUDA:
        raise InputError(
            f"no peak rates are known of {name}: name the device that it is with peaks= (--peaks), one of `costmodel "
            f"devices`, or a file mine.toml with its own, as costmodel/devices.toml is written"
        )
    return device(OF_CUDA[name]), f"by the name {name}"
