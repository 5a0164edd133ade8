"""``costmodel.formulas.compare``: reads which formulas are asked for, with which arguments, and calls them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from math import isfinite
from operator import index
from typing import Any

from costmodel.errors import InputError
from costmodel.formulas import CATALOG, GROUPS, BlockCost, LayerCost
from costmodel.side_by_side.result import FormulaComparison, Side
from costmodel.symbolic import symbol, symbols_for


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
