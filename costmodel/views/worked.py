"""A closed form explained: its own words, its expressions in symbols by sympy, and its example worked out."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from costmodel.files import write_text
from costmodel.formulas import CATALOG
from costmodel.symbolic import (
    choices,
    defaults_of,
    figures,
    in_symbols,
    is_count,
    is_symbolic,
    not_zero,
    output_names,
    symbols_for,
    typeset,
    values_of,
)


@dataclass(frozen=True)
class Explained:
    """What there is to say of one formula."""

    summary: str
    text: tuple[str, ...]
    """The docstring's own formula and symbols."""
    source: str
    symbols: tuple[tuple[str, str], ...]
    """A quantity and its expression; none where the formula does not take symbols."""
    assumed: str
    """The flags and words that those expressions are for, as in ``bias=True``."""
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
    paragraphs = re.split(r"\n\n+", "\n".join(prose[:start]).strip())
    text = "\n\n".join(map(_joined, paragraphs)).split("\n")
    # sympy takes 300 ms to import: what it derives of the docstrings' examples is kept in a file.
    stored = _stored().get(name) if arguments is None else None
    symbols, worked = derived(name, arguments) if stored is None else stored
    chosen = choices(function, _general(arguments, example(name)))
    assumed = ", ".join(f"{k}={v!r}" for k, v in chosen.items())
    return Explained(lines[0], tuple(text), source or "the definition", symbols, assumed, worked)


_WRAPPED = 90
"""Characters from which on a docstring's line may be one that was broken: they hold 116."""


def _joined(paragraph: str) -> str:
    r"""A paragraph as lines to be broken anew: sentences in one; equations and lists each in one of its own.

    >>> _joined("A convolution\nof groups."), _joined("a = 1\nb = 2")
    ('A convolution of groups.', 'a = 1\nb = 2')
    """
    if " = " not in paragraph and not re.search(r"^[ -]", paragraph, re.MULTILINE):
        return paragraph.replace("\n", " ")
    made: list[str] = []
    for line in paragraph.split("\n"):
        goes_on = made and len(made[-1]) >= _WRAPPED and not re.match(r"[\w, ]+( =|:)|[ -]", line)
        if goes_on:
            made[-1] += f" {line}"
        else:
            made.append(line)
    return "\n".join(made)


Derived: TypeAlias = tuple[tuple[tuple[str, str], ...], tuple[str, ...]]
"""The quantities of a formula with their expressions; and lines that put numbers into those."""


def derived(name: str, arguments: Mapping[str, Any] | None = None) -> Derived:
    """What sympy makes of a formula, with these arguments or those of the docstring's example.

    >>> derived("linear")[0][0]
    ('params', 'in_features·out_features + out_features')
    """
    function = CATALOG[name]
    call = example(name) if arguments is None else arguments
    symbols = _in_symbols(function, _general(arguments, call))
    worked = tuple(_worked(function, name, call)) if call is not None else ()
    return tuple((q, _readable(typeset(e), name)) for q, e in symbols.items()), worked


def _general(arguments: Mapping[str, Any] | None, call: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a formula is shown for: the arguments given, or its example's with a bias where that is the default."""
    return dict(arguments) if arguments is not None else {k: v for k, v in (call or {}).items() if k != "bias"}


_LONGEST = 300
"""Characters of an expression that is shown: four lines of a terminal of 80 columns."""


def _readable(expression: str, name: str) -> str:
    """The expression, or where it can be had if it is too long to be read."""
    if len(expression) <= _LONGEST:
        return expression
    return f"an expression of {len(expression):,} characters, which formulas.{name} gives for sympy symbols"


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
    return next(filter(None, _ways_in_symbols(function, example)), {})


def _ways_in_symbols(function: Callable[..., Any], example: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The quantities with symbols for all counts; for those given; for those not as by default, one for equal ones.

    The last is for formulas that ask whether a stride is 1, or the channels are equal.
    """
    defaults = defaults_of(function)
    given = {name: value for name, value in {**defaults, **example}.items() if name in example or is_count(name, value)}
    variable = [name for name, value in given.items() if is_count(name, value) or is_symbolic(value)]
    special = [name for name in variable if name not in defaults or given[name] != defaults[name]]
    first = {given[name]: name for name in reversed(special)}
    for symbolic in (
        {name: name for name in variable},
        {name: name for name in variable if name in example},
        {name: first[given[name]] for name in special},
    ):
        stand = {name: symbols_for(symbolic[name], value) for name, value in given.items() if name in symbolic}
        yield not_zero(in_symbols(function, {**example, **stand}))


def _worked(function: Callable[..., Any], name: str, call: Mapping[str, Any]) -> list[str]:
    numbers = not_zero(figures(function(**call)))
    values: dict[str, Any] = {}
    for argument, value in {**defaults_of(function), **call}.items():
        values |= values_of(argument, value)
    size = numbers.get("output_size", ())
    values |= zip(output_names(size), size, strict=False)
    ways = list(_ways_in_symbols(function, call))
    lines = [f"{name}({', '.join(f'{k}={v!r}' for k, v in call.items())})"]
    for quantity, value in numbers.items():
        expression = next((way[quantity] for way in ways if _comes_to(way.get(quantity), values, value)), None)
        # The numbers are put in the symbols' places, and not yet multiplied out.
        steps = "" if expression is None else typeset(expression, values)
        shown = f"{int(value):,}" if isinstance(value, int) or getattr(value, "is_Integer", False) else typeset(value)
        readable = steps and steps not in (shown, str(value)) and len(steps) <= _LONGEST
        lines.append(f"{quantity} = {f'{steps} = ' if readable else ''}{shown}")
    return lines


_POINT = (10**9 + 7) ** 2
"""Where two expressions are compared: far from the roots of any difference of two counts."""


def _comes_to(expression: Any, values: Mapping[str, Any], value: Any) -> bool:
    """Whether an expression with ``values`` in the symbols' places is ``value``."""
    if not getattr(expression, "free_symbols", ()):
        return False
    import sympy

    placed = expression.xreplace({s: sympy.sympify(values.get(s.name, s)) for s in expression.free_symbols})
    rest = placed - value
    return bool(rest.subs({s: _POINT + i * i for i, s in enumerate(sorted(rest.free_symbols, key=str))}) == 0)


if __name__ == "__main__":
    write_text(STORED, everything_derived())
