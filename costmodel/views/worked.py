"""A closed form explained: its own words, its expressions in symbols by sympy, and its example worked out."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from costmodel.files import write_text
from costmodel.formulas import CATALOG
from costmodel.symbolic import figures, in_symbols, is_count, not_zero, output_names, symbols_for, typeset, values_of


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


def explained(name: str, arguments: Mapping[str, Any] | None = None) -> Explained:
    """What a formula of the catalog says of itself, and what comes out where symbols and numbers are put in.

    The numbers are ``arguments``, or else those of the docstring's example.

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
    # sympy takes 300 ms to import: what it derives of the docstrings' examples is kept in a file.
    stored = _stored().get(name) if arguments is None else None
    symbols, worked = derived(name, arguments) if stored is None else stored
    return Explained(lines[0], tuple(text), source or "the definition", symbols, worked)


Derived: TypeAlias = tuple[tuple[tuple[str, str], ...], tuple[str, ...]]
"""The quantities of a formula with their expressions; and lines that put numbers into those."""


def derived(name: str, arguments: Mapping[str, Any] | None = None) -> Derived:
    """What sympy makes of a formula, with these arguments or those of the docstring's example.

    >>> derived("linear")[0][0]
    ('params', 'in_features·out_features + out_features')
    """
    function = CATALOG[name]
    call = example(name) if arguments is None else arguments
    symbols = _in_symbols(function, call or {})
    worked = tuple(_worked(function, name, call, symbols)) if call is not None else ()
    return tuple((q, typeset(e)) for q, e in symbols.items()), worked


STORED = Path(__file__).with_name("worked.json")
"""``derived`` of every formula, as ``python -m costmodel.views.worked`` writes it."""


@cache
def _stored() -> dict[str, Derived]:
    found = json.loads(STORED.read_text("utf-8"))
    return {name: (tuple(map(tuple, symbols)), tuple(worked)) for name, (symbols, worked) in found.items()}


def everything_derived() -> str:
    """The text of that file: a line for each formula."""
    lines = [f"{json.dumps(name)}: {json.dumps(derived(name), ensure_ascii=False)}" for name in CATALOG]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def example(name: str) -> dict[str, Any] | None:
    """The arguments of the example in a formula's docstring, where it is one call with literals.

    >>> example("linear")
    {'in_features': 2048, 'out_features': 1000}
    """
    lines = (inspect.getdoc(CATALOG[name]) or "").split("\n")
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
    for symbolic in (is_count, lambda name, value: is_count(name, value) and name in example):
        if found := in_symbols(function, _arguments(function, example, symbolic)):
            return not_zero(found)
    return {}


def _arguments(
    function: Callable[..., Any], example: Mapping[str, Any], symbolic: Callable[[str, Any], bool]
) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        value = example.get(name, parameter.default)
        if value is parameter.empty:
            continue
        if symbolic(name, value):
            arguments[name] = symbols_for(name, value)
        elif name in example:
            arguments[name] = value
    return arguments


def _worked(function: Callable[..., Any], name: str, call: Mapping[str, Any], symbols: Mapping[str, Any]) -> list[str]:
    numbers = not_zero(figures(function(**call)))
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
    values: dict[str, Any] = dict(zip(output_names(output_size), output_size, strict=False))
    for name, value in {**defaults, **call}.items():
        values |= values_of(name, value)
    return typeset(re.sub(r"[A-Za-z_]\w*", lambda m: str(values.get(m[0], m[0])), str(expression)))


if __name__ == "__main__":
    write_text(STORED, everything_derived())
