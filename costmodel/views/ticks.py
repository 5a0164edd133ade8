"""Ticks of a logarithmic axis: a few round figures, in one notation, so that their labels never meet."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, floor, log10
from typing import TYPE_CHECKING

from matplotlib.ticker import Locator, NullLocator

if TYPE_CHECKING:
    from matplotlib.axis import Axis

FEWEST, MOST = 4, 7
"""Ticks that an axis should have, where its range has as many that are round."""

_STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
"""The digits of ticks within each power of ten, coarse to fine."""


def logarithmic(low: float, high: float, most: int = MOST) -> list[float]:
    """Round figures from ``low`` to ``high``: powers of ten; where these are few, others between them, as 3 or 2 and 5.

    There are no more than ``most``.

    >>> logarithmic(1, 2e5), logarithmic(300, 20000), logarithmic(11, 19)
    ([1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0], [300.0, 1000.0, 3000.0, 10000.0], [12.0, 14.0, 16.0, 18.0])
    """
    found: list[float] = []
    for steps in _STEPS:
        powers = range(floor(log10(low)) - 1, ceil(log10(high)) + 1)
        found = [float(f"{step}e{power}") for power in powers for step in steps if low <= step * 10**power <= high]
        if len(found) >= min(FEWEST, most):
            break
    else:
        least = (high - low) / most
        unit = 10.0 ** floor(log10(least))
        step = next(unit * n for n in (1, 2, 5, 10) if unit * n >= least)
        found = [float(n * step) for n in range(ceil(low / step), floor(high / step) + 1)]
    return found[:: ceil(len(found) / most)]


class RoundFigures(Locator):
    """Puts ticks at round figures: as many as there is room for, whenever the axis is drawn."""

    def __call__(self) -> list[float]:
        """The ticks of what the axis shows."""
        assert self.axis is not None
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Those between two figures."""
        assert self.axis is not None
        low, high = sorted((vmin, vmax))
        room = self.axis.get_tick_space()  # of labels at even distances
        for most in range(MOST, 2, -1):
            found = logarithmic(low, high, most)
            nearest = min((log10(b / a) for a, b in pairwise(found)), default=0)
            if nearest * room >= log10(high / low):
                return found
        return [found[0], found[-1]]


def set_logarithmic(axis: Axis) -> None:
    """Gives an axis that is logarithmic its ticks."""
    axis.set_major_locator(RoundFigures())
    axis.set_minor_locator(NullLocator())
