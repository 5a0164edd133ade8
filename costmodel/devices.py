"""Devices: peak compute rates, memory bandwidth and memory size, each with its source."""

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

MATHS = ("float32", "tf32")
"""How products of float32 tensors are computed: as they are, or with their factors rounded to TF32's 10 bits."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device's peak rates."""

    name: str
    title: str
    peak: Mapping[str, float]
    """FLOP/s by dtype, a multiply-accumulate being two. ``tf32``: of float32 products with factors rounded to it."""
    bandwidth: float
    """Bytes/s to and from memory."""
    sources: Mapping[str, str]
    """The source of each figure, by dtype and under ``bandwidth`` and ``memory``."""
    memory: int | None = None
    """Bytes of its memory as its maker prints them, a GB being 10**9: no more than it has. ``None``: not one size."""

    def peak_of(self, dtype: str, math: str = "float32") -> str:
        """The name of the peak that bounds products of this dtype.

        That of the dtype itself; with ``math="tf32"`` for float32 that of TF32. A dtype without a figure has that of
        float32, in which it is computed.
        """
        if dtype == "float32" and math == "tf32":
            return "tf32"
        return dtype if dtype in self.peak else "float32"

    def rate(self, dtype: str, math: str = "float32") -> float:
        """Peak FLOP/s on tensors of this dtype: the figure that ``peak_of`` names."""
        return self.peak[self.peak_of(dtype, math)]

    def ridge(self, dtype: str = "float32", math: str = "float32") -> float:
        """Arithmetic intensity, in FLOPs per byte, at which computing takes as long as moving the data."""
        return self.rate(dtype, math) / self.bandwidth


def device(name: str) -> Device:
    """The device of this name; for ``this-cpu``, what ``costmodel calibrate`` measured."""
    if isinstance(name, str) and name == THIS_CPU:
        return _calibrated()
    known = _listed()
    if not isinstance(name, str) or name not in known:
        raise InputError(f"no device is called {name!r}; there are {', '.join(device_names())}")
    return known[name]


def device_names() -> list[str]:
    """Every name that ``device`` takes."""
    return [*_listed(), THIS_CPU]


def cache_file() -> Path:
    """The file with the measurement of ``this-cpu``: in ``COSTMODEL_CACHE``, or else in the user's cache folder."""
    folder = os.environ.get("COSTMODEL_CACHE")
    if folder:
        return Path(folder) / "this-cpu.toml"
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "costmodel" / "this-cpu.toml"


def read(path: Path) -> dict[str, Device]:
    """The devices in a TOML file, by name."""
    return {name: _device(name, table) for name, table in tomllib.loads(path.read_text(encoding="utf-8")).items()}


def _device(name: str, table: Mapping[str, Any]) -> Device:
    figures = table["peak"]
    others = {name: table[name] for name in ("bandwidth", "memory") if name in table}
    return Device(
        name,
        table["title"],
        {dtype: float(figure["value"]) for dtype, figure in figures.items()},
        float(table["bandwidth"]["value"]),
        {what: figure["source"] for what, figure in {**figures, **others}.items()},
        int(table["memory"]["value"]) if "memory" in table else None,
    )


@cache
def _listed() -> dict[str, Device]:
    return read(Path(__file__).with_name("devices.toml"))


def _calibrated() -> Device:
    path = cache_file()
    if not path.exists():
        raise InputError(
            f"{THIS_CPU} has not been measured (no {path}): run `costmodel calibrate`, or "
            f"costmodel.calibrate.calibrate(), which takes some seconds"
        )
    try:
        return read(path)[THIS_CPU]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): run `costmodel calibrate` again") from error
