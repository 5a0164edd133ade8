"""Closed forms in symbols: what comes out of a formula whose counts are sympy symbols instead of numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from costmodel.measures import shown_in

LETTERS = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}
"""What the axes of a size are called, by their number."""

QUANTITIES = (
    "output_size", *(measure.name for measure in shown_in("layers")), "state", "state_bytes", "temporaries",
)  # fmt: skip
"""What is shown of a cost, in this order: the last three of an optimizer's."""


def is_count(name: str, value: Any) -> bool:
    """Whether an argument is a number that a symbol may stand for; a flag, a name or a dimension's index is none.

    >>> is_count("kernel", 3), is_count("size", (56, 56)), is_count("bias", True), is_count("dim", 1)
    (True, True, False, False)
    """
    if name == "dim" or isinstance(value, bool):
        return False
    if isinstance(value, tuple):
        return bool(value) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    return isinstance(value, int)


def symbols_for(name: str, value: Any) -> Any:
    """The symbol, or tuple of symbols, in the place of an argument.

    >>> symbols_for("size", (56, 56)), symbols_for("c_in", 64)
    ((H, W), c_in)
    """
    if isinstance(value, tuple):
        return tuple(_symbol(stem) for stem in _stems(name, value))
    return _symbol(name)


def values_of(name: str, value: Any) -> dict[str, Any]:
    """The numbers of an argument by the names of its symbols.

    >>> values_of("size", (56, 28)), values_of("kernel", 3)
    ({'H': 56, 'W': 28}, {'kernel': 3})
    """
    return dict(zip(_stems(name, value), value, strict=True)) if isinstance(value, tuple) else {name: value}


def _stems(name: str, value: tuple[Any, ...]) -> tuple[str, ...]:
    letters = LETTERS.get(len(value)) if name == "size" else None
    return letters or tuple(f"{name}_{i}" for i in range(len(value)))


def _symbol(name: str) -> Any:
    import sympy

    # A padding may be 0, every other count is at least 1.
    positive = not name.startswith("padding")
    return sympy.Symbol(name, integer=True, positive=positive or None, nonnegative=True)


def figures(result: Any) -> dict[str, Any]:
    """A cost's quantities; another result under its own type's name."""
    return {q: getattr(result, q) for q in QUANTITIES if hasattr(result, q)} or {"result": result}


def not_zero(quantities: Mapping[str, Any]) -> dict[str, Any]:
    """The quantities that are not nothing."""
    return {q: v for q, v in quantities.items() if v != () and v != 0}


def in_symbols(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A formula's quantities where some arguments are symbols; none where it does not take them.

    The output's size goes by names of its own (``H_out``) wherever it appears in the other quantities.
    """
    try:
        found = figures(function(**arguments))
    except (TypeError, ValueError, AttributeError):
        return {}
    return _with_named_output(found)


def output_names(size: tuple[Any, ...]) -> tuple[str, ...]:
    """What the axes of an output's size are called.

    >>> output_names((54, 54))
    ('H_out', 'W_out')
    """
    return tuple(f"{letter}_out" for letter in LETTERS.get(len(size), ()))


def _with_named_output(quantities: dict[str, Any]) -> dict[str, Any]:
    size = quantities.get("output_size", ())
    named = {
        expression: _symbol(name)
        for expression, name in zip(size, output_names(size), strict=False)
        if getattr(expression, "args", ())
    }
    return {
        quantity: value if quantity == "output_size" or not hasattr(value, "subs") else value.subs(named)
        for quantity, value in quantities.items()
    }


def typeset(expression: Any) -> str:
    """An expression as people write it.

    >>> import sympy
    >>> k, c = sympy.symbols("kernel c_in")
    >>> typeset(2 * c * k**2), typeset(1 / k**2 + 1 / c)
    ('2·c_in·kernel²', '1/c_in + 1/kernel²')
    """
    terms = getattr(expression, "args", ()) if getattr(expression, "is_Add", False) else ()
    if terms and all(term.as_numer_denom()[0] == 1 for term in terms):
        return " + ".join(sorted(map(typeset, terms), key=lambda text: (len(text), text)))
    text = re.sub(r"([A-Za-z_]\w*)\*\*\(-(\d+)\)", r"1/\1**\2", str(expression))
    return re.sub(r"\*\*([23])(?!\d)", lambda m: "²³"[int(m[1]) - 2], text).replace("*", "·")


def without_floors(expression: Any, values: Mapping[str, Any]) -> Any:
    """An expression without the floors that round nothing: of what is whole at ``values``, or divided by ``groups``.

    Every formula demands that ``groups`` divides the channels.

    >>> import sympy
    >>> c, g = sympy.symbols("c_in groups", integer=True, positive=True)
    >>> without_floors(c // g, {"c_in": 64, "groups": 4}), without_floors(sympy.Integer(64) // g, {})
    (c_in/groups, 64/groups)
    """
    import sympy

    def unless_it_rounds(inner: Any) -> Any:
        by_groups = sympy.denom(sympy.together(inner)) == _symbol("groups")
        return inner if by_groups or at(inner, values).is_integer else sympy.floor(inner)

    return expression.replace(sympy.floor, unless_it_rounds) if hasattr(expression, "replace") else expression


def at(expression: Any, values: Mapping[str, Any]) -> Any:
    """An expression with numbers in the place of the symbols of those names."""
    import sympy

    return sympy.sympify(expression).subs({s: values[s.name] for s in expression.free_symbols if s.name in values})


def shortest(expression: Any) -> Any:
    """The way to write an expression that needs the fewest characters: as it is, multiplied out, or in factors.

    >>> import sympy
    >>> k, n = sympy.symbols("k n", positive=True)
    >>> shortest((k**2 + n) / (n * k**2))
    1/n + k**(-2)
    """
    import sympy

    ways = (expression, sympy.factor(expression), sympy.expand(sympy.cancel(expression)))
    return min(ways, key=lambda way: len(typeset(way)))
