"""Arguments that make no sense: whatever a public function raises for them is an ``InputError`` that says which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import signature
from reprlib import Repr
from typing import Any, TypeVar, cast

from costmodel.errors import CostModelError, InputError, SignatureError

Function = TypeVar("Function", bound=Callable[..., Any])


class _Short(Repr):
    def repr_int(self, x: int, level: int) -> str:
        """Python writes no int of more than some 4,300 digits."""
        try:
            return super().repr_int(x, level)
        except ValueError:
            return f"an int of about {x.bit_length() * 0.30103:.0f} digits"


_short = _Short()
_short.maxstring = _short.maxother = _short.maxlong = 40


def short(value: Any) -> str:
    """A value as an error shows it: in one line, and not too long."""
    return " ".join(_short.repr(value).split())


def explained(
    function: Function, *, module: str = "", check: Callable[[Mapping[str, Any]], None] | None = None
) -> Function:
    """A pure function whose arguments alone can be wrong: what it raises is an ``InputError`` that shows them.

    Args:
        function: the function.
        module: where it is found under its own name, where that is not its own module: pickle looks there.
        check: called with the arguments first, by keyword; it raises for those that it does not like.
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            if check is not None:
                check(kwargs)
            return function(*args, **kwargs)
        except (CostModelError, AssertionError):  # an assertion that fails is a fault, and no argument's
            raise
        except Exception as error:
            if isinstance(error, TypeError) and not _fits(function, args, kwargs):
                raise SignatureError(f"{error}; it is called as {function.__name__}{signature(function)}") from error
            raise InputError(f"{function.__name__}({_listed(args, kwargs)}): {reason(error)}") from error

    if module:
        call.__module__ = module
    return cast("Function", call)


def reason(error: BaseException) -> str:
    """What an error says, in a line: the class of the error first, where it is not one of ours."""
    line = str(error).strip().partition("\n")[0]
    return line if type(error) is ValueError and line else f"{type(error).__name__}: {line}".removesuffix(": ")


def _fits(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    try:
        signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _listed(args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
    return ", ".join([*map(short, args), *(f"{name}={short(value)}" for name, value in kwargs.items())])
