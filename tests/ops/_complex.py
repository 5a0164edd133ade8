"""Complex numbers made of numbers that count: each operation by its definition on the parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from costmodel.quantities import Work
from tests.ops._counting import Number, Tally, exp, log, sqrt, value_of


class Complex:
    """a + i b. A number that meets it is complex too: its parts are computed with as well."""

    __slots__ = ("a", "b")

    def __init__(self, a: Number, b: Number) -> None:
        self.a, self.b = a, b

    def of(self, number: Any) -> Complex:
        """Any number as a complex one."""
        if isinstance(number, Complex):
            return number
        if isinstance(number, Number):
            return Complex(number, Number(0, self.a.tally))
        number = complex(number)
        return Complex(Number(number.real, self.a.tally), Number(number.imag, self.a.tally))

    def __add__(self, other: Any) -> Complex:
        w = self.of(other)
        return Complex(self.a + w.a, self.b + w.b)

    def __sub__(self, other: Any) -> Complex:
        w = self.of(other)
        return Complex(self.a - w.a, self.b - w.b)

    def __mul__(self, other: Any) -> Complex:
        w = self.of(other)
        return Complex(self.a * w.a - self.b * w.b, self.a * w.b + self.b * w.a)

    def __truediv__(self, other: Any) -> Complex:
        w = self.of(other)
        square = w.a * w.a + w.b * w.b
        return Complex((self.a * w.a + self.b * w.b) / square, (self.b * w.a - self.a * w.b) / square)

    def __rsub__(self, other: Any) -> Complex:
        return self.of(other) - self

    def __rtruediv__(self, other: Any) -> Complex:
        return self.of(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Complex:
        return Complex(-self.a, -self.b)

    def turned(self) -> Complex:
        """Times i, which swaps the parts."""
        return Complex(-self.b, self.a)


def absolute(z: Complex) -> Number:
    """|z|."""
    return sqrt(z.a * z.a + z.b * z.b)


def exponential(z: Complex) -> Complex:
    """e to the power of z."""
    size = exp(z.a)
    return Complex(size * z.b.of(math.cos), size * z.b.of(math.sin))


def angle(z: Complex) -> Number:
    """atan2 of the parts."""
    return z.b.of(lambda b: math.atan2(b, z.a.value))


def logarithm(z: Complex) -> Complex:
    """The principal logarithm."""
    return Complex(log(absolute(z)), angle(z))


def root(z: Complex) -> Complex:
    """The principal square root."""
    size = absolute(z)
    b = sqrt((size - z.a) * 0.5)
    return Complex(sqrt((size + z.a) * 0.5), b if z.b.value >= 0 else -b)


def sine(z: Complex) -> Complex:
    """The sine."""
    return Complex(z.a.of(math.sin) * z.b.of(math.cosh), z.a.of(math.cos) * z.b.of(math.sinh))


def cosine(z: Complex) -> Complex:
    """The cosine."""
    return Complex(z.a.of(math.cos) * z.b.of(math.cosh), -(z.a.of(math.sin) * z.b.of(math.sinh)))


def tangent(z: Complex) -> Complex:
    """The tangent."""
    a, b = z.a * 2, z.b * 2
    below = a.of(math.cos) + b.of(math.cosh)
    return Complex(a.of(math.sin) / below, b.of(math.sinh) / below)


def hyperbolic(function: Callable[[Complex], Complex], *, odd: bool) -> Callable[[Complex], Complex]:
    """sinh z = -i sin i z, cosh z = cos i z, tanh z = -i tan i z."""

    def run(z: Complex) -> Complex:
        w = function(z.turned())
        return Complex(w.b, -w.a) if odd else w

    return run


def arcsine(z: Complex) -> Complex:
    """-i log(i z + sqrt(1 - z z))."""
    w = logarithm(z.turned() + root(1 - z * z))
    return Complex(w.b, -w.a)


def arccosine(z: Complex) -> Complex:
    """-i log(z + i sqrt(1 - z z))."""
    w = logarithm(z + root(1 - z * z).turned())
    return Complex(w.b, -w.a)


def arctangent(z: Complex) -> Complex:
    """i / 2 log((i + z) / (i - z)); the branch cut is another for some, and none of the points tried lie there."""
    return logarithm((1j + z) / (1j - z)) * 0.5j


def joined(numbers: Sequence[Any]) -> Any:
    """The sum, from left to right."""
    result = numbers[0]
    for number in numbers[1:]:
        result = result + number
    return result


def counted(run: Callable[..., Any], *tensors: torch.Tensor) -> tuple[Any, Work]:
    """What ``run`` makes of nested lists of the tensors' numbers, and the arithmetic that it took."""
    tally = Tally()

    def numbers(nest: Any) -> Any:
        if isinstance(nest, list):
            return [numbers(item) for item in nest]
        if isinstance(nest, complex):
            return Complex(Number(nest.real, tally), Number(nest.imag, tally))
        return Number(nest, tally)

    result = run(*(numbers(t.tolist()) for t in tensors))
    return result, tally.work()


def values(nest: Any) -> torch.Tensor:
    """A nest of numbers as a tensor."""

    def plain(item: Any) -> Any:
        if isinstance(item, (list, tuple)):
            return [plain(i) for i in item]
        return complex(item.a.value, item.b.value) if isinstance(item, Complex) else value_of(item)

    return torch.tensor(plain(nest))
