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
    most_general,
    not_zero,
    output_names,
    symbols_for,
    typeset,
    values_of,
)

Lines: TypeAlias = tuple[tuple[str, str], ...]
"""Quantities with their expressions."""


@dataclass(frozen=True)
class Explained:
    """What there is to say of one formula."""

    summary: str
    text: tuple[str, ...]
    """The docstring's own formula and symbols."""
    source: str
    assumed: str
    """The flags and words that the expressions are for, as in ``bias=True``."""
    symbols: Lines
    """A quantity and its expression; none where the formula does not take symbols."""
    where: str
    """What the numbers have that makes the formula another one, as in ``c_out=c_in, stride=1``; or nothing."""
    narrowed: Lines
    """The quantities there."""
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
    found = derived(name, arguments) if stored is None else stored
    chosen = choices(function, _shown_for(arguments, example(name)))
    assumed = ", ".join(f"{k}={v!r}" for k, v in chosen.items())
    return Explained(lines[0], tuple(text), source or "the definition", assumed, *found)


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


Derived: TypeAlias = tuple[Lines, str, Lines, tuple[str, ...]]
"""A formula in symbols; what tells the numbers' case from it, and that case; lines that put the numbers into those."""


def derived(name: str, arguments: Mapping[str, Any] | None = None) -> Derived:
    """What sympy makes of a formula, with these arguments or those of the docstring's example.

    >>> derived("linear")[0][0]
    ('params', 'in_features·out_features + out_features')
    """
    function = CATALOG[name]
    call = example(name) if arguments is None else arguments
    general = _general(function, _shown_for(arguments, call))
    where, narrowed = _narrowed(function, call) if call is not None else ("", {})
    worked = tuple(_worked(name, call, narrowed)) if call is not None else ()
    return _lines(general, name), where, _lines(narrowed, name) if where else (), worked


def _lines(quantities: Mapping[str, Any], name: str) -> Lines:
    return tuple((quantity, _readable(typeset(e), name)) for quantity, e in quantities.items())


def _shown_for(arguments: Mapping[str, Any] | None, call: Mapping[str, Any] | None) -> dict[str, Any]:
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
    return {
        name: (tuple(map(tuple, symbols)), where, tuple(map(tuple, narrowed)), tuple(worked))
        for name, (symbols, where, narrowed, worked) in found.items()
    }


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


def _every(function: Callable[..., Any], call: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """All arguments, defaults included, in the order of the signature; which of them are counts."""
    given = {**defaults_of(function), **call}
    every = {name: given[name] for name in inspect.signature(function).parameters if name in given}
    return every, [name for name, value in every.items() if is_count(name, value) or is_symbolic(value)]


def _general(function: Callable[..., Any], call: Mapping[str, Any]) -> dict[str, Any]:
    """The quantities with a symbol for every count; none where the formula does not take a symbol for one of them."""
    every, counts = _every(function, call)
    return not_zero(in_symbols(function, {**call, **{name: symbols_for(name, every[name]) for name in counts}}))


def _narrowed(function: Callable[..., Any], call: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What these numbers have that makes the formula another one, as in ``c_out=c_in, stride=1``; its quantities."""
    every, counts = _every(function, call)
    stand, found = most_general(function, every, counts)
    kept = [name for name in counts if stand.get(name) != symbols_for(name, every[name])]
    where = ", ".join(f"{name}={stand.get(name, every[name])!r}" for name in kept)
    return where if found else "", not_zero(found)


def _worked(name: str, call: Mapping[str, Any], expressions: Mapping[str, Any]) -> Iterator[str]:
    """The call, and each quantity with the numbers in the symbols' places of its expression."""
    function = CATALOG[name]
    numbers = not_zero(figures(function(**call)))
    values: dict[str, Any] = {}
    for argument, value in {**defaults_of(function), **call}.items():
        values |= values_of(argument, value)
    size = numbers.get("output_size", ())
    values |= zip(output_names(size), size, strict=False)
    yield f"{name}({', '.join(f'{k}={v!r}' for k, v in call.items())})"
    for quantity, value in numbers.items():
        expression = expressions.get(quantity)
        # The numbers are put in the symbols' places, and not yet multiplied out.
        steps = typeset(expression, values) if getattr(expression, "free_symbols", ()) else ""
        shown = f"{int(value):,}" if isinstance(value, int) or getattr(value, "is_Integer", False) else typeset(value)
        readable = steps and steps not in (shown, str(value)) and len(steps) <= _LONGEST
        yield f"{quantity} = {f'{steps} = ' if readable else ''}{shown}"


if __name__ == "__main__":
    write_text(STORED, everything_derived())
