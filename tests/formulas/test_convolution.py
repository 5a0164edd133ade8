from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy import Symbol
from torch import nn

from costmodel import formulas
from costmodel.formulas import conv, conv_transpose
from tests.formulas.oracles import conv_transpose_visits, conv_visits, elements, grouped_pairs, run

MODULES = {1: (nn.Conv1d, nn.ConvTranspose1d), 2: (nn.Conv2d, nn.ConvTranspose2d), 3: (nn.Conv3d, nn.ConvTranspose3d)}


@dataclass(frozen=True)
class Case:
    """Hyper-parameters of a small convolution, one value per axis."""

    channels: dict[str, int]
    batch: int
    bias: bool
    size: tuple[int, ...]
    window: dict[str, tuple[int, ...]]

    @property
    def arguments(self) -> dict[str, Any]:
        """As formulas take them."""
        return {**self.channels, **self.window, "size": self.size, "batch": self.batch, "bias": self.bias}

    def module(self, *, transposed: bool = False, **more: Any) -> nn.Module:
        """As torch takes them."""
        window = {**self.window, **more}
        return MODULES[len(self.size)][transposed](
            self.channels["c_in"],
            self.channels["c_out"],
            window.pop("kernel"),
            groups=self.channels["groups"],
            bias=self.bias,
            **window,
        )

    @property
    def input(self) -> torch.Tensor:
        """A tensor of the input's shape."""
        return torch.zeros(self.batch, self.channels["c_in"], *self.size)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Small convolutions over one to three axes that are wide enough for their kernel."""
    axes = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes)))

    kernel, dilation, padding = each(1, 4), each(1, 3), each(0, 2)
    size = each(1, 6)
    for n, k, d, p in zip(size, kernel, dilation, padding, strict=True):
        assume(n + 2 * p > d * (k - 1))
    return Case(
        channels={
            "c_in": groups * draw(st.integers(1, 2)),
            "c_out": groups * draw(st.integers(1, 3)),
            "groups": groups,
        },
        batch=draw(st.integers(1, 2)),
        bias=draw(st.booleans()),
        size=size,
        window={"kernel": kernel, "stride": each(1, 3), "padding": padding, "dilation": dilation},
    )


@settings(max_examples=60)
@given(cases())
def test_conv_counts_what_the_loop_nest_visits(case: Case) -> None:
    """MACs, and those on padding, are the visits to the inner loop."""
    visits, on_padding = conv_visits(size=case.size, **case.window)
    pairs = case.batch * grouped_pairs(**case.channels)
    work = conv(**case.arguments).work
    assert (work.macs, work.macs_on_padding) == (pairs * visits, pairs * on_padding)


@settings(max_examples=60)
@given(cases())
def test_conv_is_torchs(case: Case) -> None:
    """Output shape, parameters and elements moved are those of torch's module and kernels."""
    cost, module = conv(**case.arguments), case.module()
    y, kernels = run(module, case.input)
    assert cost.output_shape == y.shape
    assert cost.output_size == y.shape[2:]
    assert cost.params == elements(module.parameters())
    assert (cost.read, cost.written) == (kernels.read, kernels.written)
    assert cost.activations == y.numel()
    assert cost.flops == 2 * cost.macs + case.bias * y.numel()


@settings(max_examples=60)
@given(cases(), st.data())
def test_conv_transpose_counts_what_the_loop_nest_scatters(case: Case, data: st.DataObject) -> None:
    """A transposed convolution visits every tap for every input element; shape and traffic are torch's."""
    window = case.window
    extra = tuple(
        data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(window["stride"], window["dilation"], strict=True)
    )
    natural = [
        (n - 1) * s - 2 * p + d * (k - 1) + o + 1
        for n, k, s, p, d, o in zip(case.size, *window.values(), extra, strict=True)
    ]
    assume(min(natural) >= 1)
    cost = conv_transpose(**case.arguments, output_padding=extra)
    module = case.module(transposed=True, output_padding=extra)
    y, kernels = run(module, case.input)
    assert cost.output_shape == y.shape
    assert cost.params == elements(module.parameters())
    assert (cost.read, cost.written) == (kernels.read, kernels.written)
    visits, outside = conv_transpose_visits(size=case.size, out=y.shape[2:], **window)
    pairs = case.batch * grouped_pairs(**case.channels)
    assert (cost.macs, cost.work.macs_on_padding) == (pairs * visits, pairs * outside)


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", ["same", "valid", 0, (2, 1)])
@pytest.mark.parametrize("kernel", [(3, 3), (4, 3), (2, 4)])
def test_padding_made_beforehand_moves_what_torch_moves(mode: str, padding: Any, kernel: tuple[int, int]) -> None:
    """Every padding mode, and "same" with an odd rest, costs the copy that torch makes."""
    module = nn.Conv2d(4, 6, kernel, padding=padding, padding_mode=mode, groups=2)
    y, kernels = run(module, torch.zeros(2, 4, 7, 9))
    cost = conv(c_in=4, c_out=6, kernel=kernel, size=(7, 9), padding=padding, padding_mode=mode, groups=2, batch=2)
    assert cost.output_shape == y.shape
    assert (cost.read, cost.written) == (kernels.read, kernels.written)
    if mode != "zeros":
        assert cost.work.macs_on_padding == 0


def test_same_padding_counts_its_odd_column_as_padding() -> None:
    """With kernel 2 and "same", the one tap beyond the end lies on padding."""
    assert conv(c_in=1, c_out=1, kernel=2, size=(5,), padding="same").work.macs_on_padding == 1


@pytest.mark.parametrize(
    ("arguments", "macs", "source"),
    [
        ({"c_in": 3, "c_out": 64, "kernel": 7, "size": (224, 224), "stride": 2, "padding": 3}, 118_013_952, "ResNet"),
        ({"c_in": 3, "c_out": 64, "kernel": 3, "size": (224, 224), "padding": 1}, 86_704_128, "VGG conv1_1"),
        ({"c_in": 3, "c_out": 96, "kernel": 11, "size": (227, 227), "stride": 4}, 105_415_200, "AlexNet conv1"),
        (
            {"c_in": 96, "c_out": 256, "kernel": 5, "size": (27, 27), "padding": 2, "groups": 2},
            223_948_800,
            "AlexNet conv2, on two GPUs",
        ),
        ({"c_in": 1, "c_out": 8, "kernel": (7, 3, 3), "size": (30, 25, 25)}, 6_398_784, "HybridSN conv1"),
    ],
)
def test_published_first_layers(arguments: dict[str, Any], macs: int, source: str) -> None:
    """The layers of the classic networks cost what is published of them."""
    assert conv(**arguments).macs == macs, source


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"c_in": 8, "c_out": 8, "kernel": 3}, "standard conv"),
        ({"c_in": 8, "c_out": 8, "kernel": 1}, "pointwise conv"),
        ({"c_in": 8, "c_out": 16, "kernel": 3, "groups": 8}, "depthwise conv"),
        ({"c_in": 8, "c_out": 16, "kernel": 1, "groups": 4}, "grouped conv"),
        ({"c_in": 1, "c_out": 4, "kernel": 3}, "standard conv"),
    ],
)
def test_kind_is_the_fields_word(arguments: dict[str, Any], kind: str) -> None:
    """Groups and kernel decide what a convolution is called."""
    assert conv(**arguments, size=(8, 8), padding=1).kind == kind


def test_specialisations_are_the_convolution_they_name() -> None:
    """Depthwise, pointwise and grouped convolutions are conv with those groups and kernels."""
    at = {"size": (9, 9), "stride": 2, "bias": False, "batch": 2}
    assert formulas.depthwise_conv(channels=6, multiplier=2, kernel=3, **at) == conv(
        c_in=6, c_out=12, groups=6, kernel=3, **at
    )
    assert formulas.pointwise_conv(c_in=6, c_out=4, **at) == conv(c_in=6, c_out=4, kernel=1, **at)
    assert formulas.grouped_conv(c_in=6, c_out=4, groups=2, kernel=3, **at) == conv(
        c_in=6, c_out=4, kernel=3, groups=2, **at
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"groups": 3}, "c_in=8 is not divisible by groups=3: choose a groups that divides c_in"),
        ({"size": 8}, "size=8 does not say how many axes there are: give a tuple such as"),
        ({"kernel": (3, 3, 3)}, r"kernel=\(3, 3, 3\) has 3 values for 2 spatial axes"),
        ({"kernel": 11}, "reaches over 11 positions of axis 0, which has 8 with its padding: enlarge"),
        ({"stride": 0}, r"stride=\(0, 0\): must be at least 1"),
        ({"padding": "some"}, "padding='some' is unknown: give a number per axis, 'same' or 'valid'"),
        ({"padding": "same", "stride": 2}, r"stride=\(2, 2\) does not go with padding='same'"),
        ({"padding_mode": "mirror"}, "padding_mode='mirror' is unknown: choose one of zeros, reflect"),
        ({"c_out": -4}, "c_out=-4: must be at least 1"),
    ],
)
def test_errors_name_argument_value_and_remedy(change: dict[str, Any], text: str) -> None:
    """A concrete value that cannot be is refused with what to do."""
    with pytest.raises(ValueError, match=text):
        conv(**{"c_in": 8, "c_out": 8, "kernel": 3, "size": (8, 8), **change})


def test_conv_macs_on_padding_refuses_a_symbolic_kernel() -> None:
    """Taps are visited one by one, so their number must be known."""
    with pytest.raises(ValueError, match="taps are visited one by one, give ints"):
        formulas.conv_macs_on_padding(c_in=1, c_out=1, kernel=Symbol("k"), size=(4,))
    assert formulas.conv_macs_on_padding(c_in=2, c_out=3, kernel=3, size=(4,), padding=1) == 2 * 3 * 2
