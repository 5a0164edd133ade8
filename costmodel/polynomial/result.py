"""``Scaling``: what a model costs, as polynomials of its input's sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from math import lcm
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from costmodel.arguments import short
from costmodel.errors import InputError, NotPolynomialError
from costmodel.polynomial.differences import Integers, evaluate, expression, greatest
from costmodel.polynomial.grid import Layers
from costmodel.polynomial.samples import Point, Sample
from costmodel.polynomial.search import Axis
from costmodel.rendering import Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Region:
    """Sizes for which each number of a trace is one polynomial."""

    axes: tuple[Axis, ...]
    """The names, with what each may be."""
    totals: Mapping[str, Integers]
    """The coefficients of each total, in steps from the least sizes."""
    moments: tuple[Integers, ...]
    """Those of the live bytes at each op, or of the peak alone where other sizes run other ops."""
    verified: tuple[dict[str, int], ...]
    """The points, beside those that determine the polynomials, at which a trace was compared and agreed."""
    layers: Layers
    """The polynomials of each layer's figures."""
    by_op: bool
    """Whether the same ops run at all sizes."""
    execution: str
    """How the model was read: ``meta`` or ``real``."""
    lower_bounds: tuple[str, ...]
    """Why figures are lower bounds; empty where all are exact."""

    @cached_property
    def peaks(self) -> list[Integers]:
        """Those of ``moments`` that can be the greatest."""
        return greatest(self.moments)

    def at(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Every total."""
        steps = [axis.step(sizes[axis.name]) for axis in self.axes]
        found = {name: int(evaluate(p, steps)) for name, p in self.totals.items()}
        return {**found, "peak_memory": max(int(evaluate(p, steps)) for p in self.peaks)}

    def expression(self, coefficients: Integers, symbols: Mapping[str, Any]) -> Any:
        """A polynomial in the names."""
        return expression(coefficients, [(symbols[a.name] - a.least) / a.lattice for a in self.axes])

    def total(self, name: str, symbols: Mapping[str, Any]) -> Any:
        """A total in the names; the peak is the greatest of several."""
        import sympy

        if name in self.totals:
            return self.expression(self.totals[name], symbols)
        found = [self.expression(p, symbols) for p in self.peaks]
        return found[0] if len(found) == 1 else sympy.Max(*found, evaluate=False)

    def is_for(self, sizes: Mapping[str, Any]) -> bool:
        """Whether the sizes that it fixes have their values."""
        return all(sizes[a.name] == a.least for a in self.axes if a.is_fixed and a.name in sizes)


@dataclass(frozen=True, eq=False)
class Scaling(Report):
    """What a model costs, as exact polynomials of named sizes."""

    view: ClassVar[str] = "scaling"

    regions: tuple[Region, ...] = field(repr=False)
    """The first is the general one; others fix one size."""
    name: str
    """The model's name in reports."""
    training: bool
    """Whether it is of a training step."""
    refused: Mapping[str, str] = field(repr=False)
    """The totals that are no polynomial, each with the sizes that show it."""
    trace: Callable[[Point], Sample] | None = field(repr=False)
    """Traces the model at given sizes; ``None`` after pickling."""

    def __getstate__(self) -> dict[str, Any]:
        # Not the user's model, which may not be picklable.
        return {**{each.name: getattr(self, each.name) for each in fields(self)}, "trace": None}

    # -- sizes --------------------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the sizes."""
        return tuple(axis.name for axis in self.axes)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The names, with what each may be in any region."""
        return tuple(map(_joined, zip(*(region.axes for region in self.regions), strict=True)))

    @property
    def lattice(self) -> dict[str, int]:
        """The number of which each size is a multiple."""
        return {axis.name: axis.lattice for axis in self.axes}

    @property
    def range(self) -> dict[str, tuple[int, int]]:
        """The least and the greatest of each size."""
        return {axis.name: (axis.least, axis.greatest) for axis in self.axes}

    @property
    def verified(self) -> tuple[dict[str, int], ...]:
        """The points at which a trace was compared and agreed, beside those that determine the polynomials."""
        return tuple(point for region in self.regions for point in region.verified)

    @property
    def execution(self) -> str:
        """How the model was read: ``meta``, without computing, or ``real``; its costs may then depend on values."""
        return self.regions[0].execution

    @property
    def lower_bounds(self) -> tuple[str, ...]:
        """Why figures are lower bounds, as an op that has no rule; empty where all are exact."""
        return tuple(dict.fromkeys(why for region in self.regions for why in region.lower_bounds))

    @property
    def is_exact(self) -> bool:
        """Whether every op that ran has a rule that gives its exact cost. If not, totals are lower bounds."""
        return not self.lower_bounds

    @cached_property
    def symbols(self) -> dict[str, Any]:
        """The sympy symbol of each name, without assumptions, so that ``scaling.macs.subs({"B": 8})`` finds it."""
        import sympy

        return {name: sympy.Symbol(name) for name in self.names}

    # -- expressions --------------------------------------------------------------------------------------------------

    @property
    def quantities(self) -> tuple[str, ...]:
        """The names of all totals."""
        return (*self.regions[0].totals, "peak_memory")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in {*self.quantities, *self.refused}:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self.expression(name)

    def expression(self, quantity: str) -> Any:
        """A total in the names, exact on the lattice and within the range; ``scaling.macs`` is the same.

        Where one sample costs something else than a batch, it has pieces. Raises ``NotPolynomialError`` where it is no
        polynomial, though others are.
        """
        self.require(quantity)
        import sympy

        general, *special = (region.total(quantity, self.symbols) for region in self.regions)
        pieces = []
        for region, found in zip(self.regions[1:], special, strict=True):
            fixed = {self.symbols[a.name]: a.least for a in region.axes if a.is_fixed}
            if not _are_equal(general.subs(fixed), found):
                pieces.append((found, sympy.And(*(sympy.Eq(symbol, size) for symbol, size in fixed.items()))))
        return sympy.Piecewise(*pieces, (general, True)) if pieces else general

    def require(self, quantity: str) -> None:
        """Raises ``NotPolynomialError`` for a total that is no polynomial, ``InputError`` for what is no total."""
        known = isinstance(quantity, str)
        if known and quantity in self.refused:
            raise NotPolynomialError(self.refused[quantity])
        if not known or quantity not in self.quantities:
            raise InputError(f"nothing is called {short(quantity)}; there are {', '.join(self.quantities)}")

    @cached_property
    def layers(self) -> pd.DataFrame:
        """A row per layer, views apart, each figure a polynomial; empty where sizes change what runs.

        It holds where the general polynomials do: not where one sample costs something else than a batch.
        """
        import pandas as pd

        region = self.regions[0]
        if region.layers.table is None:
            return pd.DataFrame()
        table, coefficients = region.layers.table
        names = list(table.columns[:3])
        figures = np.array([region.expression(p, self.symbols) for p in coefficients], dtype=object)
        rows = figures.reshape(len(table), -1)
        made = {column: list(rows[:, i]) for i, column in enumerate(table.columns[3:])}
        kept = {name: column for name, column in made.items() if name not in self.refused}
        return pd.DataFrame({**{name: list(table[name]) for name in names}, **kept})

    # -- numbers ------------------------------------------------------------------------------------------------------

    def at(self, **sizes: int) -> dict[str, int]:
        """Every total at given sizes, exact.

        Raises ``InputError`` for a size that is off its lattice or out of its range.
        """
        if unknown := sorted(sizes.keys() - set(self.names)):
            raise InputError(f"no size is called {', '.join(unknown)}; there are {', '.join(self.names)}")
        for name in self.names:
            if name not in sizes:
                raise InputError(f"give a size for {name}")
        given = {name: _int(name, size) for name, size in sizes.items()}
        region = self.region(given)
        for axis in region.axes:
            _require(axis, given[axis.name])
        return region.at(given)

    def region(self, sizes: Mapping[str, int]) -> Region:
        """The polynomials that hold at given sizes."""
        return next((r for r in self.regions[1:] if r.is_for(sizes)), self.regions[0])

    def values(self, name: str, sizes: Mapping[str, int]) -> Sequence[int]:
        """Every value of a size for which formulas hold where the others are as given, in order."""
        several = range(0)
        ones = set()
        for region in (*self.regions[1:], self.regions[0]):
            if region.is_for({**sizes, **{a.name: a.least for a in region.axes if a.name == name}}):
                (axis,) = (a for a in region.axes if a.name == name)
                if axis.is_fixed:
                    ones.add(axis.least)
                elif not several:
                    several = range(axis.least, axis.greatest + 1, axis.lattice)
        return several if all(size in several for size in ones) else sorted({*ones, *several})

    def traced(self, **sizes: int) -> Sample:
        """A trace at given sizes. Raises ``InputError`` where the model is not there any more."""
        if self.trace is None:
            raise InputError("this scaling was pickled, without its model: scale the model anew to trace it")
        return self.trace(tuple(sizes[name] for name in self.names))

    def largest(self, name: str, *, seconds: float | None = None, device: str | None = None, **bounds: Any) -> int:
        """The greatest value of a size that keeps all bounds; 0 where not even the least does.

        Args:
            name: the size that is looked for, on its lattice and within its range.
            seconds: a bound on the least time on a device, with ``device``: that of ``Profile.roofline``.
            device: one of ``costmodel.devices.device_names()``.
            **bounds: a number for each of the other sizes, and a bound for at least one quantity: ``macs=4e9``, bytes
                as a number or a text, ``peak_memory="24GB"``, or as a device's name.

        The formulas are held to traces at the result and at the next value.
        Raises ``InputError`` where every value in the range keeps the bounds.

        >>> import costmodel
        >>> from torch import nn
        >>> s = costmodel.scaling(nn.Conv2d(3, 8, 3, padding=1), ("B", 3, "H", "H"))
        >>> s.largest("B", peak_memory="1GB", H=224)
        452
        """
        from costmodel.polynomial.largest import largest

        return largest(self, name, bounds, seconds, device)

    def pieces(self, quantity: str = "peak_memory", **sizes: int) -> pd.DataFrame:
        """A total where all sizes but one are given, a row per polynomial: ``least, greatest, expression``.

        Raises ``InputError`` where not exactly one size is left out.
        """
        import pandas as pd

        from costmodel.polynomial.pieces import pieces

        return pd.DataFrame(pieces(self, quantity, sizes), columns=["least", "greatest", "expression"])

    # -- views --------------------------------------------------------------------------------------------------------

    def plot(self, quantity: str = "macs", ax: Axes | None = None, **sizes: int) -> Figure:
        """A total against one size, both in powers: the formula, and the totals of traces on it.

        ``sizes`` has a value for each other size; where it is left out it is that from which traces began.
        """
        from costmodel.views import scaling

        return scaling.figure(self, quantity, sizes, ax)


def _joined(axes: Sequence[Axis]) -> Axis:
    """What a size may be in any of several regions: those that several of them have in common, or that one fixes."""
    several = [axis for axis in axes if not axis.is_fixed] or axes[:1]
    # A multiple of all lattices, as all have to be right.
    lattice = lcm(*(axis.lattice for axis in several))
    least = max(-(-axis.least // lattice) * lattice for axis in several)
    greatest = min(axis.greatest // lattice * lattice for axis in several)
    ones = [axis.least for axis in axes if axis.is_fixed]
    return replace(several[0], lattice=lattice, least=min(least, *ones, least), greatest=max(greatest, *ones, greatest))


def _are_equal(a: Any, b: Any) -> bool:
    """Whether two polynomials, or maxima of them, are the same."""
    return bool(a == b or (not a.has("Max") and (a - b).expand() == 0))


def _int(name: str, size: Any) -> int:
    if isinstance(size, bool) or not isinstance(size, int | np.integer):
        raise InputError(f"{name}={short(size)} is no size: give an int")
    return int(size)


def _require(axis: Axis, size: int) -> None:
    if not axis.least <= size <= axis.greatest:
        raise InputError(f"{axis.name}={size} is out of its range, {axis.least} to {axis.greatest}")
    if size % axis.lattice:
        raise InputError(f"{axis.name}={size} is off its lattice: the formulas hold for multiples of {axis.lattice}")
