"""A total in one size, as polynomials with the ranges in which they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from costmodel.errors import InputError

if TYPE_CHECKING:
    from costmodel.polynomial.result import Scaling

Piece = tuple[int, int, Any]
"""The least and the greatest value of the size, and a polynomial in it."""


def pieces(s: Scaling, quantity: str, sizes: Mapping[str, int]) -> list[Piece]:
    """The polynomials of a total in the size that is left out, each with the values at which it is the total."""
    free = [name for name in s.names if name not in sizes]
    if len(free) != 1 or not sizes.keys() <= set(s.names):
        raise InputError(f"give values for all of {', '.join(s.names)} but one, not for {', '.join(sizes) or 'none'}")
    s.require(quantity)
    (name,) = free
    found: list[Piece] = []
    for part in _parts(s, name, sizes):
        found.extend(_of_region(s, quantity, {**sizes, name: part[0]}, name, part))
    return _merged(found)


def _parts(s: Scaling, name: str, sizes: Mapping[str, int]) -> Iterator[Sequence[int]]:
    """The values of a size, those for which other polynomials hold apart."""
    values = s.values(name, sizes)
    fixed = {axis.least for region in s.regions for axis in region.axes if axis.name == name and axis.is_fixed}
    at = sorted(values.index(size) for size in fixed if size in values)
    cuts = sorted({0, *at, *(i + 1 for i in at), len(values)})
    return (values[start:stop] for start, stop in pairwise(cuts))


def _of_region(s: Scaling, quantity: str, at: Mapping[str, int], name: str, values: Any) -> Iterator[Piece]:
    import sympy

    region = s.region(at)
    symbol = s.symbols[name]
    fixed = {s.symbols[key]: size for key, size in at.items() if key != name}
    whole = region.total(quantity, s.symbols)
    parts = whole.args if whole.func == sympy.Max else (whole,)
    polynomials = [sympy.expand(sympy.sympify(part).subs(fixed)) for part in parts]
    cuts = {0, len(values)}
    for i, p in enumerate(polynomials):
        for q in polynomials[:i]:
            cuts.update(_crossings(p - q, symbol, values))
    bounds = sorted(cuts)
    for start, stop in pairwise(bounds):
        here = {symbol: values[start]}
        yield values[start], values[stop - 1], max(polynomials, key=lambda p: p.subs(here))


def _crossings(difference: Any, symbol: Any, values: Any) -> Iterator[int]:
    """Indices of values at which a polynomial may have another sign than at the one before."""
    import sympy

    if not difference.has(symbol):
        return
    for root in sympy.real_roots(sympy.Poly(difference, symbol)):
        # The first value that is no less than the root, and the next: at a root two polynomials are the same.
        step = len(values) and (values[1] - values[0] if len(values) > 1 else 1)
        at = int(sympy.ceiling((root - values[0]) / step))
        for index in (at, at + 1):
            if 0 < index < len(values):
                yield index


def _merged(found: list[Piece]) -> list[Piece]:
    """Neighbours with the same polynomial as one."""
    merged: list[Piece] = []
    for least, greatest, polynomial in found:
        if merged and merged[-1][2] == polynomial:
            least = merged.pop()[0]
        merged.append((least, greatest, polynomial))
    return merged
