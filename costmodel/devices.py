"""Devices: how fast each computes and moves data at best, and where that is written down."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from costmodel.errors import InputError

THIS_CPU = "this-cpu"


@dataclass(frozen=True, slots=True)
class Device:
    """Peak rates of a device."""

    name: str
    title: str
    peak: Mapping[str, float]
    """FLOP/s by dtype, a multiply-accumulate being two. ``tf32`` is what float32 products may be rounded to."""
    bandwidth: float
    """Bytes/s to and from memory."""
    sources: Mapping[str, str]
    """Where each figure is from, by dtype, and ``bandwidth``."""

    def rate(self, dtype: str) -> float:
        """The best FLOP/s on tensors of this dtype.

        float32 takes the rate of TF32 where the device has it: torch's convolutions use it, and a bound must not
        be slower than what may run. A dtype without a figure takes that of float32, which it is computed in.
        """
        float32 = max(self.peak["float32"], self.peak.get("tf32", 0.0))
        return float32 if dtype == "float32" else self.peak.get(dtype, float32)

    def ridge(self, dtype: str = "float32") -> float:
        """FLOPs for each byte at which compute and memory take as long."""
        return self.rate(dtype) / self.bandwidth


def device(name: str) -> Device:
    """The device of this name; ``this-cpu`` as ``costmodel calibrate`` measured it."""
    if name == THIS_CPU:
        return _measured()
    known = _listed()
    if name not in known:
        raise InputError(f"no device is called {name!r}; there are {', '.join(device_names())}")
    return known[name]


def device_names() -> list[str]:
    """Every name that ``device`` knows."""
    return [*_listed(), THIS_CPU]


def cache_file() -> Path:
    """Where the measurement of ``this-cpu`` is kept: in ``COSTMODEL_CACHE``, or in the user's cache folder."""
    folder = os.environ.get("COSTMODEL_CACHE")
    if folder:
        return Path(folder) / "this-cpu.toml"
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "costmodel" / "this-cpu.toml"


def read(name: str, table: Mapping[str, Any]) -> Device:
    """A device from its table in a TOML file."""
    figures = table["peak"]
    return Device(
        name,
        table["title"],
        {dtype: float(figure["value"]) for dtype, figure in figures.items()},
        float(table["bandwidth"]["value"]),
        {what: figure["source"] for what, figure in {**figures, "bandwidth": table["bandwidth"]}.items()},
    )


@cache
def _listed() -> dict[str, Device]:
    text = Path(__file__).with_name("devices.toml").read_text(encoding="utf-8")
    return {name: read(name, table) for name, table in tomllib.loads(text).items()}


def _measured() -> Device:
    path = cache_file()
    if not path.exists():
        raise InputError(
            f"{THIS_CPU} has not been measured (no {path}): run `costmodel calibrate`, or "
            f"costmodel.calibrate.calibrate(), which takes some seconds"
        )
    try:
        return read(THIS_CPU, tomllib.loads(path.read_text(encoding="utf-8"))[THIS_CPU])
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): run `costmodel calibrate` again") from error
