"""Numbers that count what is done to them: an op's definition, written as plain loops over them, says what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from costmodel.quantities import Work


class Tally:
    """What was counted so far."""

    def __init__(self) -> None:
        self.adds = self.multiplies = self.divides = self.compares = self.transcendentals = 0

    def work(self) -> Work:
        """As the library writes it."""
        return Work(**vars(self))


class Number:
    """A number whose arithmetic is tallied; signs and selection are not arithmetic."""

    __slots__ = ("tally", "value")

    def __init__(self, value: float, tally: Tally) -> None:
        self.value, self.tally = float(value), tally

    def _made(self, kind: str, value: float) -> Number:
        setattr(self.tally, kind, getattr(self.tally, kind) + 1)
        return Number(value, self.tally)

    def __add__(self, other: Any) -> Number:
        return self._made("adds", self.value + value_of(other))

    def __sub__(self, other: Any) -> Number:
        return self._made("adds", self.value - value_of(other))

    def __rsub__(self, other: Any) -> Number:
        return self._made("adds", value_of(other) - self.value)

    def __mul__(self, other: Any) -> Number:
        return self._made("multiplies", self.value * value_of(other))

    def __truediv__(self, other: Any) -> Number:
        return self._made("divides", self.value / value_of(other))

    def __rtruediv__(self, other: Any) -> Number:
        return self._made("divides", value_of(other) / self.value)

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, other: Any) -> bool:
        self.tally.compares += 1
        return self.value < value_of(other)

    def __gt__(self, other: Any) -> bool:
        self.tally.compares += 1
        return self.value > value_of(other)

    def __neg__(self) -> Number:
        return Number(-self.value, self.tally)

    def __abs__(self) -> Number:
        return Number(abs(self.value), self.tally)

    def of(self, function: Callable[[float], float]) -> Number:
        """A transcendental function of it."""
        return self._made("transcendentals", function(self.value))


def value_of(number: Any) -> float:
    """The value of a number of either kind."""
    return number.value if isinstance(number, Number) else float(number)


def exp(x: Number) -> Number:
    """e to the power of x."""
    return x.of(math.exp)


def log(x: Number) -> Number:
    """The natural logarithm; minus infinity of 0."""
    return x.of(lambda v: math.log(v) if v > 0 else -math.inf)


def sqrt(x: Number) -> Number:
    """The square root."""
    return x.of(math.sqrt)


def largest(numbers: Sequence[Number]) -> Number:
    """The greatest of n numbers, by n - 1 comparisons."""
    best = numbers[0]
    for number in numbers[1:]:
        if number > best:
            best = number
    return best


def total(numbers: Sequence[Number]) -> Number:
    """The sum of n numbers, by n - 1 additions."""
    result = numbers[0]
    for number in numbers[1:]:
        result = result + number
    return result


def power_norm(numbers: Sequence[Number], p: float) -> Number:
    """The p-norm of a vector."""
    if p == 2:
        return sqrt(total([x * x for x in numbers]))
    if p == 1:
        return total([abs(x) for x in numbers])
    if p == math.inf:
        return largest([abs(x) for x in numbers])
    return total([abs(x).of(lambda v: v**p) for x in numbers]).of(lambda v: v ** (1 / p))


def counted(run: Callable[..., Any], *tensors: torch.Tensor) -> tuple[Any, Work]:
    """What ``run`` makes of nested lists of the tensors' numbers, and the arithmetic that it took."""
    tally = Tally()

    def numbers(nest: Any) -> Any:
        return [numbers(item) for item in nest] if isinstance(nest, list) else Number(nest, tally)

    result = run(*(numbers(t.tolist()) for t in tensors))
    return result, tally.work()


def values(nest: Any) -> torch.Tensor:
    """A nest of numbers as a tensor."""

    def plain(item: Any) -> Any:
        return [plain(i) for i in item] if isinstance(item, (list, tuple)) else value_of(item)

    return torch.tensor(plain(nest), dtype=torch.float64)
