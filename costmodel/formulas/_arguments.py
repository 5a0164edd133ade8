"""What every formula does with its arguments: spread them over axes, check the concrete ones, clamp without a branch.

Concrete means a Python ``int``. Arrays and symbols pass unchecked: a check would have to branch on a count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from inspect import signature
from numbers import Real
from typing import Any, TypeVar

from costmodel.arguments import explained, short
from costmodel.errors import InputError
from costmodel.quantities import Count

Formula = TypeVar("Formula", bound=Callable[..., Any])


def public(formula: Formula) -> Formula:
    """A formula as users call it: its arguments are what its annotations say, and errors say what is wrong."""

    @cache
    def kinds() -> dict[str, str]:
        return {name: str(parameter.annotation) for name, parameter in signature(formula).parameters.items()}

    @cache
    def takes(example: Any) -> set[str]:
        return {name for name, kind in kinds().items() if _is(example, kind)}

    def check(arguments: Mapping[str, Any]) -> None:
        for name, value in arguments.items():
            # Ints, as nearly all arguments are, in a third of the time.
            if type(value) in _INTS and name in takes(1):
                continue
            if type(value) is tuple and _INTS.issuperset(map(type, value)) and name in takes((1,)):
                continue
            wanted = kinds().get(name, "Any")
            if not _is(value, wanted):
                raise InputError(f"{formula.__name__}: {name}={short(value)}: must be {_said(wanted)}")

    return explained(formula, check=check)


_INTS = {int, bool}


def _is(value: Any, annotation: str) -> bool:
    """Whether a value is what an annotation asks for; a count may be one for each axis, too."""
    if isinstance(value, str) or value is None:
        return ("str" if isinstance(value, str) else "None") in annotation
    if annotation.startswith("Callable"):
        return callable(value)
    if annotation == "float" and isinstance(value, Real):
        return bool(value == value)  # not the float that is not a number
    if annotation.startswith("str"):
        return False
    if isinstance(value, tuple | list):
        return annotation != "bool" and all(_is(part, annotation) for part in value)
    # An int, or a symbol, or an array of ints: those of Python's own that a sweep over 64 bits needs are objects.
    return isinstance(value, int) or hasattr(value, "free_symbols") or _kind_of_array(value) in "biuO"


def _kind_of_array(value: Any) -> str:
    """NumPy's letter for the kind of an array's elements; a question mark for what is no array of NumPy's."""
    return str(getattr(getattr(value, "dtype", None), "kind", "?"))


def is_count(value: Any) -> bool:
    """Whether a value is one count: an int, an array of ints or a symbol."""
    return not isinstance(value, tuple | list) and _is(value, "Count")


def _said(annotation: str) -> str:
    if annotation == "bool":
        said = "True or False"
    elif annotation.startswith("Callable"):
        said = "a function"
    elif annotation == "float":
        said = "a number"
    elif annotation.startswith("str"):
        said = "a word"
    else:
        said = "a whole number (an int, an array of ints or a symbol), or one for each axis"
        said += ", or a word" if "str" in annotation else ""
    return said + (", or None" if "None" in annotation else "")


def per_axis(value: Count, *, axes: int, name: str) -> tuple[Count, ...]:
    """One value per spatial axis, from one for all or one each.

    >>> per_axis(3, axes=2, name="kernel")
    (3, 3)
    """
    if not isinstance(value, tuple | list):
        return (value,) * axes
    if len(value) != axes:
        raise ValueError(
            f"{name}={tuple(value)} has {len(value)} values for {axes} spatial axes: "
            "give one value, or one per axis of size"
        )
    return tuple(value)


def spatial(size: Count) -> tuple[Count, ...]:
    """The spatial sizes as a tuple; their number is the number of axes, so a bare value is refused."""
    if not isinstance(size, tuple | list) or not size:
        raise ValueError(f"size={size!r} does not say how many axes there are: give a tuple such as (224, 224)")
    require(size=size)
    return tuple(size)


def as_shape(value: Count) -> tuple[Count, ...]:
    """A shape from a tuple, or from one count.

    >>> as_shape(8), as_shape((2, 8)), as_shape(())
    ((8,), (2, 8), ())
    """
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def require(*, least: int = 1, **named: Count) -> None:
    """Every concrete int among the values is at least ``least``, and none is a float or a text."""
    for name, value in named.items():
        for part in as_shape(value):
            if isinstance(part, float | str):
                raise ValueError(f"{name}={value!r}: must be a whole number")
            if isinstance(part, int) and part < least:
                raise ValueError(f"{name}={value}: must be at least {least}")


def require_divisible(*, by: str, divisor: Count, **named: Count) -> None:
    """Every concrete value is a multiple of a concrete ``divisor``, which goes by the name ``by``."""
    for name, value in named.items():
        if isinstance(value, int) and isinstance(divisor, int) and value % divisor:
            raise ValueError(f"{name}={value} is not divisible by {by}={divisor}: choose a {by} that divides {name}")


def exact_quotient(dividend: Count, divisor: Count) -> Count:
    """The quotient where ``require_divisible`` holds: of symbols a fraction, which has no remainder to round away.

    >>> exact_quotient(12, 4)
    3
    >>> import sympy
    >>> exact_quotient(sympy.Symbol("c_in"), sympy.Symbol("groups"))
    c_in/groups
    """
    is_symbolic = hasattr(dividend, "free_symbols") or hasattr(divisor, "free_symbols")
    return dividend / divisor if is_symbolic else dividend // divisor


def require_one_of(*, choices: tuple[str, ...], **named: str) -> None:
    """Every value is one of the words in ``choices``."""
    for name, value in named.items():
        if value not in choices:
            raise ValueError(f"{name}={value!r} is unknown: choose one of {', '.join(choices)}")


def holds_everywhere(condition: Count) -> bool:
    """Whether a comparison holds: in every configuration of a sweep, and for symbols where they are the same.

    >>> holds_everywhere(3 == 3), holds_everywhere(3 == 4)
    (True, False)
    """
    return bool(condition.all() if hasattr(condition, "all") else condition)


def same_in_every_configuration(condition: Count, *, that: str) -> bool:
    """A comparison that decides which layers run, so that all configurations of a sweep must agree in it.

    >>> same_in_every_configuration(3 == 3, that="stride is 1")
    True
    """
    holds = holds_everywhere(condition)
    if not holds and hasattr(condition, "any") and condition.any():
        raise ValueError(f"{that} in some configurations of this sweep and not in others: sweep them separately")
    return holds


def is_one(**named: Count) -> bool:
    """Whether a size is 1, where a transposed tensor lies in memory as it is, and no copy is made.

    >>> is_one(batch=1), is_one(batch=2)
    (True, False)
    """
    ((name, value),) = named.items()
    return same_in_every_configuration(value == 1, that=f"{name} is 1")


def positive_part(value: Count) -> Count:
    """max(value, 0) as arithmetic: (v + |v|) // 2 is exact, for v + |v| is even.

    >>> positive_part(5), positive_part(-5)
    (5, 0)
    """
    return (value + abs(value)) // 2


def lesser(a: Count, b: Count) -> Count:
    """min(a, b) as arithmetic.

    >>> lesser(3, 8), lesser(8, 3)
    (3, 3)
    """
    return a - positive_part(a - b)


def ceil_div(dividend: Count, divisor: Count) -> Count:
    """The quotient rounded up.

    >>> ceil_div(7, 2)
    4
    """
    return -(-dividend // divisor)
