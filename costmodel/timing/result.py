"""The result: seconds of the whole forward and of each layer, beside the least that a device needs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from costmodel.rendering import Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAYER_COLUMNS = {
    "name": "qualified name of the module; module/op for an op that ran outside any leaf, as in Profile.layers",
    "type": "class of the module, or the op's full name",
    "kind": "category, as in Profile.layers",
    "median": "seconds, the median over runs; none for what no hook can time",
    "spread": "seconds, the interquartile range over runs",
    "least": "seconds of the quickest run",
    "bound": "seconds that the device needs at least, every op a kernel of its own: Profile.roofline",
    "share": "bound / median: the share of the bound that is reached",
    "bound_by": "compute or memory: what the bound waits for",
    "macs": "multiply-accumulates",
    "flops": "arithmetic operations",
    "memory_access_bytes": "bytes read and written, every op a kernel of its own",
}
"""The columns of ``Measurement.layers``, and what they mean."""


@dataclass(frozen=True)
class Times:
    """The seconds of each run of one thing, and the least that a device needs for it."""

    runs: tuple[float, ...]
    bound: float

    @cached_property
    def quartiles(self) -> tuple[float, float, float]:
        """A quarter of the runs, half and three quarters of them took no longer than this.

        >>> Times((4.0, 1.0, 2.0, 3.0, 5.0), bound=1.0).quartiles
        (2.0, 3.0, 4.0)
        """
        if len(self.runs) == 1:
            return self.runs * 3
        first, second, third = statistics.quantiles(self.runs, n=4, method="inclusive")
        return first, second, third

    @property
    def median(self) -> float:
        """Seconds of half of the runs, or less."""
        return self.quartiles[1]

    @property
    def spread(self) -> float:
        """The interquartile range: the middle half of the runs differ by no more."""
        return self.quartiles[2] - self.quartiles[0]

    @property
    def least(self) -> float:
        """Seconds of the quickest run."""
        return min(self.runs)

    @property
    def share(self) -> float | None:
        """The share of the bound that is reached: bound / median. ``None`` for what needs no time by the bound.

        >>> Times((4.0, 1.0, 2.0, 3.0, 5.0), bound=1.5).share
        0.5
        """
        return self.bound / self.median if self.bound and self.median > 0 else None


@dataclass(frozen=True)
class TimedLayer:
    """One row of ``Profile.layers``, with its times where hooks could take them."""

    name: str
    type: str
    kind: str
    macs: int
    flops: int
    nbytes: int
    bound_by: str
    bound: float
    times: Times | None
    """``None`` for an op outside any leaf module, around which there is no hook."""


@dataclass(frozen=True)
class Peaks:
    """The device whose peak rates the bound is made of."""

    name: str
    title: str
    math: str
    """How products of float32 are taken to be computed: ``float32`` or ``tf32``."""
    why: str
    """How it was chosen."""
    figures: tuple[tuple[str, float, str], ...]
    """FLOP/s by dtype and bytes/s under ``bandwidth``, each with its source."""


@dataclass(frozen=True)
class Setting:
    """Where and how was measured."""

    device: str
    """As torch names it: ``cpu`` or ``cuda:0``."""
    hardware: str
    threads: int | None
    """torch's threads on the CPU; ``None`` on a GPU."""
    warm_up: int
    """Forwards before the first that counts."""
    timer: str
    hook: float
    """Seconds that the hooks read around a module that does nothing: a part of each layer's time."""
    with_grad: bool
    """Whether autograd recorded the forwards, which need that; otherwise they ran in inference mode."""
    torch: str
    date: str
    clocks: tuple[str, ...]
    """Frequencies, governor and load, where the system lets them be read; or that it does not."""


@dataclass(frozen=True, eq=False)
class Measurement(Report):
    """A model's real times beside its roofline: of the whole forward, and of each layer."""

    view: ClassVar[str] = "measurement"

    name: str
    """The model's class, or its spec."""
    inputs: tuple[tuple[tuple[int, ...], str], ...]
    """Shape and dtype of each input."""
    total: Times
    """The whole forward, without hooks."""
    rows: tuple[TimedLayer, ...]
    """The rows of ``Profile.layers``, call by call."""
    hooked: tuple[float, ...]
    """Seconds of the forwards with hooks around layers, which ran in turns with the others."""
    peaks: Peaks
    setting: Setting
    is_exact: bool = True
    """Whether every op has a rule; if not, bounds are lower still."""
    unmatched: str = ""
    """Why no layer has a time, where the forward that ran called other modules than the profile has."""

    @property
    def layers(self) -> pd.DataFrame:
        """One row per row of ``Profile.layers``; ``costmodel.timing.result.LAYER_COLUMNS`` says what columns mean."""
        import pandas as pd

        return pd.DataFrame([_cells(row) for row in self.rows], columns=list(LAYER_COLUMNS))

    def to_pandas(self) -> pd.DataFrame:
        """The table of layers."""
        return self.layers

    @cached_property
    def outside(self) -> Times | None:
        """What of a forward with hooks lies outside all layers that have times; ``None`` where none has.

        It is ops outside any leaf module, which no hook can time, the code between layers, and the hooks themselves.
        """
        timed = [row.times.runs for row in self.rows if row.times is not None]
        if not timed:
            return None
        left = tuple(whole - sum(runs) for whole, *runs in zip(self.hooked, *timed, strict=True))
        return Times(left, sum(row.bound for row in self.rows if row.times is None))

    @property
    def slowdown(self) -> float | None:
        """By which part the forwards with hooks took longer than those without, in the median; ``None`` without any."""
        return statistics.median(self.hooked) / self.total.median - 1 if self.hooked and self.total.median else None

    def plot(self, ax: Axes | None = None) -> Figure:
        """Each layer's median time against its bound; on the diagonal the bound is reached. Drawn into ``ax``."""
        from costmodel.views import measurement

        return measurement.figure(self, ax)

    def __repr__(self) -> str:
        from costmodel.views import units

        share = self.total.share
        reached = "" if share is None else f", {units.share(share, 1)} of the bound"
        return f"<Measurement of {units.printable(self.name)}: {units.seconds(self.total.median)}{reached}>"


def _cells(row: TimedLayer) -> list[object]:
    times = row.times
    taken = (None,) * 3 if times is None else (times.median, times.spread, times.least)
    share = None if times is None else times.share
    return [row.name, row.type, row.kind, *taken, row.bound, share, row.bound_by, row.macs, row.flops, row.nbytes]
