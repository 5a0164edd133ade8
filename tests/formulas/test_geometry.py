from __future__ import annotations

from fractions import Fraction
from math import gcd

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy import Symbol
from torch.nn import functional as F

from costmodel import formulas
from costmodel.formulas import Field, receptive_field, receptive_field_backwards
from costmodel.formulas._fields import Fields

SMALL = st.integers(1, 5)


@settings(max_examples=200)
@given(size=st.integers(1, 14), kernel=SMALL, stride=SMALL, padding=st.integers(0, 2), dilation=st.integers(1, 3))
def test_ceil_mode_is_torchs(size: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
    """Rounded up, and with a last window that would start behind the input left out, as torch does it."""
    assume(2 * padding <= kernel)
    assume(size + 2 * padding > dilation * (kernel - 1))
    for ceil_mode in (False, True):
        y = F.max_pool1d(torch.zeros(1, 1, size), kernel, stride, padding, dilation, ceil_mode)
        out = formulas.pool_output_size(
            size=(size,), kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
        )
        assert out == y.shape[2:]


def test_the_rule_of_the_last_window_can_bite() -> None:
    """Five positions, kernel 1, stride 3 and padding would have a third window in the padding: it is dropped."""
    assert formulas.pool_output_size(size=(4,), kernel=2, stride=3, padding=1, ceil_mode=True) == (2,)
    assert formulas.pool_output_size(size=(3,), kernel=2, stride=4, padding=1, ceil_mode=True) == (1,)


@given(size=st.integers(1, 40), out=st.integers(1, 40))
def test_adaptive_windows_overlap_by_the_gcd(size: int, out: int) -> None:
    """The summed lengths of adaptive windows are size + out - gcd, and what visiting them finds."""
    visited = sum(1 for i in range(out) for at in range(size) if i * size // out <= at < -(-(i + 1) * size // out))
    assert formulas.adaptive_window_elements(size=size, output_size=out) == visited == size + out - gcd(size, out)


LAYER = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))


@given(st.lists(LAYER, max_size=5))
def test_receptive_field_is_the_same_from_both_ends(layers: list[tuple[int, int, int, int]]) -> None:
    """Forwards and backwards, two derivations, one field."""
    assert receptive_field(layers=layers) == receptive_field_backwards(layers=layers)


@given(st.lists(LAYER, min_size=1, max_size=4), st.integers(0, 3))
def test_receptive_field_is_what_an_output_reaches(layers: list[tuple[int, int, int, int]], output: int) -> None:
    """Following every tap of every layer back from an output gives the field's ends."""
    seen = {output}
    for kernel, stride, padding, dilation in reversed(layers):
        seen = {at * stride - padding + tap * dilation for at in seen for tap in range(kernel)}
    field = receptive_field(layers=layers)
    first = field.start + output * field.stride
    assert (min(seen), max(seen)) == (first, first + field.size - 1)
    assert field.padding == -field.start


def test_published_receptive_fields() -> None:
    """VGG-16's pool5 sees 212, AlexNet's 195, as Araujo, Norris & Sim (Distill 2019), table 1, print them."""
    conv3, pool = (3, 1, 1), (2, 2)
    vgg16 = [layer for count in (2, 2, 3, 3, 3) for layer in [conv3] * count + [pool]]
    alexnet = [(11, 4, 2), (3, 2), (5, 1, 2), (3, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2)]
    assert (receptive_field(layers=vgg16).size, receptive_field(layers=vgg16).stride) == (212, 32)
    assert (receptive_field(layers=alexnet).size, receptive_field(layers=alexnet).stride) == (195, 32)


def test_an_empty_chain_sees_its_own_position() -> None:
    """With no layer an output is its input."""
    assert receptive_field(layers=[]) == formulas.Field(size=1, stride=1, start=0)


def test_errors_say_what_to_do() -> None:
    """Impossible paddings and outputs are refused by name."""
    with pytest.raises(ValueError, match=r"padding=\(2,\) is more than half of kernel=\(3,\)"):
        formulas.pool_output_size(size=(8,), kernel=3, padding=2)
    with pytest.raises(ValueError, match="give it as an int"):
        formulas.adaptive_window_elements(size=8, output_size=Symbol("n"))
    with pytest.raises(
        ValueError, match=r"output_padding=\(2,\) must be smaller than stride=\(2,\) or dilation=\(1,\)"
    ):
        formulas.conv_transpose_output_size(size=(8,), kernel=3, stride=2, output_padding=2)


def test_an_adaptive_window_s_field_is_the_longest_window_s() -> None:
    """Window i goes from floor(i n / out) to ceil((i + 1) n / out): of ints, and of arrays in a sweep."""
    sizes = range(1, 20)
    for out in range(1, 8):
        longest = [max(-(-(i + 1) * n // out) - i * n // out for i in range(out)) for n in sizes]
        alone = [Fields.of_input((n,)).after_adaptive_pool((n,), out).axes[0] for n in sizes]
        assert [field.size for field in alone] == longest
        assert [field.stride for field in alone] == [Fraction(n, out) for n in sizes]
        many = np.array(sizes)
        (swept,) = Fields.of_input((many,)).after_adaptive_pool((many,), out).axes
        assert list(swept.size) == longest
        assert np.allclose(swept.stride, many / out)
        # On a map of stride 4 that sees 7 positions, each further position adds 4.
        (deep,) = Fields((Field(size=7, stride=4, start=-2),), (80,)).after_adaptive_pool((20,), out).axes
        at_20 = max(-(-(i + 1) * 20 // out) - i * 20 // out for i in range(out))
        assert (deep.size, deep.stride, deep.start) == (7 + 4 * (at_20 - 1), Fraction(80, out), -2)
