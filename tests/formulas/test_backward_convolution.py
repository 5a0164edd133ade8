"""The backward passes of convolutions, transposed ones and their padding, against what torch runs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel import formulas as f
from tests.formulas._backward import assert_same_on_arrays_and_symbols, forward_quantities, needs, quantities, real

_CONV = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def _tensor(*shape: int) -> torch.Tensor:
    """On meta: a real kernel for a bias alone computes the weight's gradient beside, and drops it."""
    return torch.empty(shape, device="meta")


def _sides(padding: Any, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """The padding of each axis, as numbers."""
    return padding if isinstance(padding, tuple) else (padding,) * len(kernel)


def _same_as_torch(arguments: Mapping[str, Any]) -> None:
    """Each combination of gradients of one convolution: work, traffic, and what is kept."""
    cost = f.conv(**arguments)
    size, kernel, groups = arguments["size"], arguments["kernel"], arguments.get("groups", 1)
    padding, mode = arguments.get("padding", 0), arguments.get("padding_mode", "zeros")
    stride, dilation = arguments.get("stride", 1), arguments.get("dilation", 1)
    x = _tensor(arguments.get("batch", 1), arguments["c_in"], *size)
    w = _tensor(arguments["c_out"], arguments["c_in"] // groups, *kernel)
    bias = arguments.get("bias", True)

    def run(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        if mode == "zeros":
            return _CONV[len(size) - 1](x, w, b, stride, padding, dilation, groups)
        sides = [n for p in reversed(_sides(padding, kernel)) for n in (p, p)]
        return _CONV[len(size) - 1](F.pad(x, sides, mode=mode), w, b, stride, 0, dilation, groups)

    for wanted in needs(1, weight=True, bias=bias):
        biases = [_tensor(arguments["c_out"])] if bias else []
        found = real(run, [x], [w], biases, wanted=wanted)
        assert quantities(cost.backward(**wanted)) == found.quantities()
        assert forward_quantities(cost, wanted) == found.forward_quantities()


@pytest.mark.parametrize(
    "arguments",
    [
        {"c_in": 4, "c_out": 6, "kernel": (3, 3), "size": (7, 6), "padding": 1, "groups": 2, "batch": 2},
        {"c_in": 4, "c_out": 6, "kernel": (1, 1), "size": (7, 6), "bias": False},
        {"c_in": 4, "c_out": 8, "kernel": (3, 2), "size": (7, 6), "groups": 4, "stride": 2, "batch": 3},
        {"c_in": 4, "c_out": 6, "kernel": (3, 3), "size": (7, 6), "padding": "same", "dilation": 2},
        {"c_in": 4, "c_out": 6, "kernel": (3,), "size": (7,), "padding": 1, "batch": 2},
        {"c_in": 2, "c_out": 3, "kernel": (3, 2, 1), "size": (4, 5, 6), "padding": (1, 0, 2), "stride": (1, 2, 1)},
    ],
)  # fmt: skip
def test_a_convolution_s_backward_is_torch_s(arguments: dict[str, Any]) -> None:
    """Standard, pointwise, grouped, strided and dilated ones, over one to three axes."""
    _same_as_torch(arguments)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kernel", [(2, 3), (2, 2), (3, 4)])
def test_what_same_pads_after_is_cropped_from_the_gradient(kernel: tuple[int, int]) -> None:
    """An even kernel under "same" takes a padded copy, which is what autograd keeps."""
    _same_as_torch({"c_in": 4, "c_out": 6, "kernel": kernel, "size": (7, 6), "padding": "same", "batch": 2})


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("kernel", "size", "padding"),
    [((3,), (7,), 1), ((5, 3), (7, 6), (2, 1)), ((3, 1), (7, 6), (1, 0)), ((1, 1), (7, 6), 0),
     ((3, 3, 3), (4, 5, 6), (1, 2, 0))],
)  # fmt: skip
def test_padding_with_what_is_inside_has_a_gradient_of_its_own(
    mode: str, kernel: tuple[int, ...], size: tuple[int, ...], padding: Any
) -> None:
    """Reflected, replicated and circular: each gradient goes back to the element that was copied."""
    _same_as_torch(
        {"c_in": 4, "c_out": 6, "kernel": kernel, "size": size, "padding": padding, "padding_mode": mode, "batch": 2}
    )


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    """Hyper-parameters under which some output comes out."""
    axes, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    each = st.integers(1, 3)
    kernel, stride, dilation = (tuple(draw(each) for _ in range(axes)) for _ in range(3))
    padding = tuple(draw(st.integers(0, 2)) for _ in range(axes))
    size = tuple(draw(st.integers(d * (k - 1) + 1, 9)) for k, d in zip(kernel, dilation, strict=True))
    return {
        "c_in": groups * draw(each), "c_out": groups * draw(each), "kernel": kernel, "size": size, "stride": stride,
        "padding": padding, "dilation": dilation, "groups": groups, "batch": draw(each), "bias": draw(st.booleans()),
    }  # fmt: skip


@given(convolutions())
@settings(max_examples=40, deadline=None)
def test_any_convolution_s_backward_is_torch_s(arguments: dict[str, Any]) -> None:
    """Drawn hyper-parameters: the gradients' macs, those on padding, the bias's adds, traffic and bytes kept."""
    _same_as_torch(arguments)
    cost = f.conv(**arguments)
    both = cost.backward(bias=False)
    assert both.work.macs_on_padding == 2 * cost.work.macs_on_padding


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel": (3,), "size": (7,), "stride": 2},
        {"kernel": (3, 2), "size": (7, 6), "stride": 2, "padding": 1, "output_padding": 1, "groups": 2},
        {"kernel": (3, 2), "size": (7, 6), "dilation": 2, "bias": False},
        {"kernel": (2, 2, 3), "size": (3, 4, 5), "stride": (2, 1, 1)},
    ],
)
def test_a_transposed_convolution_s_backward_is_torch_s(arguments: dict[str, Any]) -> None:
    """Its gradients are convolutions with as many macs as the forward."""
    cost = f.conv_transpose(c_in=4, c_out=6, batch=2, **arguments)
    given_ = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1, "bias": True} | arguments
    x = _tensor(2, 4, *given_["size"])
    w = _tensor(4, 6 // given_["groups"], *given_["kernel"])

    def run(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        options = (given_[name] for name in ("stride", "padding", "output_padding", "groups", "dilation"))
        return _TRANSPOSED[len(given_["size"]) - 1](x, w, b, *options)

    for wanted in needs(1, weight=True, bias=given_["bias"]):
        biases = [_tensor(6)] if given_["bias"] else []
        found = real(run, [x], [w], biases, wanted=wanted)
        assert quantities(cost.backward(**wanted)) == found.quantities()
        assert forward_quantities(cost, wanted) == found.forward_quantities()


def test_a_depthwise_convolution_by_hand() -> None:
    """C = 512, 3x3, 14 x 14: 512 x 9 x 196 macs for each of the products, none of them 512 times as many."""
    cost = f.depthwise_conv(channels=512, kernel=3, size=(14, 14), padding=1, bias=False)
    assert cost.macs == 903_168
    assert cost.backward().macs == 1_806_336
    assert cost.backward(inputs=False).macs == 903_168
    assert cost.backward(inputs=False, weight=False).macs == 0


_AT = {"c_in": 4, "c_out": 6, "kernel": (3, 2), "size": (8, 7), "padding": (2, 3), "groups": 2, "batch": 5}


@pytest.mark.parametrize("wanted", list(needs(1, weight=True, bias=True)))
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_a_convolution_s_backward_on_arrays_and_symbols(mode: str, wanted: dict[str, Any]) -> None:
    """Of sweeps each configuration is what it is alone; of symbols an expression for all."""
    assert_same_on_arrays_and_symbols(f.conv, {**_AT, "padding_mode": mode}, wanted)


@pytest.mark.parametrize("wanted", list(needs(1, weight=True, bias=True)))
def test_other_convolutions_backward_on_arrays_and_symbols(wanted: dict[str, Any]) -> None:
    """Depthwise, pointwise, grouped, transposed and "same" ones."""
    same = {"c_in": 4, "c_out": 6, "kernel": (3, 2), "size": (8, 7), "padding": "same"}
    for formula, arguments in (
        (f.conv, same),
        (f.depthwise_conv, {"channels": 4, "kernel": 3, "size": (8, 7), "multiplier": 2, "padding": 1}),
        (f.pointwise_conv, {"c_in": 4, "c_out": 6, "size": (8, 7), "groups": 2}),
        (f.grouped_conv, {"c_in": 4, "c_out": 6, "kernel": 3, "size": (8, 7), "groups": 2}),
        (f.conv_transpose, {"c_in": 4, "c_out": 6, "kernel": 3, "size": (8, 7), "stride": 2, "groups": 2}),
    ):
        assert_same_on_arrays_and_symbols(formula, arguments, wanted)


def test_traced_minus_closed_is_0_for_all_sizes() -> None:
    """The macs of a rule are a polynomial in the sizes, and the closed form's."""
    import sympy

    n, c, m, k, h = sympy.symbols("n c m k h", integer=True, positive=True)
    cost = f.conv(c_in=c, c_out=m, kernel=k, size=(h,), batch=n, bias=False).backward()
    closed = {name: sympy.expand(getattr(cost, name)) for name in ("macs", "read", "written")}
    assert closed["macs"] == sympy.expand(2 * n * m * c * k * (h - k + 1))
    for sizes in product((2, 3), (1, 4), (2, 5), (1, 3), (4, 6)):
        x, w = _tensor(sizes[0], sizes[1], sizes[4]), _tensor(sizes[2], sizes[1], sizes[3])
        wanted = {"inputs": (True,), "weight": True, "bias": False}
        traced = real(F.conv1d, [x], [w], wanted=wanted).quantities()
        at = dict(zip((n, c, m, k, h), sizes, strict=True))
        assert all(expression.subs(at) - traced[name] == 0 for name, expression in closed.items())
