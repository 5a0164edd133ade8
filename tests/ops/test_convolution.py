"""Convolutions against a naive loop nest, against torch convolving ones, and against what the kernel reads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from costmodel.access import Affine
from costmodel.ops import RULES
from costmodel.quantities import Traffic, Work
from tests.ops._asking import positions, readers, record, traffic, work

CONV = "aten.convolution.default"


@dataclass
class Layer:
    """The hyper-parameters of one convolution, and the size of its input."""

    batch: int
    groups: int
    c_in_per_group: int
    c_out_per_group: int
    size: list[int]
    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    bias: bool

    def arguments(self) -> dict[str, Any]:
        """Real tensors: all ones, so that an output element is the number of products that landed in it."""
        c_in, c_out = self.groups * self.c_in_per_group, self.groups * self.c_out_per_group
        filters = (c_in, self.c_out_per_group) if self.transposed else (c_out, self.c_in_per_group)
        return {
            "input": torch.ones(self.batch, c_in, *self.size, dtype=torch.float64),
            "weight": torch.ones(*filters, *self.kernel, dtype=torch.float64),
            "bias": torch.zeros(c_out, dtype=torch.float64) if self.bias else None,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "transposed": self.transposed,
            "output_padding": self.output_padding,
            "groups": self.groups,
        }

    def visits(self, out: tuple[int, ...]) -> tuple[int, int]:
        """How often the innermost line of the naive loop nest runs, and how often it meets padding."""
        visited = outside = 0
        # A convolution walks over its output and looks into its input; a transposed one does the reverse.
        walked, looked_into = (self.size, out) if self.transposed else (out, self.size)
        for _ in range(self.batch):
            for _ in range(self.groups):
                for _ in product(range(self.c_out_per_group), range(self.c_in_per_group)):
                    for at in positions(tuple(walked)):
                        for tap in positions(tuple(self.kernel)):
                            visited += 1
                            other = [
                                a * s - p + t * d
                                for a, s, p, t, d in zip(at, self.stride, self.padding, tap, self.dilation, strict=True)
                            ]
                            outside += not all(0 <= o < n for o, n in zip(other, looked_into, strict=True))
        return visited, outside


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """Convolutions of every kind, small enough to walk through."""
    axes = draw(st.sampled_from((1, 1, 2, 2, 3)))
    most = {1: 9, 2: 5, 3: 3}[axes]

    def per_axis(low: int, high: int) -> list[int]:
        return [draw(st.integers(low, high)) for _ in range(axes)]

    transposed = draw(st.booleans())
    stride, dilation = per_axis(1, 3), per_axis(1, 2)
    extra = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    return Layer(
        batch=draw(st.integers(1, 2)),
        groups=draw(st.integers(1, 3)),
        c_in_per_group=draw(st.integers(1, 2)),
        c_out_per_group=draw(st.integers(1, 2)),
        size=per_axis(1, most),
        kernel=per_axis(1, 3),
        stride=stride,
        padding=per_axis(0, 2),
        dilation=dilation,
        transposed=transposed,
        output_padding=extra if transposed else [0] * axes,
        bias=draw(st.booleans()),
    )


def fits(layer: Layer) -> bool:
    """Whether the output has at least one position on each axis."""
    for n, k, s, p, d, o in zip(
        layer.size, layer.kernel, layer.stride, layer.padding, layer.dilation, layer.output_padding, strict=True
    ):
        if (n - 1) * s - 2 * p + d * (k - 1) + 1 + o < 1 if layer.transposed else n + 2 * p < d * (k - 1) + 1:
            return False
    return True


@given(layer=layers())
@settings(max_examples=60)
def test_macs_are_the_visits_of_the_naive_loops(layer: Layer) -> None:
    """MACs, and those on padding, are what walking through the definition counts; torch agrees on the outputs."""
    assume(fits(layer))
    arguments = layer.arguments()
    asked = record(CONV, **arguments)
    (y,) = asked.outputs
    visited, outside = layer.visits(y.shape[2:])
    counted = RULES[CONV].work(asked)
    assert counted == Work(macs=visited, macs_on_padding=outside, adds=prod(y.shape) if layer.bias else 0)
    # Ones convolved with ones: torch itself counts the products that were not with padding.
    landed = torch.ops.aten.convolution(*arguments.values()).sum().item()
    assert counted.macs - counted.macs_on_padding == landed


@given(layer=layers())
@settings(max_examples=60)
def test_the_window_is_what_the_kernel_reads(layer: Layer) -> None:
    """On each axis the taps span what is read: from the first position to the last, padding cut off."""
    assume(fits(layer))
    asked = record(CONV, **layer.arguments())
    access = RULES[CONV].access(asked, 0)
    assert isinstance(access, dict)
    for axis, tap in enumerate(access["input"][2:]):
        assert isinstance(tap, Affine)
        alone = [[value[axis]] for value in (layer.stride, layer.padding, layer.dilation, layer.output_padding)]
        weight = torch.ones(1, 1, layer.kernel[axis], dtype=torch.float64)

        def run(x: torch.Tensor, weight: torch.Tensor = weight, alone: list[list[int]] = alone) -> torch.Tensor:
            stride, padding, dilation, extra = alone
            return torch.ops.aten.convolution(x, weight, None, stride, padding, dilation, layer.transposed, extra, 1)

        n = layer.size[axis]
        for o, read in enumerate(readers(run, n)):
            low, high = tap.pull(o, o)
            inside = [i for i in range(n) if low <= i <= high]
            if layer.transposed:
                # With dilation, taps may skip the inputs at either end.
                assert set(read) <= set(inside)
                assert read == inside or layer.dilation[axis] > 1
            elif read:
                low_read = min(i for i in range(low, high + 1, layer.dilation[axis]) if i >= 0)
                assert (low_read, read[-1]) == (
                    read[0],
                    max(i for i in inside if (i - low) % layer.dilation[axis] == 0),
                )


@pytest.mark.parametrize(
    ("groups", "kernel", "transposed", "kind"),
    [
        (1, 3, False, "standard conv"),
        (1, 1, False, "pointwise conv"),
        (4, 3, False, "depthwise conv"),
        (2, 3, False, "grouped conv"),
        (1, 3, True, "transposed conv"),
    ],
)
def test_kinds_are_the_words_of_the_field(groups: int, kernel: int, transposed: bool, kind: str) -> None:
    """A convolution is named after its groups and its kernel."""
    layer = Layer(1, groups, 4 // groups, 4 // groups, [5, 5], [kernel] * 2, [1] * 2, [0] * 2, [1] * 2, transposed,
                  [0] * 2, False)  # fmt: skip
    assert RULES[CONV].kind(record(CONV, **layer.arguments())) == kind


def test_alexnet_s_first_layer() -> None:
    """96 filters of 11x11x3 at 55x55 positions are the 105,415,200 MACs of the paper's first layer."""
    x, w, b = torch.rand(1, 3, 227, 227), torch.rand(96, 3, 11, 11), torch.rand(96)
    arguments = {
        "input": x, "weight": w, "bias": b, "stride": [4, 4], "padding": [0, 0], "dilation": [1, 1],
        "transposed": False, "output_padding": [0, 0], "groups": 1,
    }  # fmt: skip
    assert work(CONV, **arguments) == Work(macs=105_415_200, adds=290_400)
    # 227 x 227 x 3 inputs, 96 x 363 weights and 96 biases are read.
    assert traffic(CONV, **arguments) == Traffic(
        read=189_531, read_bytes=4 * 189_531, written=290_400, written_bytes=4 * 290_400
    )


def test_a_kernel_that_does_not_fit_is_an_error() -> None:
    """The reason names the kernel, the input and the padding."""
    rule = RULES[CONV]
    assert callable(rule.outputs)
    asked = record(CONV, **Layer(1, 1, 1, 1, [5], [3], [1], [0], [1], False, [0], False).arguments())
    small = asked.args | {"input": type(asked.outputs[0])((1, 1, 2))}
    with pytest.raises(ValueError, match=r"kernel \(3,\) .* does not fit into the input \(1, 1, 2\)"):
        rule.outputs(small)
    many = asked.args | {"input": type(asked.outputs[0])((1, 4, 5))}
    with pytest.raises(ValueError, match=r"takes 1 input channels, the input \(1, 4, 5\) has 4"):
        rule.outputs(many)
