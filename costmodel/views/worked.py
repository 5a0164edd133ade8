"""A closed form explained: its own words, its expressions in symbols by sympy, and its example worked out."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from costmodel.formulas import CATALOG
from costmodel.measures import shown_in

_LETTERS = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}
"""What the axes of a size are called, by their number."""

QUANTITIES = ("output_size", *(measure.name for measure in shown_in("layers")))
"""What is shown of a cost, in this order."""


@dataclass(frozen=True)
class Explained:
    """What there is to say of one formula."""

    summary: str
    text: tuple[str, ...]
    """The docstring's own formula and symbols."""
    source: str
    symbols: tuple[tuple[str, str], ...]
    """A quantity and its expression; none where the formula does not take symbols."""
    worked: tuple[str, ...]
    """The example, number by number."""


def explained(name: str) -> Explained:
    """What a formula of the catalog says of itself, and what comes out where symbols and numbers are put in.

    >>> explained("linear").symbols[0]
    ('params', 'in_features·out_features + out_features')
    """
    function = CATALOG[name]
    lines = (inspect.getdoc(function) or "").split("\n")
    lines = [re.sub("``(.*?)``", r"\1", line) for line in lines]
    end = next((i for i, line in enumerate(lines) if line.startswith(">>>")), len(lines))
    prose = lines[1:end]
    start = next((i for i, line in enumerate(prose) if line.startswith("Source:")), len(prose))
    source = " ".join(line.strip() for line in prose[start:]).removeprefix("Source:").strip()
    text = "\n".join(prose[:start]).strip().split("\n")
    call = _example(lines)
    symbols = _in_symbols(function, call or {})
    return Explained(
        lines[0], tuple(text), source or "the definition", tuple((q, _typeset(str(e))) for q, e in symbols.items()),
        tuple(_worked(function, name, call, symbols)) if call is not None else (),
    )  # fmt: skip


def _example(lines: list[str]) -> dict[str, Any] | None:
    """The arguments of the docstring's example, where it is one call with literals."""
    source = "\n".join(re.sub(r"^(>>>|\.\.\.) ?", "", line) for line in lines if line.startswith((">>>", "...")))
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CATALOG:
            try:
                return {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg is not None}
            except ValueError:
                return None
    return None


def _in_symbols(function: Callable[..., Any], example: Mapping[str, Any]) -> dict[str, Any]:
    """The formula's quantities in symbols. What chooses between formulas (a name, a flag) is as in the example."""
    for symbolic in (_is_count, lambda name, value: _is_count(name, value) and name in example):
        arguments = _arguments(function, example, symbolic)
        try:
            result = function(**arguments)
        except (TypeError, ValueError, AttributeError):
            continue
        return _with_named_output(_quantities(result))
    return {}


def _arguments(
    function: Callable[..., Any], example: Mapping[str, Any], symbolic: Callable[[str, Any], bool]
) -> dict[str, Any]:
    import sympy

    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        value = example.get(name, parameter.default)
        if value is parameter.empty:
            continue
        if not symbolic(name, value):
            if name in example:
                arguments[name] = value
        elif isinstance(value, tuple):
            stems = _LETTERS.get(len(value), ()) if name == "size" else tuple(f"{name}_{i}" for i in range(len(value)))
            arguments[name] = tuple(sympy.Symbol(stem, integer=True, positive=True) for stem in stems)
        else:
            arguments[name] = sympy.Symbol(name, integer=True, positive=name != "padding", nonnegative=True)
    return arguments


def _is_count(name: str, value: Any) -> bool:
    # A bound on a tensor's axis is a place, not a count.
    if name == "dim" or isinstance(value, bool):
        return False
    if isinstance(value, tuple):
        return bool(value) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    return isinstance(value, int)


def _quantities(result: Any) -> dict[str, Any]:
    """A cost's quantities that are not nothing; another result under its own type's name."""
    found = {q: getattr(result, q) for q in QUANTITIES if hasattr(result, q)}
    if not found:
        return {"result": result}
    return {q: v for q, v in found.items() if v != () and v != 0}


def _with_named_output(quantities: dict[str, Any]) -> dict[str, Any]:
    """Long expressions of the output's size go by a name of their own wherever they appear."""
    import sympy

    size = quantities.get("output_size", ())
    named = {
        expression: sympy.Symbol(f"{letter}_out", integer=True, positive=True)
        for expression, letter in zip(size, _LETTERS.get(len(size), ()), strict=False)
        if getattr(expression, "args", ())
    }
    return {
        quantity: value if quantity == "output_size" or not hasattr(value, "subs") else value.subs(named)
        for quantity, value in quantities.items()
    }


def _typeset(expression: str) -> str:
    """As people write it.

    >>> _typeset("2*c_in*kernel**2")
    '2·c_in·kernel²'
    """
    return expression.replace("**2", "²").replace("**3", "³").replace("*", "·")


def _worked(function: Callable[..., Any], name: str, call: Mapping[str, Any], symbols: Mapping[str, Any]) -> list[str]:
    numbers = _quantities(function(**call))
    lines = [f"{name}({', '.join(f'{k}={v!r}' for k, v in call.items())})"]
    for quantity, value in numbers.items():
        expression = symbols.get(quantity)
        steps = _substituted(function, call, expression, numbers.get("output_size", ()))
        shown = f"{value:,}" if isinstance(value, int) else str(value)
        lines.append(f"{quantity} = {f'{steps} = ' if steps and steps != str(value) else ''}{shown}")
    return lines


def _substituted(
    function: Callable[..., Any], call: Mapping[str, Any], expression: Any, output_size: tuple[Any, ...]
) -> str:
    """The expression with the example's numbers in the symbols' places, not yet multiplied out."""
    free = getattr(expression, "free_symbols", None)
    if not free:
        return ""
    defaults = {n: p.default for n, p in inspect.signature(function).parameters.items() if p.default is not p.empty}
    letters = _LETTERS.get(len(output_size), ())
    values: dict[str, Any] = {f"{n}_out": value for n, value in zip(letters, output_size, strict=False)}
    for name, value in {**defaults, **call}.items():
        if isinstance(value, tuple):
            stems = (_LETTERS.get(len(value)) if name == "size" else None) or tuple(
                f"{name}_{i}" for i in range(len(value))
            )
            values.update(zip(stems, value, strict=True))
        else:
            values[name] = value
    return _typeset(re.sub(r"[A-Za-z_]\w*", lambda m: str(values.get(m[0], m[0])), str(expression)))
