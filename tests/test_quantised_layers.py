"""Quantised layers are derived twice; models quantised by each of torch's ways are exact."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.ao.nn.intrinsic.quantized as fused
import torch.ao.nn.intrinsic.quantized.dynamic as fused_dynamic
import torch.ao.nn.quantized as static
import torch.ao.nn.quantized.dynamic as dynamic
from torch import nn
from torch.ao import quantization

import costmodel
from tests._layer_types import TYPES

pytestmark = pytest.mark.filterwarnings("ignore:.*(deprecated|quantized|prepack|reduce_range|observer)")
"""torch's own quantisation is deprecated in favour of torchao, as torch says itself at every turn."""

HALF, BYTES = torch.float16, torch.qint8
ROWS, SIGNAL, IMAGE, VOLUME = (5, 8), (2, 4, 9), (2, 4, 8, 6), (2, 4, 5, 4, 3)
NONE = torch.empty(0)
ON_GRID = {"scale": 0.1, "zero_point": 3}


class Static(nn.Module):
    """A layer of quantised tensors, between real numbers."""

    def __init__(self, layer: nn.Module, inputs: int = 1) -> None:
        super().__init__()
        self.quantise, self.layer = static.Quantize(0.1, 3, torch.quint8), layer
        self.dequantise, self.inputs = static.DeQuantize(), inputs

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Quantises, runs the layer, and dequantises."""
        return self.dequantise(self.layer(*(self.quantise(x) for x in tensors)))


@contextmanager
def engine(name: str) -> Any:
    """Packs and runs with one of torch's libraries of quantised kernels."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.quantized.engine = before


def norm(kind: Any, *args: Any, weights: int | tuple[int, ...] = 4) -> nn.Module:
    """A quantised norm with a weight and a bias."""
    layer: nn.Module = kind(*args, nn.Parameter(torch.rand(weights)), nn.Parameter(torch.rand(weights)), 0.1, 3)
    return layer


STATIC: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: static.Linear(8, 6), ROWS),
    (lambda: static.Linear(8, 6, bias_=False), (2, 3, 8)),
    (lambda: fused.LinearReLU(8, 6), ROWS),
    (lambda: fused.LinearLeakyReLU(8, 6, 0.1), ROWS),
    (lambda: fused.LinearTanh(8, 6), ROWS),
    (lambda: static.Conv1d(4, 6, 3, stride=2, padding=1), SIGNAL),
    (lambda: static.Conv2d(4, 6, (3, 2), padding=1, groups=2, bias=False), IMAGE),
    (lambda: static.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), IMAGE),
    (lambda: static.Conv3d(4, 6, 2, dilation=2), VOLUME),
    (lambda: fused.ConvReLU1d(4, 6, 3), SIGNAL),
    (lambda: fused.ConvReLU2d(4, 4, 3, groups=4), IMAGE),
    (lambda: fused.ConvReLU3d(4, 6, 2), VOLUME),
    (lambda: static.ConvTranspose1d(4, 6, 3, stride=2), SIGNAL),
    (lambda: static.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), IMAGE),
    (lambda: static.BatchNorm2d(4), IMAGE),
    (lambda: static.BatchNorm3d(4), VOLUME),
    (lambda: fused.BNReLU2d(4), IMAGE),
    (lambda: fused.BNReLU3d(4), VOLUME),
    (lambda: norm(static.LayerNorm, (8, 6), weights=(8, 6)), IMAGE),
    (lambda: norm(static.GroupNorm, 2, 4), IMAGE),
    (lambda: norm(static.InstanceNorm1d, 4), SIGNAL),
    (lambda: norm(static.InstanceNorm2d, 4), IMAGE),
    (lambda: norm(static.InstanceNorm3d, 4), VOLUME),
    (lambda: static.ReLU6(), IMAGE),
    (lambda: static.Hardswish(**ON_GRID), IMAGE),
    (lambda: static.ELU(**ON_GRID), IMAGE),
    (lambda: static.LeakyReLU(**ON_GRID), IMAGE),
    (lambda: static.Sigmoid(0.1, 3), IMAGE),
    (lambda: static.Softmax(1), IMAGE),
    (lambda: nn.ReLU(), IMAGE),
    (lambda: nn.Tanh(), IMAGE),
    (lambda: nn.Sigmoid(), IMAGE),
    (lambda: nn.Hardsigmoid(), IMAGE),
    (lambda: nn.GELU(), IMAGE),
    (lambda: nn.LeakyReLU(), IMAGE),
    (lambda: nn.MaxPool2d(2), IMAGE),
    (lambda: nn.AvgPool2d(2), IMAGE),
    (lambda: nn.AdaptiveAvgPool2d(2), IMAGE),
    (lambda: nn.Upsample(scale_factor=2), IMAGE),
]
"""Quantised layers, each with the shape of an input."""
DYNAMIC: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: dynamic.Linear(8, 6), ROWS),
    (lambda: dynamic.Linear(8, 6, bias_=False), (2, 3, 8)),
    (lambda: dynamic.Linear(8, 6, dtype=HALF), ROWS),
    (lambda: fused_dynamic.LinearReLU(8, 6), ROWS),
    (lambda: fused_dynamic.LinearReLU(8, 6, dtype=HALF), ROWS),
    (lambda: dynamic.Conv1d(4, 6, 3), SIGNAL),
    (lambda: dynamic.Conv2d(4, 6, 3, padding=1), IMAGE),
    (lambda: dynamic.Conv3d(4, 6, 2), VOLUME),
    (lambda: dynamic.ConvTranspose1d(4, 6, 3), SIGNAL),
    (lambda: dynamic.ConvTranspose2d(4, 6, 3), IMAGE),
    (lambda: dynamic.LSTM(8, 4), (5, 2, 8)),
    (lambda: dynamic.LSTM(8, 4, num_layers=2, bidirectional=True, batch_first=True), (2, 5, 8)),
    (lambda: dynamic.LSTM(8, 4, dtype=HALF), (5, 2, 8)),
    (lambda: dynamic.GRU(8, 4, num_layers=2, bidirectional=True), (5, 2, 8)),
    (lambda: dynamic.GRU(8, 4, dtype=HALF), (5, 2, 8)),
    (lambda: dynamic.LSTMCell(8, 4), ROWS),
    (lambda: dynamic.GRUCell(8, 4), ROWS),
    (lambda: dynamic.RNNCell(8, 4), ROWS),
    (lambda: dynamic.RNNCell(8, 4, nonlinearity="relu", dtype=HALF), ROWS),
]  # fmt: skip
"""Layers that quantise what they are given."""


def name_of(case: Any) -> str:
    """A case's own words."""
    return "" if callable(case) else str(case)


def engine_of(layer: Callable[[], nn.Module]) -> str:
    """Transposed convolutions are packed for QNNPACK alone, fused tanh and leaky ReLU for oneDNN."""
    names = layer.__code__.co_names
    transposed = any("Transpose" in name for name in names)
    return "qnnpack" if transposed else "onednn" if {"LinearTanh", "LinearLeakyReLU"} & set(names) else "x86"


def hold(model: nn.Module, inputs: Any, layers: int) -> costmodel.Profile:
    """Every layer is derived twice, and both agree."""
    p = costmodel.profile(model, inputs)
    check = p.crosscheck()
    assert p.is_exact, (p.coverage.unknown, p.coverage.bounds)
    assert check.mismatches == []
    assert (check.checked, check.traced_only) == (layers, ())
    return p


@pytest.mark.parametrize(("layer", "shape"), STATIC, ids=name_of)
def test_layers_of_quantised_tensors_are_derived_twice(layer: Any, shape: Any) -> None:
    """From their own attributes and from what torch ran: shape, params, MACs, FLOPs and traffic agree."""
    with engine(engine_of(layer)):
        hold(Static(layer()), shape, layers=3)


@pytest.mark.parametrize(("layer", "shape"), DYNAMIC, ids=name_of)
def test_dynamic_layers_are_derived_twice(layer: Any, shape: Any) -> None:
    """On meta tensors, and on real ones."""
    with engine(engine_of(layer)):
        p = hold(nn.Sequential(layer()), shape, layers=1)
        assert p.execution == "meta"
        real = costmodel.profile(nn.Sequential(layer()), shape, execution="real")
    assert (real.macs, real.flops, real.memory_access) == (p.macs, p.flops, p.memory_access)
    assert [op.outputs[0].shape for op in real.graph.ops] == [op.outputs[0].shape for op in p.graph.ops]


def test_recurrent_layers_take_states() -> None:
    """Those that are given are read, and none is made."""
    h = (1, 2, 4)
    with engine("x86"):
        hold(dynamic.LSTM(8, 4), ((5, 2, 8), ((1, 2, 4), (1, 2, 4))), layers=1)
        hold(dynamic.GRU(8, 4), ((5, 2, 8), h), layers=1)
        hold(dynamic.LSTMCell(8, 4), ((2, 8), ((2, 4), (2, 4))), layers=1)
        hold(dynamic.GRUCell(8, 4), ((2, 8), (2, 4)), layers=1)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
def test_recurrent_layers_drop_out_between_their_layers(layer: Any, mode: Any) -> None:
    """In training: two multiplications for each of 6 states of 3 samples in 5 steps, between 3 layers."""
    flops = []
    with engine("x86"):
        for dropout in (0.0, 0.4):
            model = quantization.quantize_dynamic(nn.Sequential(layer(4, 6, 3, dropout=dropout)), {layer})
            p = costmodel.profile(model, (5, 3, 4), mode=mode)
            check = p.crosscheck()
            assert (check.checked, check.mismatches) == (1, [])
            flops.append(p.flops)
    assert flops[1] - flops[0] == (2 * 2 * 5 * 3 * 6 if mode == "train" else 0)


def test_a_convolution_with_a_fused_addition_is_derived_twice() -> None:
    """The other summand is dequantised, and added."""
    with engine("onednn"):
        for kind in (fused.ConvAdd2d, fused.ConvAddReLU2d):
            hold(Static(kind(4, 4, 3, padding=1), inputs=2), (IMAGE, IMAGE), layers=4)


@pytest.mark.parametrize(("dtype", "row"), [(torch.quint8, 4 + 8), (torch.quint4x2, 2 + 8)])
def test_quantised_embeddings(dtype: torch.dtype, row: int) -> None:
    """Rows of 4 features, in bytes or halves of bytes, with 8 bytes of a scale and a zero point."""
    indices = costmodel.Input((2, 3), torch.int64)
    with engine("x86"):
        rows = torch.quantize_per_channel(torch.rand(10, 4), torch.rand(10), torch.rand(10), 0, dtype)
        bag = static.EmbeddingBag(10, 4, mode="sum", dtype=dtype, _weight=rows)
        p = hold(bag, indices, layers=1)
        assert (p.params, p.params_bytes) == (40, 10 * row)
        # 6 rows of 4 features, dequantised and added in threes; 6 indices of 8 bytes; 2 x 4 floats.
        assert p.flops == 2 * 24 + 16
        assert p.memory_access_bytes == 6 * row + 6 * 8 + 8 * 4
        table = hold(static.Embedding(10, 4, dtype=dtype, _weight=rows), indices, layers=1)
        assert (table.flops, table.memory_access) == (48, 6 + 24 + 24)


class Residual(nn.Module):
    """What quantisation is made for: convolutions, a residual, a pool and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.sum, self.fc = static.FloatFunctional(), nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of images."""
        x = self.conv1(self.quant(x))
        x = self.sum.add_relu(x, self.conv2(x))
        y: torch.Tensor = self.dequant(self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1)))
        return y


# (27 + 36) products for each of 4 channels of 64 positions, and 40.
MACS = (27 + 36) * 4 * 64 + 40


@pytest.mark.parametrize("trained", [False, True])
def test_a_network_that_was_converted_in_eager_mode(trained: bool) -> None:
    """After calibration or quantisation-aware training: MACs and params are those of the network, its norms folded."""
    with engine("x86"):
        model = Residual().train(trained)
        fuse = quantization.fuse_modules_qat if trained else quantization.fuse_modules
        fuse(model, [["conv1.0", "conv1.1", "conv1.2"]], inplace=True) if trained else None
        if trained:
            model.qconfig = quantization.get_default_qat_qconfig("x86")
            quantization.prepare_qat(model, inplace=True)
        else:
            model = quantization.fuse_modules(model, [["conv1.0", "conv1.1", "conv1.2"]])
            model.qconfig = quantization.get_default_qconfig("x86")
            quantization.prepare(model, inplace=True)
        model(torch.rand(2, 3, 8, 8))
        if trained:
            observed = costmodel.profile(model, (1, 3, 8, 8))
            assert observed.is_exact
            assert observed.macs == MACS
        converted = quantization.convert(model.eval())
        p = costmodel.profile(converted, (1, 3, 8, 8))
    assert p.is_exact
    assert p.crosscheck().ok
    assert p.macs == MACS
    assert p.params == (108 + 4) + (144 + 4) + (40 + 10)
    assert p.params_bytes == (108 + 4 * 16) + 16 + (144 + 4 * 16) + 16 + (40 + 10 * 16) + 40
    assert p.active_params == p.params


def test_a_network_that_was_converted_by_its_graph() -> None:
    """FX's graph mode: the same layers, and functions of quantised tensors beside them."""
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    x = torch.rand(1, 3, 8, 8)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)).eval()
    with engine("x86"):
        prepared = prepare_fx(model, quantization.get_default_qconfig_mapping("x86"), (x,))
        prepared(x)
        p = costmodel.profile(convert_fx(prepared), x)
    assert p.is_exact
    assert p.crosscheck().ok
    assert (p.macs, p.params) == (27 * 4 * 64 + 2560, 112 + 2570)


def test_every_quantised_layer_of_torch_has_a_closed_form() -> None:
    """Those of torch.ao.nn that hold weights or are functions of one tensor, but for a list with reasons."""
    every = {
        kind
        for source in (static, dynamic, fused, fused_dynamic)
        for kind in vars(source).values()
        if isinstance(kind, type) and issubclass(kind, nn.Module) and kind.__module__.startswith("torch.ao.nn")
    }
    without = {kind for kind in every if kind not in TYPES}
    assert {kind.__name__ for kind in without} == set(WITHOUT)


WITHOUT = {
    "Dropout": "runs nothing: quantised models are not trained",
    "FloatFunctional": "called by its methods, which are no calls of a module",
    "FXFloatFunctional": "likewise",
    "QFunctional": "likewise",
    "LSTM": "made of layers that have closed forms: the quantised one steps through linear layers",
    "MultiheadAttention": "likewise, and of batched products",
    "PReLU": "its weight is a plain attribute",
}
