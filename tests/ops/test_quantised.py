"""Ops on quantised tensors and packed weights: counted by hand, and none of torch's is left out unsaid."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.ao.nn.quantized as static
import torch.ao.nn.quantized.dynamic as nnqd
from torch import nn
from torch.ao import quantization

import costmodel
from costmodel.ops import find
from costmodel.quantities import Work
from tests.live_memory import allocations, peak

pytestmark = pytest.mark.filterwarnings("ignore:.*(deprecated|quantized):")
"""torch's own quantisation is deprecated in favour of torchao, as torch says itself at every turn."""

Function = Callable[..., Any]


class Calls(nn.Module):
    """A function as a model."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Calls it."""
        return self.function(*tensors)


def quantised(*shape: int, scale: float = 0.1, zero_point: int = 3) -> torch.Tensor:
    """A tensor of unsigned bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.rand(shape), scale, zero_point, torch.quint8)


def weight(*shape: int) -> torch.Tensor:
    """A weight of signed bytes, of one scale."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.rand(shape), 0.05, 0, torch.qint8)


def profiled(function: Function, *tensors: torch.Tensor) -> costmodel.Profile:
    """The profile of a call; ``tensors`` are made by the function itself where they are quantised."""
    return costmodel.profile(Calls(function), tensors)


def work_of(op: str, function: Function, *tensors: torch.Tensor) -> Work:
    """What one op of a call counts."""
    p = profiled(function, *tensors)
    assert p.is_exact, (p.coverage.unknown, p.coverage.bounds)
    return sum((priced.work for priced in p.pricing.ops if priced.call.op == op), Work())


X = quantised(2, 3, 4, 4)  # 96 elements
ROWS = quantised(5, 8)  # 40 elements
QUANTISE = Work(multiplies=1, adds=1, compares=2)
DEQUANTISE = Work(adds=1, multiplies=1)
ops = torch.ops.quantized


def linear(function: Function, bias: bool = True) -> Function:
    """A call with a packed weight, 8 features to 6."""
    packed = ops.linear_prepack(weight(6, 8), torch.rand(6) if bias else None)
    return lambda x: function(x, packed)


def conv(function: Function, transposed: bool = False) -> Function:
    """A call with a packed 3 x 3 convolution of 3 channels to 5, with bias, padding 1."""
    one, none = [1, 1], [0, 0]
    if transposed:
        packed = ops.conv_transpose2d_prepack(weight(3, 5, 3, 3), torch.rand(5), one, one, none, one, 1)
    else:
        packed = ops.conv2d_prepack(weight(5, 3, 3, 3), torch.rand(5), one, one, one, 1)
    return lambda *x: function(*x, packed)


# 5 rows x 6 outputs = 30 dot products of 8: 240. 2 x 5 x 4 x 4 = 160 outputs of 3 x 9 = 27 taps: 4320; along an axis
# of 4 the taps hit 3 + 4 + 3 = 10 of 12 positions, so 2 x 3 x 5 x 10 x 10 = 3000 products are not on padding.
CONV = Work(macs=4320, macs_on_padding=1320, adds=160)
RANGE = Work(compares=2 * 39, adds=2, divides=2)
PRODUCTS = [
    ("quantized.linear.default", linear(lambda x, w: ops.linear(x, w, 0.1, 0)), ROWS,
     Work(macs=240, adds=30) + QUANTISE.times(30)),
    ("quantized.linear.default", linear(lambda x, w: ops.linear(x, w, 0.1, 0), bias=False), ROWS,
     Work(macs=240) + QUANTISE.times(30)),
    ("quantized.linear_relu.default", linear(lambda x, w: ops.linear_relu(x, w, 0.1, 0)), ROWS,
     Work(macs=240, adds=30) + QUANTISE.times(30)),
    ("quantized.linear_dynamic.default", linear(lambda x, w: ops.linear_dynamic(x, w)), torch.rand(5, 8),
     Work(macs=240, adds=30) + RANGE + QUANTISE.times(40) + Work(multiplies=30)),
    ("quantized.linear_relu_dynamic.default", linear(lambda x, w: ops.linear_relu_dynamic(x, w)), torch.rand(5, 8),
     Work(macs=240, adds=30) + RANGE + QUANTISE.times(40) + Work(multiplies=30, compares=30)),
    ("quantized.conv2d.new", conv(lambda x, w: ops.conv2d(x, w, 0.1, 0)), X, CONV + QUANTISE.times(160)),
    ("quantized.conv2d_relu.new", conv(lambda x, w: ops.conv2d_relu(x, w, 0.1, 0)), X, CONV + QUANTISE.times(160)),
    ("quantized.conv2d_dynamic.default", conv(lambda x, w: ops.conv2d_dynamic(x, w)), torch.rand(2, 3, 4, 4),
     CONV + Work(compares=2 * 95, adds=2, divides=2) + QUANTISE.times(96) + (QUANTISE + DEQUANTISE).times(160)),
    # Each of 96 input elements is spread over 5 channels x 9 taps.
    ("quantized.conv_transpose2d.default", conv(lambda x, w: ops.conv_transpose2d(x, w, 0.1, 0), transposed=True), X,
     CONV + QUANTISE.times(160)),
]  # fmt: skip


@pytest.mark.parametrize(("op", "function", "x", "counted"), PRODUCTS)
def test_products_of_integers_are_macs(op: str, function: Function, x: torch.Tensor, counted: Work) -> None:
    """As many as of the real layer; results are brought to their grid, and what is quantised at run time counts."""
    assert work_of(op, function, x) == counted


def test_weights_of_16_bits_are_cast_and_nothing_is_quantised() -> None:
    """A dynamic layer of half precision does what the real layer does."""
    packed = ops.linear_prepack_fp16(torch.rand(6, 8), torch.rand(6))
    counted = work_of(
        "quantized.linear_dynamic_fp16.default", lambda x: ops.linear_dynamic_fp16(x, packed), torch.rand(5, 8)
    )
    assert counted == Work(macs=240, adds=30)


def dynamic(layer: nn.Module, dtype: torch.dtype = torch.qint8) -> nn.Module:
    """A model of one layer, quantised dynamically."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao.quantization is deprecated in favour of torchao
        return quantization.quantize_dynamic(nn.Sequential(layer), {type(layer)}, dtype=dtype)


def test_a_dynamic_lstm_by_hand() -> None:
    """5 steps of 2 samples, 8 features, 4 hidden units: each product, each range and each unit."""
    p = costmodel.profile(dynamic(nn.LSTM(8, 4)), (5, 2, 8))
    # 10 tokens x 16 gate units x (8 + 4).
    products = Work(macs=10 * 16 * 12, multiplies=2 * 10 * 16)
    # The 80 inputs are one product's, the 8 states of each of 5 steps another's: six ranges.
    ranges = Work(compares=2 * 79 + 5 * 2 * 7, adds=6 * 2, divides=6 * 2)
    integers = QUANTISE.times(80 + 40)
    # Per unit: 4 sums of halves, 8 biases, 3 sigmoids (tr, add, div), 2 tanh; c: 2 mul + 1 add; h: 1 mul.
    unit = Work(adds=4 + 8 + 3 + 1, transcendentals=3 + 2, divides=3, multiplies=3)
    (op,) = (op for op in p.pricing.ops if op.call.op == "aten.quantized_lstm.input")
    assert op.work == products + ranges + integers + unit.times(10 * 4)
    assert p.is_exact
    assert p.execution == "meta"


def test_packed_weights_are_parameters_with_the_bytes_that_they_take(tmp_path: Path) -> None:
    """One byte an element and 16 for the scale and zero point; biases of 4 bytes; frozen, and read by an op."""
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        q = quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    p = costmodel.profile(q, (2, 16))
    assert (p.macs, p.params) == (320, 172)
    assert p.params_bytes == (128 + 16 + 8 * 4) + (32 + 16 + 4 * 4)
    assert (p.trainable_params, p.active_params, p.nonzero_params) == (0, 172, 172)
    assert p.layers.params.tolist() == [136, 0, 36]
    assert p.layers.params_bytes.tolist() == [176, 0, 64]
    first = p.layers.iloc[0]
    assert first.memory_access == 2 * 16 + 136 + 2 * 8
    assert first.memory_access_bytes == 4 * (2 * 16) + 176 + 4 * (2 * 8)
    assert "172" in str(p)
    again = costmodel.read_json(p.save(tmp_path / "p.json"))
    assert (again.params_bytes, again.memory_access_bytes) == (p.params_bytes, p.memory_access_bytes)


def test_the_profile_leaves_a_quantised_model_as_it_was() -> None:
    """The packed objects are the same, and the model computes the same."""
    layer = nnqd.Linear(8, 6)
    before, x = layer._packed_params._packed_params, torch.rand(5, 8)
    y = layer(x)
    costmodel.profile(layer, x)
    costmodel.profile(layer, x, execution="real")
    assert layer._packed_params._packed_params is before
    assert torch.equal(layer(x), y)


def test_two_layers_of_one_shape_are_two() -> None:
    """An answer from the dispatch cache is recorded with the weights of the layer at hand."""
    q = nn.Sequential(nnqd.Linear(8, 8), nnqd.Linear(8, 8))
    p = costmodel.profile(q, (5, 8))
    assert p.layers.params.tolist() == [72, 72]
    assert p.active_params == 144


def test_an_answer_is_of_weights_of_one_shape() -> None:
    """Layers of other widths on the same input are other layers to the dispatch cache."""
    x = (5, 8)
    assert costmodel.profile(nnqd.Linear(8, 7), x).macs == 5 * 8 * 7
    assert costmodel.profile(nnqd.Linear(8, 9), x).macs == 5 * 8 * 9


def test_packed_weights_of_a_scripted_model_are_parameters() -> None:
    """torch.jit's modules hold them in C++, under torch's own names."""
    layers = nn.Sequential(nnqd.Linear(8, 6)), nnqd.LSTMCell(8, 4), static.Embedding(10, 4)
    shapes = (5, 8), (2, 8), costmodel.Input((3,), torch.int64)
    for layer, shape in zip(layers, shapes, strict=True):
        scripted = costmodel.profile(torch.jit.script(layer), shape)
        plain = costmodel.profile(layer, shape)
        assert scripted.params == plain.params > 0
        assert (scripted.macs, scripted.params_bytes) == (plain.macs, plain.params_bytes)


# 96 numbers; a hard sigmoid is an add, two comparisons and a division.
ELEMENTWISE = [
    ("aten.relu.default", torch.relu, Work(compares=1)),
    ("aten.sigmoid.default", torch.sigmoid, DEQUANTISE + Work(transcendentals=1, adds=1, divides=1) + QUANTISE),
    ("aten.tanh.default", torch.tanh, DEQUANTISE + Work(transcendentals=1) + QUANTISE),
    ("quantized.add.default", lambda x: ops.add(x, x, 0.1, 0), DEQUANTISE.times(2) + Work(adds=1) + QUANTISE),
    ("quantized.add_relu.default", lambda x: ops.add_relu(x, x, 0.1, 0),
     DEQUANTISE.times(2) + Work(adds=1, compares=1) + QUANTISE),
    ("quantized.mul.default", lambda x: ops.mul(x, x, 0.1, 0), Work(adds=2, multiplies=1) + QUANTISE),
    ("quantized.mul_scalar.default", lambda x: ops.mul_scalar(x, 2.0), Work()),
    ("quantized.mul_scalar.default", lambda x: ops.mul_scalar(x, -2.0), Work(adds=1)),
    ("quantized.hardswish.default", lambda x: ops.hardswish(x, 0.1, 0),
     DEQUANTISE + Work(adds=1, compares=2, divides=1, multiplies=1) + QUANTISE),
    ("quantized.celu.default", lambda x: ops.celu(x, 0.1, 0),
     DEQUANTISE + Work(compares=1, transcendentals=1, adds=1, multiplies=1, divides=1) + QUANTISE),
    ("quantized.clamp.default", lambda x: ops.clamp(x, 0.0, 1.0), Work(compares=2)),
    ("quantized.clamp.default", lambda x: ops.clamp(x, 0.0, None), Work(compares=1)),
    ("aten.dequantize.self", torch.dequantize, DEQUANTISE),
    ("aten.int_repr.default", torch.int_repr, Work()),
]  # fmt: skip


@pytest.mark.parametrize(("op", "function", "each"), ELEMENTWISE)
def test_arithmetic_of_each_number(op: str, function: Function, each: Work) -> None:
    """Integers to real numbers, what the function does, and back."""
    assert work_of(op, function, X) == each.times(96)


def test_concatenated_and_multiplied_maps() -> None:
    """Every number of every part is brought to the grid of the result; factors become real once each."""
    cat = work_of("quantized.cat.default", lambda x: ops.cat([x, x], 1, 0.1, 0), X)
    assert cat == (DEQUANTISE + QUANTISE).times(192)
    matmul = work_of("quantized.matmul.default", lambda x: ops.matmul(x, x.transpose(2, 3), 0.1, 0), X)
    assert matmul == Work(macs=96 * 4) + DEQUANTISE.times(192) + QUANTISE.times(96)


def test_pools_compare_integers() -> None:
    """Three comparisons for each of 24 windows of 4."""
    assert work_of(
        "quantized.max_pool2d.default", lambda x: ops.max_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], False), X
    ) == Work(compares=72)


def test_adding_a_number_is_a_lower_bound() -> None:
    """Whether integers change, or the zero point alone, is decided by values."""
    p = profiled(lambda x: ops.add_scalar(x, 2.0), X)
    assert not p.is_exact
    assert "moves the zero point" in p.coverage.bounds[0].why


def test_products_of_integers_run_at_the_rate_of_integers() -> None:
    """What is done to real numbers, before and after, at that of real numbers."""
    packed = ops.linear_prepack(weight(6, 8), torch.rand(6))
    p = profiled(
        lambda x: ops.linear(torch.quantize_per_tensor(x, 0.1, 0, torch.quint8), packed, 0.1, 0), torch.rand(5, 8)
    )
    assert [op.dtype for op in p.pricing.ops] == ["float32", "int8"]
    bound = costmodel.profile(nn.Sequential(nnqd.Linear(8, 6)), (5, 8)).roofline("h100")
    assert [layer.peak for layer in bound.layers] == ["int8"]


MAPS = quantised(2, 16, 20, 20)
LAST = MAPS.contiguous(memory_format=torch.channels_last)
CHANNELS = [torch.rand(16) for _ in range(4)]


WIDE = ops.conv2d_prepack(weight(32, 16, 3, 3), torch.rand(32), [1, 1], [1, 1], [1, 1], 1)


ALLOCATES: list[tuple[Function, torch.Tensor]] = [
    (lambda x: ops.conv2d(x, WIDE, 0.1, 0), MAPS),
    (lambda x: ops.conv2d(x, WIDE, 0.1, 0), LAST),
    (lambda x: ops.conv2d_dynamic(x, WIDE), torch.rand(2, 16, 20, 20)),
    (linear(lambda x, w: ops.linear(x, w, 0.1, 0)), quantised(500, 8)),
    (linear(lambda x, w: ops.linear_dynamic(x, w)), torch.rand(500, 8)),
    (lambda x: ops.cat([x, x], 1, 0.1, 0), MAPS),
    (lambda x: ops.cat([x, x], 1, 0.1, 0), LAST),
    (lambda x: ops.matmul(x, x, 0.1, 0), MAPS),
    (lambda x: ops.add(x, x, 0.1, 0), MAPS),
    (lambda x: ops.hardswish(x, 0.1, 0), MAPS),
    (lambda x: ops.batch_norm2d(x, *CHANNELS, 1e-5, 0.1, 0), MAPS),
    (lambda x: ops.batch_norm2d(x, *CHANNELS, 1e-5, 0.1, 0), LAST),
    (lambda x: ops.layer_norm(x, [20], None, None, 1e-5, 0.1, 0), MAPS),
    (torch.dequantize, MAPS),
    (static.EmbeddingBag(10, 64, mode="sum"), torch.zeros(50, 4, dtype=torch.int64)),
]


@pytest.mark.parametrize(("function", "x"), ALLOCATES)
def test_what_an_op_allocates_is_what_the_allocator_gives_it(function: Function, x: torch.Tensor) -> None:
    """The peak of outputs and temporaries, to the byte."""
    function(x)  # the first call packs
    measured = peak(allocations(lambda: function(x)))
    op = costmodel.profile(Calls(function), x, execution="real").pricing.ops[-1]
    assert op.rule is not None
    made = [*op.call.outputs, *op.rule.temporaries(op.call.args)]
    assert sum(t.nbytes for t in made) == measured


def test_every_op_on_quantised_tensors_has_a_rule() -> None:
    """Those of torch's dispatcher, but for a list with reasons."""
    missing = [op for op in quantised_ops() if find(op) is None and not any(part in op for part in NO_RULE)]
    assert missing == []
    unused = [part for part in NO_RULE if not any(part in op and find(op) is None for op in quantised_ops())]
    assert [part for part in unused if part not in NEWER] == []


NO_RULE = {
    "_quantized.": "torch's old name, for code that was written before the ops were renamed",
    "legacy": "weights packed into tensors, of models that were saved before torch 1.4",
    "_cell.default": "likewise",
    "aten.fbgemm_": "likewise",
    "_prepack": "a table of an embedding is quantised once, before the model runs",
    "bit_unpack": "likewise, and back",
    "byte_unpack": "likewise, and back",
    "make_quantized_cell_params": "a recurrent layer's weights are packed once, before the model runs",
    "_scalar.Tensor": "a number as a tensor, whose sign decides on the work: deprecated",
    "_scalar_out.Tensor": "likewise",
    "_scalar_relu.Tensor": "likewise",
    "_scalar_relu_out.Tensor": "likewise",
    "_attention": "attention of 8-bit floats, on GPUs alone",
    "_wrapped_quantized_linear": "what torch's compiler puts in the place of linear layers",
    "int4mm_packed_weight_cpu": "likewise",
    "conv2d_unpack_sizes": "returns what has no type",
    "quantized.dropout": "in training alone, and quantised models are not trained",
}
NEWER = frozenset({"_attention", "int4mm_packed_weight_cpu"})
"""Those that torch 2.6 lacks."""


def quantised_ops() -> list[str]:
    """All ops of ``torch.ops.quantized``, and of aten those that make, read or run on quantised tensors."""
    found = []
    for full in torch._C._dispatch_get_all_op_names():
        namespace, _, name = full.partition("::")
        words = ("quantize", "int_repr", "q_scale", "q_zero_point", "q_per_channel", "qscheme", "quantized")
        is_ours = namespace in ("quantized", "_quantized") or (
            namespace == "aten" and any(word in name for word in words) and "fake_" not in name
        )
        if is_ours and not name.endswith((".out", "_out")):
            name, _, overload = name.partition(".")
            found.append(f"{namespace}.{name}.{overload or 'default'}")
    return sorted(found)
