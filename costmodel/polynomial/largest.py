"""The greatest size that keeps a bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from costmodel.arguments import short
from costmodel.capacity import bytes_of
from costmodel.errors import InputError, NotPolynomialError
from costmodel.measures import find
from costmodel.polynomial.reach import boundary

if TYPE_CHECKING:
    from costmodel.polynomial.result import Scaling
    from costmodel.polynomial.samples import Sample


def largest(s: Scaling, name: str, bounds: Mapping[str, Any], seconds: float | None, device: str | None) -> int:
    """The greatest value of a size with which no bound is exceeded; 0 where the least exceeds one."""
    if name not in s.names:
        raise InputError(f"no size is called {short(name)}; there are {', '.join(s.names)}")
    fixed = {key: value for key, value in bounds.items() if key in s.names}
    limits = {key: _limit(s, key, value) for key, value in bounds.items() if key not in s.names}
    if name in fixed:
        raise InputError(f"{name} is looked for: give sizes for the others alone")
    if (seconds is None) != (device is None):
        raise InputError("a bound on time needs both seconds=... and device=...")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0):
        raise InputError(f"seconds={short(seconds)} is no time: give a number above 0")
    if not limits and seconds is None:
        raise InputError(f"give a bound: {s.quantities[0]}=..., peak_memory='24GB', or seconds=... with device=...")

    def keeps(size: int) -> bool:
        costs = s.at(**fixed, **{name: size})
        if any(costs[key] > limit for key, limit in limits.items()):
            return False
        return seconds is None or device is None or s.traced(**fixed, **{name: size}).seconds(device) <= seconds

    sizes = s.values(name, fixed)
    if not keeps(sizes[0]):
        _confirm(s, fixed | {name: sizes[0]})
        return 0
    if keeps(sizes[-1]):
        costs = s.at(**fixed, **{name: sizes[-1]})
        same = [key for key in limits if costs[key] == s.at(**fixed, **{name: sizes[0]})[key]]
        why = f": {' and '.join(same)} do not depend on {name}" if same and len(same) == len(limits) else ""
        raise InputError(f"every {name} up to {sizes[-1]} keeps the bound, and no formula holds for a greater one{why}")
    # Costs grow with sizes, so what keeps the bound comes first.
    found = boundary(lambda i: keeps(sizes[i]), 0, len(sizes) - 1)
    for size in sizes[found : found + 2]:
        _confirm(s, fixed | {name: size})
    return int(sizes[found])


def _confirm(s: Scaling, sizes: Mapping[str, int]) -> None:
    """Traces the model there, and holds the formulas to it; not where only the formulas are left, after pickling."""
    if s.trace is None:
        return
    sample: Sample = s.traced(**sizes)
    traced, derived = {**sample.totals, "peak_memory": max(sample.moments)}, s.at(**sizes)
    for key, value in derived.items():
        if traced[key] != value:
            where = ", ".join(f"{name}={size}" for name, size in sizes.items())
            raise NotPolynomialError(f"at {where} a trace has {key} {traced[key]:,}, and the formula has {value:,}")


def _limit(s: Scaling, key: str, value: Any) -> float:
    measure = find(key)
    if key in s.refused:
        s.require(key)
    if key not in s.quantities:
        raise InputError(
            f"nothing is called {key!r}: sizes are {', '.join(s.names)}, quantities {', '.join(s.quantities)}"
        )
    if measure is not None and measure.unit == "bytes":
        return bytes_of(int(value) if isinstance(value, float) and value.is_integer() else value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InputError(f"{key}={short(value)} is no bound: give a number above 0")
    return value
