"""What every formula does with its arguments: spread them over axes, check the concrete ones, clamp without a branch.

Concrete means a Python ``int``. Arrays and symbols pass unchecked: a check would have to branch on a count.
"""

from __future__ import annotations

from costmodel.quantities import Count


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
