"""Formulas of quantised layers against loops that do the integer arithmetic and count every operation."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel import formulas as f
from costmodel.errors import InputError
from costmodel.quantities import Work
from tests.formulas.test_carriers import CALLS

SMALL = st.integers(1, 4)


class Loops:
    """Arithmetic on numbers and integers, one operation at a time."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()

    def add(self, a: float, b: float) -> float:
        """A sum."""
        self.done["adds"] += 1
        return a + b

    def multiply(self, a: float, b: float) -> float:
        """A product."""
        self.done["multiplies"] += 1
        return a * b

    def divide(self, a: float, b: float) -> float:
        """A quotient; by 1 where there is nothing to divide by."""
        self.done["divides"] += 1
        return a / (b or 1.0)

    def least(self, a: float, b: float) -> float:
        """The smaller of two."""
        self.done["compares"] += 1
        return min(a, b)

    def most(self, a: float, b: float) -> float:
        """The larger of two."""
        self.done["compares"] += 1
        return max(a, b)

    def to_integer(self, x: float, inverse: float, zero: float) -> float:
        """Equation 1 of Jacob et al. turned around, and clamped to 8 bits."""
        return self.least(self.most(round(self.add(self.multiply(x, inverse), zero)), 0), 255)

    def to_number(self, q: float, scale: float, zero: float) -> float:
        """Equation 1 of Jacob et al."""
        return self.multiply(scale, self.add(q, -zero))

    def grid_of(self, values: list[float]) -> tuple[float, float]:
        """The inverse of the scale, and the zero point, that cover all values."""
        low, high = values[0], values[0]
        for value in values[1:]:
            low, high = self.least(low, value), self.most(high, value)
        spread = self.add(high, -low)
        scale = self.divide(spread, 255.0)
        return 1.0 / (scale or 1.0), self.add(0.0, -self.divide(low, scale))

    def dot(self, xs: list[float], ws: list[float]) -> float:
        """A sum of products, each of which is one multiply-accumulate."""
        self.done["macs"] += len(xs)
        return sum(x * w for x, w in zip(xs, ws, strict=True))

    @property
    def work(self) -> Work:
        """What was done."""
        return Work(**self.done)


def inputs(rows: int, features: int) -> list[list[float]]:
    """Some numbers."""
    return [[(7 * i + 3 * j) % 11 - 4.0 for j in range(features)] for i in range(rows)]


@given(rows=SMALL, n_in=SMALL, n_out=SMALL, bias=st.booleans())
def test_a_static_linear_layer(rows: int, n_in: int, n_out: int, bias: bool) -> None:
    """Sums of products of integers, plus the bias, brought to the output's grid."""
    loops = Loops()
    for x in inputs(rows, n_in):
        for w in inputs(n_out, n_in):
            total = loops.dot(x, w)
            loops.to_integer(loops.add(total, 1.0) if bias else total, 0.01, 3)
    cost = f.quantised_linear(in_features=n_in, out_features=n_out, rows=rows, bias=bias)
    assert cost.work == loops.work
    assert cost.memory_access == rows * n_in + n_out * n_in + bias * n_out + rows * n_out


@given(rows=SMALL, n_in=SMALL, n_out=SMALL, relu=st.booleans())
def test_a_dynamic_linear_layer(rows: int, n_in: int, n_out: int, relu: bool) -> None:
    """The input's range, its integers, sums of products, each times one scale, plus the bias."""
    loops = Loops()
    xs = inputs(rows, n_in)
    grid = loops.grid_of([x for row in xs for x in row])
    integers = [[loops.to_integer(x, *grid) for x in row] for row in xs]
    for row in integers:
        for w in inputs(n_out, n_in):
            y = loops.add(loops.multiply(loops.dot(row, w), 0.01), 1.0)
            if relu:
                loops.most(y, 0.0)
    fused = "relu" if relu else "none"
    cost = f.quantised_linear(in_features=n_in, out_features=n_out, rows=rows, how="dynamic", fused=fused)
    assert cost.work == loops.work


@given(steps=SMALL, batch=SMALL, n_in=SMALL, hidden=SMALL)
def test_what_a_dynamic_lstm_does_besides_the_real_one(steps: int, batch: int, n_in: int, hidden: int) -> None:
    """All inputs are quantised at once, the states step by step; each gate's two sums are scaled."""
    loops = Loops()
    xs = [x for row in inputs(steps * batch, n_in) for x in row]
    grid = loops.grid_of(xs)
    for x in xs:
        loops.to_integer(x, *grid)
    for _ in range(steps):
        state = [h for row in inputs(batch, hidden) for h in row]
        grid = loops.grid_of(state)
        for h in state:
            loops.to_integer(h, *grid)
        for _ in range(batch * 4 * hidden * 2):
            loops.multiply(1.0, 0.01)
    sizes = {"input_size": n_in, "hidden_size": hidden, "length": steps, "batch": batch}
    assert f.quantised_lstm(**sizes).work == f.lstm(**sizes).work + loops.work
    assert f.quantised_lstm(**sizes, how="float16").work == f.lstm(**sizes).work
    assert f.quantised_lstm(**sizes, hx_given=True).memory_access == f.lstm(**sizes, hx_given=True).memory_access


@given(bags=SMALL, bag_size=SMALL, features=SMALL)
def test_bags_of_quantised_rows(bags: int, bag_size: int, features: int) -> None:
    """Each row becomes numbers, which are added up."""
    loops = Loops()
    for _ in range(bags * features):
        total = loops.to_number(5, 0.1, 3)
        for _ in range(bag_size - 1):
            total = loops.add(total, loops.to_number(7, 0.1, 3))
    cost = f.quantised_embedding_bag(num_embeddings=9, embedding_dim=features, bags=bags, bag_size=bag_size)
    assert cost.work == loops.work


@given(n=st.integers(1, 20))
def test_element_by_element(n: int) -> None:
    """To integers and back; a hard swish in between; a sum of two maps in a convolution."""
    there, back, swish = Loops(), Loops(), Loops()
    for _ in range(n):
        there.to_integer(1.5, 10.0, 3)
        back.to_number(5, 0.1, 3)
        x = swish.to_number(5, 0.1, 3)
        gate = swish.divide(swish.least(swish.most(swish.add(x, 3.0), 0.0), 6.0), 6.0)
        swish.to_integer(swish.multiply(x, gate), 10.0, 3)
    assert f.quantise(shape=n).work == there.work
    assert f.dequantise(shape=n).work == back.work
    assert f.quantised_activation(name="hardswish", shape=n).work == swish.work
    conv = {"c_in": 1, "c_out": 1, "kernel": 1, "size": (n,)}
    more = back.work + Work(adds=n)
    assert f.quantised_conv(**conv, added=True).work == f.quantised_conv(**conv).work + more
    assert f.quantised_conv(**conv).work == f.conv(**conv).work + there.work


@pytest.mark.parametrize("name", [name for name in f.CATALOG if name.startswith(("quantise", "dequantise"))])
def test_quantised_numbers_have_no_gradient(name: str) -> None:
    """A quantised layer is derived from the layer on real numbers, without its backward pass."""
    with pytest.raises(InputError, match=r"the backward pass of this layer \(.*\) has no closed form"):
        f.CATALOG[name](**CALLS[name]).backward()
