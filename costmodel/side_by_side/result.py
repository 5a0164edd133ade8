"""``FormulaComparison``: the costs of several closed forms and their ratios to the first, in numbers and in symbols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from costmodel.formulas import CATALOG, BlockCost, LayerCost
from costmodel.rendering import Report
from costmodel.symbolic import (
    QUANTITIES,
    at,
    choices,
    in_symbols,
    is_count,
    output_names,
    shortest,
    symbols_for,
    values_of,
    without_floors,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPARED = tuple(quantity for quantity in QUANTITIES if quantity != "output_size" and hasattr(LayerCost, quantity))
"""The quantities that are compared, in the order of tables."""


@dataclass(frozen=True, eq=False)
class Side:
    """One formula with its arguments."""

    label: str
    formula: str
    arguments: Mapping[str, Any]
    cost: LayerCost | BlockCost
    left_out: tuple[str, ...] = ()
    """Arguments given for all that this formula does not take."""
    withheld: tuple[str, ...] = ()
    """Arguments given for all that it takes, and that are meant for formulas that need them."""

    @property
    def call(self) -> str:
        """The formula called with these arguments, as one writes it."""
        return f"{self.formula}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"

    @property
    def values(self) -> dict[str, Any]:
        """The numbers by the names of their symbols, and the output's size by those of its own."""
        found: dict[str, Any] = {}
        for name, value in self.arguments.items():
            found |= {k: v for k, v in values_of(name, value).items() if isinstance(v, int)}
        return found | dict(zip(output_names(self.cost.output_size), self.cost.output_size, strict=False))

    def figure(self, quantity: str) -> Any:
        """A quantity of the cost: an int, or an expression where an argument is a symbol."""
        return without_floors(getattr(self.cost, quantity), self.values)


@dataclass(frozen=True, eq=False, repr=False)
class FormulaComparison(Report):
    """What several formulas cost, beside each other; ratios are to the first."""

    view: ClassVar[str] = "formulas"

    sides: tuple[Side, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row per formula: params, MACs, FLOPs and memory access, the ratios to the first, the output's shape."""
        import pandas as pd

        columns: dict[str, list[Any]] = {q: [side.figure(q) for side in self.sides] for q in COMPARED}
        columns |= {f"{q}_ratio": self.ratios(q) for q in COMPARED}
        columns["output_shape"] = [side.cost.output_shape for side in self.sides]
        return pd.DataFrame(columns, index=pd.Index([side.label for side in self.sides], name="formula"))

    def to_pandas(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def ratios(self, quantity: str) -> list[Any]:
        """Each formula's quantity over the first one's; not a number where that is 0, an expression among symbols."""
        base = self.sides[0].figure(quantity)
        return [_ratio(side.figure(quantity), base) for side in self.sides]

    def formula(self, side: Side, quantity: str) -> Any:
        """A quantity in the symbols of the arguments; ``None`` where there is no expression that gives the number."""
        return self._expressions[side.label].get(quantity)

    def ratio_formula(self, side: Side, quantity: str) -> Any:
        """The ratio to the first in symbols, at the same output size; ``None`` where it cannot be derived.

        An argument that differs between the formulas is a number in it, and no symbol.
        """
        import sympy

        ours, first = self.formula(side, quantity), self.formula(self.sides[0], quantity)
        if ours is None or not first or self._sizes_differ_on_purpose:
            return None
        return shortest(sympy.cancel(sympy.sympify(ours) / first))

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What to know before the figures are compared."""
        found = []
        for side in self.sides:
            if isinstance(side.cost, BlockCost):
                found.append(f"{side.label} counts {', '.join(layer.kind for _, layer in side.cost.layers)}")
            if side.left_out:
                found.append(f"{side.label} does not take {' and '.join(side.left_out)}")
        by_default: dict[str, list[str]] = {}
        for side in self.sides:
            for name, value in choices(CATALOG[side.formula], side.arguments).items():
                if name not in side.arguments:
                    by_default.setdefault(f"{name}={value!r}", []).append(side.label)
        found += [f"{choice} by default: {', '.join(labels)}" for choice, labels in by_default.items()]
        for name in dict.fromkeys(name for side in self.sides for name in side.withheld):
            takers = [side.label for side in self.sides if name in side.arguments]
            others = [side.label for side in self.sides if name in side.withheld]
            found.append(f"{name} is for {' and '.join(takers)}; give {others[0]} its own as {others[0]}({name}=...)")
        unknown = sorted({s.name for side in self.sides for s in _symbols_in(side.arguments.values())})
        if unknown:
            found.append(f"Symbols, as no number is given: {', '.join(unknown)}")
        sizes = {side.label: side.cost.output_size for side in self.sides if side.cost.output_size}
        if len(set(sizes.values())) > 1:
            known = all(isinstance(n, int) for size in sizes.values() for n in size)
            listed = ", ".join(f"{label} {'×'.join(map(str, size))}" for label, size in sizes.items())
            which = f": {listed}" if known else ""
            found.append(f"The outputs differ in size{which}. Ratios in symbols are at the same output size")
        return tuple(found)

    def plot(self, quantity: str | None = None, ax: Axes | None = None) -> Figure:
        """A bar per formula with its figure and its ratio to the first: of one quantity, or of each."""
        from costmodel.views import formulas

        return formulas.figure(self, quantity, ax)

    def __getstate__(self) -> dict[str, Any]:
        # Expressions are derived again: sympy multiplies out a factored one that it unpickles.
        return {"sides": self.sides}

    @cached_property
    def _expressions(self) -> dict[str, dict[str, Any]]:
        given: dict[str, list[Any]] = {}
        for side in self.sides:
            for name, value in side.arguments.items():
                given.setdefault(name, []).append(value)
        shared = {name for name, values in given.items() if all(value == values[0] for value in values)}
        return {side.label: _expressions(side, shared) for side in self.sides}

    @property
    def _sizes_differ_on_purpose(self) -> bool:
        return any(
            len({side.arguments.get(name) for side in self.sides if name in side.arguments}) > 1
            for name in ("size", "stride", "output_size")
        )


def _symbols_in(values: Iterable[Any]) -> set[Any]:
    parts = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    return {symbol for part in parts for symbol in getattr(part, "free_symbols", ())}


def _ratio(figure: Any, base: Any) -> Any:
    if isinstance(figure, int) and isinstance(base, int):
        try:
            return float(Fraction(figure, base)) if base else float("nan")
        except OverflowError:
            return float("inf")
    import sympy

    if base == 0:
        return float("nan")
    ratio = shortest(sympy.cancel(sympy.sympify(figure) / base))
    return float(ratio) if ratio.is_number else ratio


def _expressions(side: Side, shared: set[str]) -> dict[str, Any]:
    """A side's quantities with symbols for the arguments in ``shared``: those whose numbers come out right."""
    import sympy

    symbolic = {
        name: symbols_for(name, value) if name in shared and is_count(name, value) else value
        for name, value in side.arguments.items()
    }
    values, found = side.values, {}
    for quantity, raw in in_symbols(CATALOG[side.formula], symbolic).items():
        if quantity not in COMPARED:
            continue
        expression = without_floors(sympy.sympify(raw), values)
        if sympy.simplify(at(expression, values) - side.figure(quantity)) == 0:
            found[quantity] = shortest(expression)
    return found
