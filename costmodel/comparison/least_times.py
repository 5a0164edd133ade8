"""Columns of the least times that models need on devices, by the roofline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from costmodel.arguments import short
from costmodel.devices import device as named
from costmodel.errors import InputError
from costmodel.metrics import Metric

if TYPE_CHECKING:
    from costmodel.profiling import Profile


def names_of(devices: Any) -> list[str]:
    """The devices asked for, each once and known."""
    given = [devices] if isinstance(devices, str) else devices
    names = list(given) if isinstance(given, Iterable) else [given]
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"devices={short(devices)}: give names of devices, such as ['cortex-x4']")
        named(name)
    return list(dict.fromkeys(names))


def column(device: str) -> str:
    """The name of a device's column."""
    return f"least ms on {device}"


def least_times(profiles: Mapping[str, Profile], devices: Iterable[str]) -> dict[str, Metric]:
    """For each device, the milliseconds that each model needs at least, to four digits."""
    return {
        column(device): Metric(
            column(device),
            {row: float(f"{1e3 * p.roofline(device).fused_time:.4g}") for row, p in profiles.items()},
            better="lower",
            means=f"a lower bound on {named(device).title}, by the roofline, elementwise operations fused",
        )
        for device in devices
    }
