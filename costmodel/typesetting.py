"""Prints sympy's expressions as people write them, also with numbers in the symbols' places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sympy import Integer, Pow
from sympy.printing.precedence import PRECEDENCE, precedence
from sympy.printing.str import StrPrinter

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Typesetter(StrPrinter):  # type: ignore[misc]  # sympy has no types
    """Prints products with a dot and whole powers raised; a symbol as its value, if it has one.

    A value stands where its symbol stood: nothing is multiplied out, and a sum is put in parentheses where it is a
    factor.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        """``values`` has numbers, or expressions, by the names of symbols."""
        super().__init__()
        self._values = {name: Integer(n) if type(n) is int else n for name, n in values.items()}

    def typeset(self, expression: Any) -> str:
        """The expression, or a tuple of them, as text."""
        terms = expression.args if getattr(expression, "is_Add", False) else ()
        if terms and all(term.as_numer_denom()[0] == 1 for term in terms):
            text = " + ".join(sorted(map(self.doprint, terms), key=lambda term: (len(term), term)))
        else:
            text = self.doprint(expression)
        text = re.sub(r"\*\*(\d+)\b", lambda m: m[1].translate(_RAISED), text)
        return re.sub(r"(?<!\*)\*(?!\*)", "·", text)

    def parenthesize(self, item: Any, level: int, strict: bool = False) -> str:
        """The item, in parentheses where it, or the value that it stands for, binds less than what is around it."""
        binds = min(precedence(item), precedence(self._values.get(getattr(item, "name", ""), item)))
        text = self._print(item)
        return f"({text})" if binds < level or (not strict and binds <= level) else text

    def _print_Symbol(self, expr: Any) -> str:  # noqa: N802  # sympy looks printers up by class
        return StrPrinter().doprint(self._values.get(expr.name, expr))  # type: ignore[no-any-return]

    def _print_Pow(self, expr: Any, rational: bool = False) -> str:  # noqa: N802
        if expr.exp.is_Integer and expr.exp < -1:
            return f"1/{self.parenthesize(Pow(expr.base, -expr.exp, evaluate=False), PRECEDENCE['Mul'])}"
        return super()._print_Pow(expr, rational)  # type: ignore[no-any-return]
