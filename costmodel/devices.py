"""Devices: peak compute rates, memory bandwidth and memory size, each with its source."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from costmodel.errors import InputError
from costmodel.files import as_path

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
    """The source of each figure, by dtype and under ``bandwidth``, ``memory``, ``cache`` and ``power``."""
    memory: int | None = None
    """Bytes of its memory as its maker prints them, a GB being 10**9: no more than it has. ``None``: not one size."""
    cache: int | None = None
    """Bytes of its last cache before the memory."""
    power: float | None = None
    """The greatest power in watts that its maker names."""

    def peak_of(self, dtype: str, math: str = "float32") -> str:
        """The name of the peak that bounds products of this dtype.

        That of the dtype itself; with ``math="tf32"`` for float32 that of TF32. A dtype without a figure has that of
        float32, in which it is computed; and without one of that, the highest there is, so that times stay bounds.
        """
        if dtype == "float32" and math == "tf32":
            return "tf32"
        known = next((name for name in (dtype, "float32") if name in self.peak), None)
        return known or max(self.peak, key=lambda name: self.peak[name])

    def rate(self, dtype: str, math: str = "float32") -> float:
        """Peak FLOP/s on tensors of this dtype: the figure that ``peak_of`` names."""
        return self.peak[self.peak_of(dtype, math)]

    def ridge(self, dtype: str = "float32", math: str = "float32") -> float:
        """Arithmetic intensity, in FLOPs per byte, at which computing takes as long as moving the data."""
        return self.rate(dtype, math) / self.bandwidth


def device(name: str) -> Device:
    """The device of this name; for ``this-cpu``, what ``costmodel calibrate`` measured.

    A name that ends in ``.toml`` is a file with a device of your own, as the page on measured times shows one;
    ``mine.toml:NAME`` is one of several in it.
    """
    if isinstance(name, str) and name == THIS_CPU:
        return _calibrated()
    if isinstance(name, str) and name.partition(".toml:")[0].removesuffix(".toml") != name:
        return _of_file(name)
    known = _listed()
    if not isinstance(name, str) or name not in known:
        close = get_close_matches(str(name).lower(), device_names(), n=1)
        meant = f", did you mean {close[0]!r}" if close else ""
        there_are = ", ".join(device_names())
        raise InputError(f"no device is called {name!r}{meant}; there are {there_are}, or your own in a file mine.toml")
    return known[name]


_FORM = (
    "it takes a table [NAME] with title, peak.DTYPE.value and .source in FLOP/s, and bandwidth.value and .source in "
    "bytes/s (docs/measure.md has an example)"
)


def _of_file(name: str) -> Device:
    stem, _, wanted = name.partition(".toml:") if ".toml:" in name else (name.removesuffix(".toml"), "", "")
    path = as_path(f"{stem}.toml")
    try:
        found = read(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no file of devices ({type(error).__name__}: {error}); {_FORM}") from error
    if wanted in found:
        return found[wanted]
    if not wanted and len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise InputError(f"{path} has no device; {_FORM}")
    raise InputError(f"{path} has the devices {', '.join(found)}: name one, as {path}:{next(iter(found))}")


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
    return parsed(path.read_text(encoding="utf-8-sig"))


def parsed(text: str) -> dict[str, Device]:
    """The devices in the text of such a file."""
    return {name: _device(name, table) for name, table in tomllib.loads(text).items()}


def _device(name: str, table: Mapping[str, Any]) -> Device:
    figures = table["peak"]
    others = {what: table[what] for what in ("bandwidth", "memory", "cache", "power") if what in table}
    rates = {dtype: float(figure["value"]) for dtype, figure in figures.items()}
    made = Device(
        name,
        table["title"],
        rates,
        float(table["bandwidth"]["value"]),
        {what: figure["source"] for what, figure in {**figures, **others}.items()},
        memory=int(table["memory"]["value"]) if "memory" in table else None,
        cache=int(table["cache"]["value"]) if "cache" in table else None,
        power=float(table["power"]["value"]) if "power" in table else None,
    )
    if not rates or not all(0 < rate < float("inf") for rate in (*rates.values(), made.bandwidth)):
        raise ValueError(f"{name}: a peak and a bandwidth are positive numbers")
    return made


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
