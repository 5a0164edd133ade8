"""Closed forms in symbols: what comes out of a formula whose counts are sympy symbols instead of numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
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


def is_symbolic(value: Any) -> bool:
    """Whether an argument is a symbol or an expression, or has one for an axis.

    >>> is_symbolic(symbol("c_in") - 2), is_symbolic((56, symbol("W"))), is_symbolic((56, 56))
    (True, True, False)
    """
    parts = value if isinstance(value, tuple) else (value,)
    return any(getattr(part, "free_symbols", ()) for part in parts)


def defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The arguments that a formula can do without, with what they are then."""
    return {n: p.default for n, p in inspect.signature(function).parameters.items() if p.default is not p.empty}


def choices(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that are on, and the flags and words that are not as by default: they choose between expressions.

    >>> from costmodel.formulas import conv
    >>> choices(conv, {"padding_mode": "reflect"}), choices(conv, {"bias": False})
    ({'bias': True, 'padding_mode': 'reflect'}, {'bias': False})
    """
    defaults = defaults_of(function)
    every = {name: arguments.get(name, defaults.get(name)) for name in inspect.signature(function).parameters}
    return {
        name: value
        for name, value in every.items()
        if value is True or (isinstance(value, bool | str) and value != defaults.get(name))
    }


def symbols_for(name: str, value: Any) -> Any:
    """The symbol, or tuple of symbols, in the place of an argument.

    >>> symbols_for("size", (56, 56)), symbols_for("c_in", 64)
    ((H, W), c_in)
    """
    if isinstance(value, tuple):
        return tuple(symbol(stem) for stem in _stems(name, value))
    return symbol(name)


def values_of(name: str, value: Any) -> dict[str, Any]:
    """The numbers of an argument by the names of its symbols.

    >>> values_of("size", (56, 28)), values_of("kernel", 3)
    ({'H': 56, 'W': 28}, {'kernel': 3})
    """
    return dict(zip(_stems(name, value), value, strict=True)) if isinstance(value, tuple) else {name: value}


def _stems(name: str, value: tuple[Any, ...]) -> tuple[str, ...]:
    letters = LETTERS.get(len(value)) if name == "size" else None
    return letters or tuple(f"{name}_{i}" for i in range(len(value)))


def symbol(name: str) -> Any:
    """A symbol for a count.

    >>> symbol("c_in").is_positive, symbol("padding").is_positive
    (True, None)
    """
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


def most_general(
    function: Callable[..., Any], arguments: Mapping[str, Any], names: Iterable[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Symbols for as many of these counts as leave the formula what it is with the numbers, and its quantities then.

    A formula asks whether a stride is 1, or whether channels are equal. A count on which that turns keeps its number,
    or shares the symbol of those that it equals.

    >>> from costmodel.formulas import basic_block
    >>> block = {"c_in": 64, "c_out": 64, "size": (56, 56), "stride": 1}
    >>> most_general(basic_block, block, block)[0]
    {'c_in': c_in, 'c_out': c_in, 'size': (H, W)}
    """
    names = list(names)
    numbers = figures(function(**arguments))
    values: dict[str, Any] = {}
    for name, value in arguments.items():
        values |= values_of(name, value)
    values |= zip(output_names(size := numbers.get("output_size", ())), size, strict=False)

    def quantities(stand: Mapping[str, Any]) -> dict[str, Any]:
        found = in_symbols(function, {**arguments, **stand})
        return found if all(comes_to(found.get(q), values, number) for q, number in numbers.items()) else {}

    stand = {name: symbols_for(name, arguments[name]) for name in names}
    if found := quantities(stand):
        return stand, found
    stand = {}
    for name in names:
        alike = [n for n in names if n not in stand and arguments[n] == arguments[name]]
        for group in ([name], alike) if name in alike else ():
            trial = {**stand, **dict.fromkeys(group, symbols_for(name, arguments[name]))}
            if right := quantities(trial):
                stand, found = trial, right
                break
    return stand, found


_POINT = (10**9 + 7) ** 2
"""Where two expressions are compared: far from the roots of any difference of two counts."""


def comes_to(expression: Any, values: Mapping[str, Any], number: Any) -> bool:
    """Whether an expression with ``values`` in the symbols' places is that number, or another expression.

    >>> comes_to(symbol("c_in") * 9, {"c_in": 64}, 576), comes_to((symbol("H"), 3), {"H": 2}, (2, 4))
    (True, False)
    """
    if isinstance(number, tuple):
        alike = isinstance(expression, tuple) and len(expression) == len(number)
        return alike and all(comes_to(e, values, n) for e, n in zip(expression, number, strict=True))
    if not getattr(expression, "free_symbols", ()):
        return bool(expression == number)
    import sympy

    placed = expression.xreplace({s: sympy.sympify(values.get(s.name, s)) for s in expression.free_symbols})
    rest = placed - number
    return bool(rest.subs({s: _POINT + i * i for i, s in enumerate(sorted(rest.free_symbols, key=str))}) == 0)


def output_names(size: tuple[Any, ...]) -> tuple[str, ...]:
    """What the axes of an output's size are called.

    >>> output_names((54, 54))
    ('H_out', 'W_out')
    """
    return tuple(f"{letter}_out" for letter in LETTERS.get(len(size), ()))


def _with_named_output(quantities: dict[str, Any]) -> dict[str, Any]:
    size = quantities.get("output_size", ())
    named = {
        expression: symbol(name)
        for expression, name in zip(size, output_names(size), strict=False)
        if getattr(expression, "args", ())
    }
    return {
        quantity: value if quantity == "output_size" or not hasattr(value, "subs") else value.subs(named)
        for quantity, value in quantities.items()
    }


def typeset(expression: Any, values: Mapping[str, Any] | None = None) -> str:
    """An expression, or a tuple of them, as people write it; with ``values``, those in the symbols' places.

    >>> import sympy
    >>> k, c = sympy.symbols("kernel c_in")
    >>> typeset(2 * c * k**2), typeset(1 / k**2 + 1 / c), typeset(2 * c * k**2, {"kernel": 3, "c_in": c - 2})
    ('2·c_in·kernel²', '1/c_in + 1/kernel²', '2·(c_in - 2)·3²')
    """
    if not hasattr(expression, "free_symbols") and not isinstance(expression, tuple):
        return str(expression)
    from costmodel.typesetting import Typesetter

    return Typesetter(values or {}).typeset(expression)


def without_floors(expression: Any, values: Mapping[str, Any]) -> Any:
    """An expression without the floors that round nothing: of what is whole at ``values``.

    >>> import sympy
    >>> size, stride = sympy.symbols("size stride", integer=True, positive=True)
    >>> without_floors(size // stride, {"size": 56, "stride": 2}), without_floors(size // stride, {"size": 57})
    (size/stride, floor(size/stride))
    """
    import sympy

    def unless_it_rounds(inner: Any) -> Any:
        return inner if at(inner, values).is_integer else sympy.floor(inner)

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
