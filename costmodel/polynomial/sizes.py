"""Names in the place of sizes: ``("B", 3, "H", "H")``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from costmodel.arguments import short
from costmodel.errors import InputError
from costmodel.inputs import Call, Input, has_names


def names_in(inputs: Any) -> tuple[str, ...]:
    """The names of sizes, in the order in which they appear.

    >>> names_in({"ids": Input(("B", "S"), "int64"), "mask": ("B", 1, "S")})
    ('B', 'S')

    Raises ``InputError`` where there is none.
    """
    found = tuple(dict.fromkeys(name for shape, _ in _shapes(inputs) for name in shape if isinstance(name, str)))
    if not found:
        raise InputError(
            f"no size has a name in {short(inputs)}: write one where a size shall vary, ('B', 3, 224, 224)"
        )
    return found


_CALLED = {
    "batch": ("B", "N", "batch", "batch_size"),
    "length": ("S", "L", "T", "length", "seq", "sequence", "tokens", "time"),
    "resolution": ("H", "W", "D", "R", "height", "width", "depth", "resolution", "size"),
}
"""What sizes are called."""


def guesses_of(inputs: Any) -> dict[str, str]:
    """What each name is taken for, where a size has to be guessed: ``batch``, ``length`` or ``resolution``.

    By the name, or else by its place: what comes first in a shape is a batch.

    >>> guesses_of(("B", 3, "H", "x")), guesses_of(Input(("n", "m"), "int64"))
    ({'B': 'batch', 'H': 'resolution', 'x': 'resolution'}, {'n': 'batch', 'm': 'length'})
    """
    named = {name: guess for guess, names in _CALLED.items() for name in names}
    found: dict[str, str] = {}
    for shape, is_integer in _shapes(inputs):
        for axis, name in enumerate(shape):
            if isinstance(name, str):
                by_place = "batch" if axis == 0 else "length" if is_integer or len(shape) == 3 else "resolution"
                found.setdefault(name, named.get(name, by_place))
    return found


def with_sizes(inputs: Any, sizes: Mapping[str, int]) -> Any:
    """The inputs with a number in the place of each name.

    >>> with_sizes(("B", 3, "H", "H"), {"B": 2, "H": 8})
    (2, 3, 8, 8)
    """
    if isinstance(inputs, Input):
        return Input(_numbers(inputs.shape, sizes), inputs.dtype)
    if isinstance(inputs, Call):
        return Call(with_sizes(inputs.args, sizes), with_sizes(dict(inputs.kwargs), sizes))
    if has_names(inputs):
        return _numbers(inputs, sizes)
    if isinstance(inputs, Mapping):
        return {key: with_sizes(value, sizes) for key, value in inputs.items()}
    if type(inputs) in (tuple, list):
        return type(inputs)(with_sizes(value, sizes) for value in inputs)
    return inputs


def _numbers(shape: Any, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[n] if isinstance(n, str) else n for n in shape)


def _shapes(inputs: Any) -> Iterator[tuple[Any, bool]]:
    """Each shape, and whether it is known to be one of integers."""
    if isinstance(inputs, Input):
        yield inputs.shape, not inputs.dtype.is_floating_point
    elif isinstance(inputs, Call):
        yield from _shapes(inputs.args)
        yield from _shapes(dict(inputs.kwargs))
    elif has_names(inputs):
        yield inputs, False
    elif isinstance(inputs, Mapping):
        for value in inputs.values():
            yield from _shapes(value)
    elif type(inputs) in (tuple, list):
        for value in inputs:
            yield from _shapes(value)
