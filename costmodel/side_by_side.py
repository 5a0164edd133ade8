"""Closed forms side by side: what layers and blocks cost, and the ratios to the first, in numbers and in symbols."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property
from math import isfinite
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar

from costmodel.errors import InputError
from costmodel.formulas import CATALOG, GROUPS, BlockCost, LayerCost
from costmodel.rendering import Report
from costmodel.symbolic import (
    QUANTITIES,
    at,
    choices,
    in_symbols,
    is_count,
    output_names,
    shortest,
    symbol,
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


def compare(*formulas: str | Mapping[str, Any], **arguments: Any) -> FormulaComparison:
    """Compares what layers and blocks cost by their closed forms.

    Args:
        formulas: names of formulas (``costmodel.formulas.CATALOG``), each with arguments of its own in parentheses if
            it has any: ``"conv(groups=4)"``. Or one dict of a label to a name, or to a pair of name and arguments.
        arguments: for every formula that takes them. ``groups`` is for the formulas that need it where there are any,
            so that ``conv`` beside ``grouped_conv`` is the standard convolution. A ``size`` of one int is a square.

    A count may be a sympy symbol or the name of one (``groups="g"``), and one that a formula needs and is not given is
    one; figures and ratios are then expressions. No torch is needed.

    Raises:
        InputError: no formula has that name, none takes an argument, one lacks an argument for which no symbol can
            stand, or refuses its value.

    >>> both = compare("conv", "depthwise_separable", c_in=64, c_out=128, kernel=3, size=(56, 56), padding=1)
    >>> both.table["macs"].tolist(), both.ratios("macs")[1] == 1 / 128 + 1 / 9
    ([231211008, 27496448], True)
    >>> both.ratio_formula(both.sides[1], "macs")
    kernel**(-2) + 1/c_out
    >>> compare("linear").table["macs"].tolist()
    [in_features*out_features]
    """
    asked = list(_asked(formulas))
    if not asked:
        raise InputError("nothing to compare: give names of formulas, such as 'conv', 'depthwise_separable'")
    labels = [label for label, _, _ in asked]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise InputError(f"{twice!r} is given twice: give each a label, as in {{'a': ({twice!r}, {{...}}), ...}}")
    takers = {name for _, name, _ in asked}
    for argument in arguments:
        if not any(argument in _parameters(name) for name in takers):
            raise InputError(_nobody_takes(argument, takers))
    unknown: dict[str, Any] = {}
    for _, name, own in asked:
        unknown |= _symbols_for_what_lacks(name, {**unknown, **arguments, **own})
    asked_for, arguments = tuple(arguments), {**unknown, **arguments}
    needed = {name for name in ("groups",) if any(_needs(formula, name) for formula in takers)}
    sides = []
    for label, name, own in asked:
        taken = {k: v for k, v in arguments.items() if k in _parameters(name)}
        withheld = tuple(k for k in taken if k in needed and k not in own and not _needs(name, k))
        given = {**{k: v for k, v in taken.items() if k not in withheld}, **own}
        given = {k: _plain(k, _counted(name, k, given[k], given), name) for k in _parameters(name) if k in given}
        left_out = tuple(k for k in asked_for if k not in taken)
        lacking = [k for k in given if k in unknown and k not in own]
        sides.append(Side(label, name, given, _cost(label, name, given, lacking), left_out, withheld))
    return FormulaComparison(tuple(sides))


def named(name: str) -> Callable[..., Any]:
    """The formula of this name; the error for another names the nearest, or the groups that there are."""
    if name in CATALOG:
        return CATALOG[name]
    plain = {known.replace("_", ""): known for known in CATALOG}
    asked = "".join(c for c in name.lower() if c.isalnum())
    near = [plain[n] for n in get_close_matches(asked, plain)]
    near += [known for p, known in plain.items() if len(asked) > 3 and (asked in p or p in asked) and known not in near]
    if near:
        raise InputError(f"no formula is called {name!r}; did you mean {' or '.join(near[:3])}?")
    raise InputError(
        f"no formula is called {name!r}; `costmodel explain GROUP` lists those of a group: {', '.join(GROUPS)}"
    )


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the arguments of a formula written as a call.

    >>> parse("conv(c_in=64, kernel=3, size=56x56, bias=false)")
    ('conv', {'c_in': 64, 'kernel': 3, 'size': (56, 56), 'bias': False})
    """
    head, bracket, rest = text.strip().partition("(")
    if not bracket:
        return head, {}
    if not rest.endswith(")"):
        raise InputError(f"{text!r} has no closing parenthesis; write conv(c_in=64, c_out=128)")
    return head.strip(), parse_arguments(rest[:-1])


def parse_arguments(text: str) -> dict[str, Any]:
    """Arguments written by name: Python literals, words as they are, in tuples as well, and sizes with an x.

    >>> parse_arguments("c_in=64, size=56x28, activation=none, function=gelu, kernel=(1, k)")
    {'c_in': 64, 'size': (56, 28), 'activation': None, 'function': 'gelu', 'kernel': (1, 'k')}
    """
    import ast

    words: dict[str, Any] = {"true": True, "false": False, "none": None}

    def value(node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return words.get(node.id.lower(), node.id)
        if isinstance(node, ast.Tuple | ast.List):
            return tuple(map(value, node.elts))
        return ast.literal_eval(node)

    spelled = re.sub(r"\b\d+(?:[x×](?:\d+|[a-zA-Z]))+\b", lambda m: f"({', '.join(re.split('[x×]', m[0]))})", text)
    try:
        call = ast.parse(f"_({spelled})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError("not a list of named arguments")
        return {k.arg: value(k.value) for k in call.keywords if k.arg is not None}
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InputError(
            f"the arguments {text!r} cannot be read; write NAME=VALUE, where a value is a number, a size or a word, "
            "which is a symbol: c_in=64,c_out=n,kernel=3,size=56x56 or size=(h,w)"
        ) from error


def _symbols_for_what_lacks(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A symbol for each argument that a formula needs and is not given."""
    sizes = {"size": (0, 0)}
    return {k: symbols_for(k, sizes.get(k)) for k in _parameters(name) if _needs(name, k) and k not in given}


def _asked(formulas: tuple[str | Mapping[str, Any], ...]) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    """Label, name and own arguments of each formula."""
    for given in formulas:
        for label, what in given.items() if isinstance(given, Mapping) else ((given, given),):
            name, own = what if isinstance(what, tuple | list) and len(what) == 2 else (what, {})
            if not isinstance(label, str) or not isinstance(name, str) or not isinstance(own, Mapping):
                raise InputError(
                    f"{what!r} is no formula: give a name such as 'conv', or a dict of labels as in "
                    "{'standard': ('conv', {'c_in': 64, ...})}"
                )
            name, written = parse(name)
            named(name)
            own = {**written, **own}
            for argument in own:
                if not isinstance(argument, str):
                    raise InputError(f"{label}: arguments have names, and {argument!r} is none; write {{'c_in': 64}}")
                if argument not in _parameters(name):
                    raise InputError(_nobody_takes(argument, {name}))
            yield label, name, own


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(CATALOG[name]).parameters


def _needs(name: str, argument: str) -> bool:
    parameter = _parameters(name).get(argument)
    return parameter is not None and parameter.default is parameter.empty


def _nobody_takes(argument: str, names: Iterable[str]) -> str:
    names = sorted(names)
    known = list(dict.fromkeys(parameter for name in names for parameter in _parameters(name)))
    near = get_close_matches(argument, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    takes = f"{names[0]} does not take" if len(names) == 1 else f"none of {', '.join(names)} takes"
    return f"{takes} {argument}; {hint}"


def _plain(argument: str, value: Any, name: str) -> Any:
    """An argument as the formulas take it: NumPy's ints as Python's, lists as tuples, a size of one int as a square."""
    if isinstance(value, tuple | list):
        return tuple(_plain(f"{argument}'s part", part, name) for part in value)
    if not isinstance(value, bool | str) and hasattr(value, "__index__") and not getattr(value, "free_symbols", None):
        try:
            value = index(value)
        except TypeError as error:
            raise InputError(
                f"{name}: {argument}={value!r} is not one number; a comparison is of single layers"
            ) from error
    if isinstance(value, complex) or (isinstance(value, float) and not isfinite(value)):
        raise InputError(f"{name}: {argument}={value!r} must be a whole number")
    if argument == "size" and not isinstance(value, str | float | type(None)):
        return (value, value)
    return value


def _counted(name: str, argument: str, value: Any, given: Mapping[str, Any]) -> Any:
    """The symbol that a word stands for where a count is asked for; another argument's name, for what that one is.

    A size of letters, ``hxw``, is one of symbols.
    """
    wanted = str(_parameters(name)[argument].annotation)
    is_word = isinstance(value, str) and value.isidentifier()
    if "Count" not in wanted or (is_word and "str" in wanted):
        return value
    if is_word and re.fullmatch(r"[a-zA-Z](?:x(?:[a-zA-Z]|\d+))+", value):
        value = tuple(int(part) if part.isdigit() else part for part in value.split("x"))
    if isinstance(value, tuple | list):
        return tuple(_counted_part(part, given) for part in value)
    return _counted_part(value, given) if is_word else value


def _counted_part(value: Any, given: Mapping[str, Any]) -> Any:
    if not isinstance(value, str) or not value.isidentifier():
        return value
    other = given.get(value)
    return symbol(value) if other is None or isinstance(other, str | tuple | list) else other


def _cost(label: str, name: str, given: Mapping[str, Any], lacking: Sequence[str]) -> LayerCost | BlockCost:
    """The cost of a formula called with these arguments; symbols stand for those that are lacking."""
    try:
        cost = CATALOG[name](**given)
    except (ValueError, TypeError, ArithmeticError, AttributeError, IndexError) as error:
        raise InputError(_fault(label, {k: given[k] for k in lacking}, error)) from error
    if not isinstance(cost, LayerCost | BlockCost):
        raise InputError(f"{name} gives {type(cost).__name__}, and no cost to compare")
    return cost


def _fault(label: str, symbols: Mapping[str, Any], error: Exception) -> str:
    """What was wrong with the arguments given, or else which of the ``symbols`` cannot stand for an argument."""
    cause = error.__cause__ or error
    names = [name for name, value in symbols.items() if f"={value}" in str(cause)]
    said = str(cause).partition(": ")[2] if cause is error else str(cause)
    if isinstance(cause, ValueError) and not names:
        return f"{label}: {said}"
    names = names or list(symbols)
    which = "it" if len(names) == 1 else "all of them"
    why = f": {said}" if isinstance(cause, ValueError) else ""
    return f"{label} needs {' and '.join(names)}, and no symbol can stand for {which}{why}"


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
