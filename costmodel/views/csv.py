"""Tables as CSV: exact integers, for scripts and spreadsheets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costmodel.views.units import printable

if TYPE_CHECKING:
    import pandas as pd

    from costmodel.comparison import Comparison
    from costmodel.profiling import Profile
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
    return rows(table.rename(index=_cell), index=index)


def rows(table: pd.DataFrame, *, index: bool = False) -> str:
    """Any table: shapes joined, texts such that no spreadsheet takes them for a formula, and in one line each."""
    return str(table.map(_cell).rename(columns=_cell).to_csv(index=index, lineterminator="\n"))


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return "x".join("-" if n is None else str(n) for n in value)
    if not isinstance(value, str):
        return value
    text = printable(value)
    # A quote before it makes it a text: https://owasp.org/www-community/attacks/CSV_Injection
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
