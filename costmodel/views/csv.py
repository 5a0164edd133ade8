"""Tables as CSV: exact integers, for scripts and spreadsheets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from costmodel.compare import Comparison
    from costmodel.profile import Profile
    from costmodel.side_by_side import FormulaComparison


def profile(p: Profile) -> str:
    """One line per layer, with the columns of ``Profile.layers``.

    A shape is written 1x3x224x224; so are figures of several axes, with - for an axis that has none.
    """
    return _written(p.layers, index=False)


def comparison(c: Comparison) -> str:
    """One line per model."""
    return _written(c.table, index=True)


def formulas(c: FormulaComparison) -> str:
    """One line per formula."""
    return _written(c.table, index=True)


def _written(table: pd.DataFrame, *, index: bool) -> str:
    table = table.map(lambda v: "x".join("-" if n is None else str(n) for n in v) if isinstance(v, tuple) else v)
    return str(table.to_csv(index=index, lineterminator="\n"))
