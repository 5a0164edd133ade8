"""What is counted: arithmetic by kind, memory traffic, and the convention that calls some of it FLOPs.

Both derivations (``ops`` and ``formulas``) return these types, and share nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from costmodel.records import dataclass

Count: TypeAlias = Any
"""An exact non-negative count: a Python ``int``, a NumPy integer array, or a sympy expression."""


def prod(values: Iterable[Count]) -> Count:
    """The product of ``values``, exact for Python ints, elementwise for arrays, symbolic for symbols.

    ``math.prod`` would do for ints alone; ``numpy.prod`` wraps silently beyond 64 bits.

    >>> prod([10**7, 10**7, 10**7])
    1000000000000000000000
    >>> prod([])
    1
    """
    result: Count = 1
    for value in values:
        result = result * value
    return result


# Work and Traffic are values that nobody changes. ``frozen=True`` would say so, and make each one, of which every op of
# every profile needs some, four times as slow to build.
#
# Their counts are declared ``int``, which is what a trace and a formula of ints give. A formula of arrays or symbols
# puts arrays or expressions there.


@dataclass(unsafe_hash=True, kw_only=True, slots=True)
class Work:
    """Arithmetic on real numbers by kind. A multiply-accumulate is one ``macs`` and neither a multiply nor an add.

    >>> Work(macs=3) + Work(macs=4, adds=1)
    Work(macs=7, adds=1, multiplies=0, divides=0, compares=0, transcendentals=0, macs_on_padding=0)
    """

    macs: int = 0
    """Multiply-accumulates of convolutions and matrix products, taps on padding included. A complex one is four."""
    adds: int = 0
    """Additions and subtractions outside multiply-accumulates: biases, residuals, sums."""
    multiplies: int = 0
    divides: int = 0
    compares: int = 0
    """Comparisons: maxima, minima, thresholds."""
    transcendentals: int = 0
    """exp, log, tanh, erf, sqrt, sin and similar functions, one each."""
    macs_on_padding: int = 0
    """How many of ``macs`` multiply a zero of the padding. Part of ``macs``, not beside it."""

    def __add__(self, other: Work) -> Work:
        return Work(
            macs=self.macs + other.macs,
            adds=self.adds + other.adds,
            multiplies=self.multiplies + other.multiplies,
            divides=self.divides + other.divides,
            compares=self.compares + other.compares,
            transcendentals=self.transcendentals + other.transcendentals,
            macs_on_padding=self.macs_on_padding + other.macs_on_padding,
        )

    def times(self, factor: Count) -> Work:
        """This work done ``factor`` times.

        >>> Work(adds=2).times(3).adds
        6
        """
        if not isinstance(factor, int):
            # A sweep's factor is an array; kinds of work that are not done stay a plain 0, which costs nothing to add.
            counts = ((kind, getattr(self, kind)) for kind in self.__slots__)
            return Work(**{kind: n * factor for kind, n in counts if not (isinstance(n, int) and n == 0)})
        return Work(
            macs=self.macs * factor,
            adds=self.adds * factor,
            multiplies=self.multiplies * factor,
            divides=self.divides * factor,
            compares=self.compares * factor,
            transcendentals=self.transcendentals * factor,
            macs_on_padding=self.macs_on_padding * factor,
        )

    @property
    def flops(self) -> int:
        """FLOPs under the library's own convention: every arithmetic operation is one, a MAC is two."""
        return EVERY_OPERATION.flops(self)


@dataclass(unsafe_hash=True, kw_only=True, slots=True)
class Traffic:
    """Elements and bytes that a kernel of its own reads from and writes to memory.

    >>> (Traffic(read=2, written=1, read_bytes=8, written_bytes=4) + Traffic(read=1, read_bytes=2)).elements
    4
    """

    read: int = 0
    written: int = 0
    read_bytes: int = 0
    written_bytes: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            read=self.read + other.read,
            written=self.written + other.written,
            read_bytes=self.read_bytes + other.read_bytes,
            written_bytes=self.written_bytes + other.written_bytes,
        )

    @property
    def elements(self) -> int:
        """The memory access cost: elements read plus elements written."""
        return self.read + self.written

    @property
    def bytes(self) -> int:
        """Bytes read plus bytes written."""
        return self.read_bytes + self.written_bytes


def total_traffic(traffics: Iterable[Traffic]) -> Traffic:
    """The sum, in a third of the time of ``sum``, which makes a record for each.

    >>> total_traffic([Traffic(read=2, read_bytes=8), Traffic(read=1, read_bytes=2)]).read
    3
    """
    read = written = read_bytes = written_bytes = 0
    for traffic in traffics:
        read += traffic.read
        written += traffic.written
        read_bytes += traffic.read_bytes
        written_bytes += traffic.written_bytes
    return Traffic(read=read, written=written, read_bytes=read_bytes, written_bytes=written_bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """How many FLOPs one operation of each kind is. Rules and formulas count kinds; only this weighs them."""

    name: str
    weights: Mapping[str, int]

    def flops(self, work: Work) -> int:
        """The FLOPs of ``work`` under this convention.

        >>> EVERY_OPERATION.flops(Work(macs=10, adds=1))
        21
        >>> Convention(name="multiply-accumulates alone", weights={"macs": 1}).flops(Work(macs=10, adds=1))
        10
        """
        total = 0
        for kind, weight in self.weights.items():
            total = total + weight * getattr(work, kind)
        return total


EVERY_OPERATION = Convention(
    name="every arithmetic operation is one FLOP, a multiply-accumulate is two",
    weights={"macs": 2, "adds": 1, "multiplies": 1, "divides": 1, "compares": 1, "transcendentals": 1},
)
