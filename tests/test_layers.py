"""Every layer type of torch.nn that has a closed form: both wings agree to the last integer."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel.formulas import activation
from costmodel.layers import USER_LAYERS
from costmodel.layers.capture import READERS
from tests._layer_types import TYPES
from tests.test_loss_layers import LOSS_CASES

B = (2, 6, 12, 10)
SEQUENCE = (2, 6, 9)
VOLUME = (1, 2, 5, 6, 7)
TOKENS = (4, 3, 5)
WORDS = costmodel.Input((2, 3), torch.int64)
BAGS = (costmodel.Input((7,), torch.int64), costmodel.Input((3,), torch.int64))


def without_bias(norm: nn.Module) -> nn.Module:
    """The same normalisation without its shift, as newer torch makes it with ``bias=False``."""
    norm.register_parameter("bias", None)
    return norm


LAYER_CASES: list[tuple[nn.Module, Any]] = [
    (nn.Conv1d(4, 6, 3, padding=1, groups=2), (2, 4, 9)),
    (nn.Conv2d(6, 4, 3, padding="same", dilation=2), B),
    (nn.Conv2d(6, 4, (4, 3), padding="same"), B),
    (nn.Conv2d(6, 4, 4, padding="valid"), B),
    (nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"), B),
    (nn.Conv2d(6, 4, 3, padding=(2, 1), padding_mode="circular"), B),
    (nn.Conv2d(6, 4, 4, padding="same", padding_mode="replicate"), B),
    (nn.Conv2d(6, 12, 3, stride=(2, 1), groups=6, bias=False), B),
    (nn.Conv2d(6, 4, 3), (6, 12, 10)),
    (nn.Conv3d(2, 4, 3, stride=2), (1, 2, 7, 8, 9)),
    (nn.ConvTranspose1d(6, 4, 3, 2), SEQUENCE),
    (nn.ConvTranspose2d(6, 4, 3, 2, 1, 1, groups=2), B),
    (nn.ConvTranspose2d(6, 4, 3, 2), (6, 12, 10)),
    (nn.ConvTranspose3d(2, 4, 3, 2), VOLUME),
    (nn.Linear(10, 4), (2, 3, 10)),
    (nn.Linear(10, 4, bias=False), (10,)),
    (nn.Bilinear(5, 6, 7), ((3, 5), (3, 6))),
    (nn.BatchNorm1d(6), (4, 6)),
    (nn.BatchNorm1d(6, affine=False), (4, 6, 5)),
    (nn.BatchNorm2d(6), B),
    (nn.BatchNorm2d(6, track_running_stats=False), B),
    (nn.BatchNorm3d(2, momentum=None), VOLUME),
    (nn.SyncBatchNorm(6), B),
    (without_bias(nn.BatchNorm1d(6)), (4, 6)),
    (without_bias(nn.BatchNorm2d(6, track_running_stats=False)), B),
    (without_bias(nn.BatchNorm3d(2, momentum=None)), VOLUME),
    (nn.LayerNorm((12, 10)), B),
    (nn.LayerNorm(10, bias=False), B),
    (nn.LayerNorm(10, elementwise_affine=False), B),
    (nn.GroupNorm(3, 6), B),
    (nn.GroupNorm(3, 6, affine=False), B),
    (nn.GroupNorm(3, 6), torch.ones(2, 12, 10, 6).movedim(-1, 1)),
    (nn.GroupNorm(3, 6), torch.ones(2, 10, 12, 6).transpose(1, 3)),
    *((norm, (0, 6, *size)) for norms, size in (
        ((nn.BatchNorm1d(6), nn.BatchNorm1d(6, track_running_stats=False)), ()),
        ((nn.BatchNorm2d(6, affine=False), nn.LayerNorm(10), nn.RMSNorm((12, 10))), (12, 10)),
        ((nn.BatchNorm3d(6, momentum=None),), (3, 4, 5)),
      ) for norm in norms),
    (without_bias(nn.GroupNorm(3, 6)), B),
    (nn.InstanceNorm1d(6), SEQUENCE),
    (without_bias(nn.InstanceNorm1d(6, affine=True)), SEQUENCE),
    (without_bias(nn.InstanceNorm2d(6, affine=True, track_running_stats=True)), B),
    (without_bias(nn.InstanceNorm3d(2, affine=True)), VOLUME),
    (nn.InstanceNorm2d(6, affine=True, track_running_stats=True), B),
    (nn.InstanceNorm3d(2), VOLUME),
    (nn.RMSNorm(10), B),
    (nn.RMSNorm(10, elementwise_affine=False), B),
    (nn.LocalResponseNorm(5), B),
    *((make(), B) for make in (
        nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.Mish,
        nn.Softplus, nn.Softsign, nn.Hardswish, nn.Hardsigmoid, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink,
        nn.LogSigmoid, nn.Identity, nn.GELU, nn.Softmax2d, nn.Dropout,
    )),
    (nn.ReLU(inplace=True), B),
    (nn.Dropout(0.2, inplace=True), B),
    *((drop(inplace=inplace), shape) for inplace in (False, True) for drop, shape in (
        (nn.Dropout1d, SEQUENCE), (nn.Dropout2d, B), (nn.Dropout3d, VOLUME), (nn.Dropout1d, (6, 9)),
        (nn.Dropout2d, (6, 12, 10)), (nn.Dropout3d, (2, 5, 6, 7)), (nn.Dropout2d, (6, 12)),
      )),
    (nn.GELU("tanh"), B),
    (nn.PReLU(6), B),
    (nn.PReLU(), B),
    (nn.Threshold(0.1, 2), B),
    (nn.Softmax(1), B),
    *((make(None), shape) for make in (nn.Softmax, nn.LogSoftmax, nn.Softmin) for shape in ((7,), (2, 7), SEQUENCE, B)),
    *((make(0), torch.ones(())) for make in (nn.Softmax, nn.LogSoftmax, nn.Softmin)),
    (nn.LogSoftmax(-1), B),
    (nn.Softmin(1), B),
    (nn.GLU(1), B),
    (nn.MaxPool1d(2), SEQUENCE),
    (nn.MaxPool2d(3, 2, 1), B),
    (nn.MaxPool2d(3, 2, 1, ceil_mode=True, return_indices=True), B),
    (nn.MaxPool2d(2), (6, 12, 10)),
    (nn.MaxPool3d(2), VOLUME),
    (nn.AvgPool1d(3), SEQUENCE),
    (nn.AvgPool2d(3, 2, 1, ceil_mode=True), B),
    (nn.AvgPool3d(2), VOLUME),
    (nn.AdaptiveAvgPool1d(4), SEQUENCE),
    (nn.AdaptiveAvgPool2d(1), B),
    (nn.AdaptiveAvgPool2d((5, 7)), B),
    (nn.AdaptiveAvgPool2d((None, 3)), B),
    (nn.AdaptiveAvgPool3d(2), VOLUME),
    (nn.AdaptiveMaxPool1d(4, return_indices=True), SEQUENCE),
    (nn.AdaptiveMaxPool2d((5, 7)), B),
    (nn.AdaptiveMaxPool3d(2), VOLUME),
    (nn.FractionalMaxPool2d(2, output_size=(3, 4)), B),
    (nn.FractionalMaxPool2d((2, 3), output_ratio=0.4, return_indices=True), (6, 12, 10)),
    (nn.FractionalMaxPool2d(2, output_size=3, _random_samples=torch.rand(2, 6, 2)), B),
    (nn.FractionalMaxPool3d(2, output_ratio=(0.5, 0.3, 0.4)), VOLUME),
    (nn.LPPool1d(2, 3), SEQUENCE),
    (nn.LPPool2d(2, 3), B),
    (nn.LPPool3d(2, 2), VOLUME),
    (nn.LSTM(5, 7, 2, bidirectional=True), TOKENS),
    (nn.LSTM(5, 7, batch_first=True, proj_size=3), TOKENS),
    (nn.LSTM(5, 7), (TOKENS, ((1, 3, 7), (1, 3, 7)))),
    (nn.LSTM(5, 7, 2, dropout=0.5), TOKENS),
    (nn.GRU(5, 7, 2), TOKENS),
    (nn.GRU(5, 7), (4, 5)),
    (nn.RNN(5, 7, nonlinearity="relu", bias=False), TOKENS),
    *((cell(5, 7, bias), inputs) for cell in (nn.RNNCell, nn.GRUCell) for bias in (True, False)
      for inputs in ((3, 5), (5,), ((3, 5), (3, 7)), ((5,), (7,)))),
    *((nn.LSTMCell(5, 7, bias), inputs) for bias in (True, False)
      for inputs in ((3, 5), (5,), ((3, 5), ((3, 7), (3, 7))), ((5,), ((7,), (7,))))),
    (nn.RNNCell(5, 7, nonlinearity="relu"), (3, 5)),
    (nn.Embedding(9, 4), WORDS),
    *((nn.Embedding(9, 4, max_norm=1.0, norm_type=p), WORDS) for p in (2.0, 1.0, 0.5, float("inf"))),
    (nn.Embedding(4, 3, max_norm=1.0), WORDS),
    *((nn.EmbeddingBag(9, 4, mode=mode), inputs) for mode in ("mean", "sum", "max") for inputs in (WORDS, BAGS)),
    (nn.EmbeddingBag(9, 4, mode="sum", include_last_offset=True), BAGS),
    (nn.EmbeddingBag(9, 4, mode="sum"), (*BAGS, (7,))),
    (nn.EmbeddingBag(9, 4, mode="sum"), {"input": WORDS, "per_sample_weights": (2, 3)}),
    (nn.EmbeddingBag(9, 4, max_norm=1.0), WORDS),
    (nn.Upsample(scale_factor=2), B),
    (nn.Upsample(scale_factor=2, mode="linear"), SEQUENCE),
    (nn.Upsample(scale_factor=2, mode="bilinear"), B),
    (nn.Upsample(size=(7, 9), mode="bicubic"), B),
    (nn.Upsample(scale_factor=1.5, mode="nearest-exact"), B),
    (nn.Upsample(scale_factor=2, mode="trilinear"), VOLUME),
    (nn.UpsamplingBilinear2d(scale_factor=2), B),
    (nn.UpsamplingNearest2d(size=(5, 6)), B),
    (nn.PixelShuffle(2), (2, 8, 4, 4)),
    (nn.PixelUnshuffle(2), B),
    (nn.PixelShuffle(2), (8, 3, 4)),
    (nn.PixelUnshuffle(2), (2, 3, 5, 4, 6)),
    (nn.ChannelShuffle(2), SEQUENCE),
    (nn.ChannelShuffle(2), VOLUME),
    (nn.Unfold((2, 3), stride=2, padding=1), B),
    (nn.Unfold(3, dilation=2), (6, 12, 10)),
    (nn.Fold((4, 5), (2, 2)), (2, 12, 12)),
    (nn.Fold((4, 5), 2, stride=2, padding=1), (12, 9)),
    (nn.MaxUnpool1d(2), (SEQUENCE, costmodel.Input(SEQUENCE, torch.int64))),
    (nn.MaxUnpool2d(2, stride=3, padding=1), (B, costmodel.Input(B, torch.int64))),
    (nn.MaxUnpool2d((2, 3)), (B[1:], costmodel.Input(B[1:], torch.int64))),
    (nn.MaxUnpool3d(2), (VOLUME, costmodel.Input(VOLUME, torch.int64))),
    *((nn.PairwiseDistance(p, keepdim=keep), (shape, shape)) for p, keep, shape in (
        (2.0, False, (5, 7)), (1.0, True, (5, 7)), (3.0, False, (7,)), (float("inf"), False, (4, 5, 7)),
      )),
    (nn.ChannelShuffle(3), B),
    (nn.Flatten(), B),
    (nn.Unflatten(1, (2, -1)), B),
    (nn.ConstantPad1d(2, 1.0), SEQUENCE),
    (nn.ConstantPad2d(2, 1.0), B),
    (nn.ConstantPad3d(2, 1.0), VOLUME),
    (nn.ZeroPad1d(1), SEQUENCE),
    (nn.ZeroPad2d((1, 2, 3, 4)), B),
    (nn.ZeroPad3d(1), VOLUME),
    (nn.ReflectionPad1d(1), SEQUENCE),
    (nn.ReflectionPad2d(1), B),
    (nn.ReflectionPad3d(1), VOLUME),
    (nn.ReplicationPad1d(1), SEQUENCE),
    (nn.ReplicationPad2d(1), B),
    (nn.ReplicationPad3d(1), VOLUME),
    (nn.CircularPad1d((1, 2)), SEQUENCE),
    (nn.CircularPad2d((1, 2, 0, 3)), B),
    (nn.CircularPad3d((1, 0, 0, 2, 2, 1)), VOLUME),
    *((pad(1), shape) for pads, shape in (
        ((nn.ZeroPad1d, nn.ReflectionPad1d, nn.ReplicationPad1d, nn.CircularPad1d), (6, 9)),
        ((nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d), (6, 12, 10)),
        ((nn.ZeroPad3d, nn.ReflectionPad3d, nn.ReplicationPad3d, nn.CircularPad3d), (2, 5, 6, 7)),
      ) for pad in pads),
    (nn.ConstantPad1d(2, 1.0), (9,)),
    (nn.ConstantPad2d((1, -2, 3, 0), 1.0), (2, 3, 4, 9, 9)),
    (nn.MultiheadAttention(8, 2, kdim=6, vdim=4), ((5, 2, 8), (7, 2, 6), (7, 2, 4))),
    (nn.MultiheadAttention(8, 2, bias=False), ((5, 2, 8), (7, 2, 8), (7, 2, 8))),
]  # fmt: skip

COMPLEX_CASES: list[tuple[nn.Module, Any]] = [
    (nn.Conv1d(4, 6, 3, padding=1, groups=2), (2, 4, 9)),
    (nn.Conv2d(6, 12, 3, stride=(2, 1), groups=6, bias=False), B),
    (nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"), B),
    (nn.Conv2d(6, 4, 3, padding="same", dilation=2), B),
    (nn.Conv2d(6, 4, (4, 3), padding="same"), B),
    (nn.Conv2d(6, 4, 4, padding="valid", stride=2), B),
    (nn.Conv1d(4, 6, 4, padding="same"), (4, 9)),
    (nn.Conv2d(6, 4, 3), (6, 12, 10)),
    (nn.Conv3d(2, 4, 3, stride=2), (1, 2, 7, 8, 9)),
    (nn.ConvTranspose1d(6, 4, 3, 2), SEQUENCE),
    (nn.ConvTranspose2d(6, 4, 3, 2, 1, 1, groups=2), B),
    (nn.ConvTranspose2d(6, 4, 3, 2), (6, 12, 10)),
    (nn.ConvTranspose3d(2, 4, 3, 2), VOLUME),
    (nn.Linear(10, 4), (2, 3, 10)),
    (nn.Linear(10, 4, bias=False), (10,)),
    (nn.Bilinear(5, 6, 7), ((3, 5), (3, 6))),
    (nn.RMSNorm(10), B),
    (nn.RMSNorm(10, elementwise_affine=False), B),
    *((make(), B) for make in (nn.Sigmoid, nn.Tanh, nn.SiLU, nn.Tanhshrink, nn.Identity)),
    (nn.AdaptiveAvgPool2d(1), B),
    (nn.LSTM(5, 7, 2, bidirectional=True), TOKENS),
    (nn.LSTM(5, 7, batch_first=True, proj_size=3), TOKENS),
    (nn.GRU(5, 7, 2), TOKENS),
    (nn.GRU(5, 7), (4, 5)),
    (nn.RNN(5, 7), TOKENS),
    *((cell(5, 7), shape) for cell in (nn.RNNCell, nn.GRUCell, nn.LSTMCell) for shape in ((3, 5), (5,))),
    (nn.PixelShuffle(2), (2, 8, 4, 4)),
    (nn.ChannelShuffle(3), B),
    (nn.Flatten(), B),
    (nn.ConstantPad2d(2, 1.0), B),
    (nn.ReflectionPad2d(1), B),
]  # fmt: skip
"""Every type of layer that computes, and some that move, of those that torch has for complex numbers."""

IDLE_AT_INFERENCE: list[tuple[nn.Module, Any]] = [
    (nn.AlphaDropout(), B),
    (nn.FeatureAlphaDropout(), VOLUME),
    (nn.RReLU(), B),
]
"""Layers whose closed form is that of inference alone."""


def check(model: nn.Module, inputs: Any, mode: Any = "eval") -> None:
    """One layer, every op of it known, agrees in every quantity."""
    p = costmodel.profile(model, inputs, mode=mode)
    verdict = p.crosscheck()
    assert p.is_exact, p.coverage.unknown
    assert verdict.checked == 1
    assert verdict.mismatches == []


# torch says that it pads beforehand, as both derivations do; and that a softmax had better name its axis.
@pytest.mark.filterwarnings(
    "ignore:Using padding=.same.", "ignore:Implicit dimension choice", "ignore:dropout2d. Received a"
)
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(("model", "inputs"), LAYER_CASES, ids=lambda v: str(v).partition("\n")[0][:60])
def test_closed_form_and_trace_agree(model: nn.Module, inputs: Any, mode: Any) -> None:
    """Output shape, parameters, MACs, FLOPs and memory access are the same from hyper-parameters and from the trace."""
    check(model, inputs, mode)


def as_complex(shapes: Any) -> Any:
    """Inputs of complex numbers."""
    if isinstance(shapes[0], int):
        return costmodel.Input(shapes, torch.complex64)
    return tuple(map(as_complex, shapes))


@pytest.mark.filterwarnings("ignore:Using padding=.same.", "ignore:Complex modules are a new feature")
@pytest.mark.parametrize("execution", ["meta", "real"])
@pytest.mark.parametrize(("model", "inputs"), COMPLEX_CASES, ids=lambda v: str(v).partition("\n")[0][:60])
def test_closed_form_and_trace_agree_on_complex_numbers(model: nn.Module, inputs: Any, execution: Any) -> None:
    """Both wings count operations on real numbers, four MACs for a complex one, on meta and in a real run."""
    real = costmodel.profile(model, inputs)
    model = copy.deepcopy(model).to(torch.complex64)
    p = costmodel.profile(model, as_complex(inputs), execution=execution)
    verdict = p.crosscheck()
    assert p.is_exact, p.coverage.unknown
    assert verdict.checked == 1
    assert verdict.mismatches == []
    assert p.execution == execution
    assert p.macs == 4 * real.macs
    assert p.memory_access == real.memory_access
    assert p.memory_access_bytes == 2 * real.memory_access_bytes


def test_softsign_of_complex_numbers_takes_real_absolute_values() -> None:
    """|z| and 1 + |z| have 4 bytes an element, z and z / (1 + |z|) have 8; the quotient is one of complex numbers."""
    p = costmodel.profile(nn.Softsign(), costmodel.Input((5,), torch.complex64))
    assert p.crosscheck().ok
    assert p.memory_access_bytes == 5 * ((8 + 4) + (4 + 4) + (8 + 4 + 8))
    assert p.flops == 5 * (4 + 1 + 11)


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_an_embedding_of_complex_vectors_moves_twice_the_bytes() -> None:
    """Of 6 indices of 8 bytes, and rows of 4 complex numbers read and written."""
    p = costmodel.profile(nn.Embedding(9, 4, dtype=torch.complex64), WORDS)
    assert p.crosscheck().ok
    assert p.memory_access_bytes == 6 * 8 + 2 * 6 * 4 * 8
    assert p.flops == 0


@pytest.mark.parametrize(("model", "inputs"), IDLE_AT_INFERENCE, ids=lambda v: str(v)[:40])
def test_layers_of_training_agree_at_inference(model: nn.Module, inputs: Any) -> None:
    """Layers that draw random numbers in training have a closed form at inference, and say that they have none else."""
    check(model, inputs)
    assert costmodel.profile(model, inputs, mode="train").crosscheck().checked == 0


class Attends(nn.Module):
    """Self-attention with masks."""

    def __init__(self, batch_first: bool, need_weights: bool, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first, dropout=dropout)
        self.need_weights = need_weights

    def forward(self, x: torch.Tensor, **masks: torch.Tensor) -> Any:
        return self.attention(x, x, x, need_weights=self.need_weights, **masks)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(
    "masks",
    [
        {},
        {"attn_mask": costmodel.Input((5, 5), torch.bool)},
        {"attn_mask": costmodel.Input((4, 5, 5))},
        {"key_padding_mask": costmodel.Input((2, 5), torch.bool)},
        {"attn_mask": costmodel.Input((5, 5)), "key_padding_mask": costmodel.Input((2, 5))},
    ],
    ids=lambda m: "+".join(m) or "none",
)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_attention_agrees_with_every_mask(
    batch_first: bool, need_weights: bool, dropout: float, masks: dict[str, Any]
) -> None:
    """Multi-head attention agrees in both layouts, with and without its weights and dropout, under every mask."""
    check(Attends(batch_first, need_weights, dropout), {"x": (2, 5, 8) if batch_first else (5, 2, 8), **masks})


class Repeats(nn.Module):
    """A layer that is given one tensor in several places."""

    def __init__(self, layer: nn.Module, *, nested: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self.nested = nested

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> Any:
        twice = x if y is None else y
        return self.layer(x, (twice, twice)) if self.nested else self.layer(x, twice)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (Repeats(nn.Bilinear(5, 5, 7)), (2, 3, 5)),
        (Repeats(nn.Bilinear(5, 5, 7, bias=False)), (5,)),
        (Repeats(nn.LSTM(5, 7), nested=True), (TOKENS, (1, 3, 7))),
        (Repeats(nn.LSTM(7, 7), nested=True), (1, 3, 7)),
        (Repeats(nn.LSTM(5, 7, 2, bidirectional=True), nested=True), ((4, 5), (4, 7))),
        (Repeats(nn.GRU(7, 7)), (1, 3, 7)),
        (Repeats(nn.RNN(7, 7, batch_first=True)), (1, 1, 7)),
    ],
    ids=str,
)
def test_a_tensor_given_twice_is_read_once(model: nn.Module, inputs: Any) -> None:
    """Where a layer is given one tensor in two places, its kernel reads it once, and the closed form agrees."""
    check(model, inputs)


class Relates(nn.Module):
    """Attention of a sequence to itself, to another one, or with keys and values of their own."""

    def __init__(self, width: int, heads: int, *, need_weights: bool, batch_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout=0.1, batch_first=batch_first)
        self.need_weights = need_weights

    def forward(self, q: torch.Tensor, k: torch.Tensor | None = None, v: torch.Tensor | None = None) -> Any:
        k = q if k is None else k
        return self.attention(q, k, k if v is None else v, need_weights=self.need_weights)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(("width", "heads"), [(7, 7), (8, 2), (4, 1), (1, 1)])
def test_attention_of_small_sizes_raises_no_false_alarm(
    width: int, heads: int, mode: Any, need_weights: bool, batch_first: bool
) -> None:
    """Sizes of 1 decide what torch copies, in some versions other than in others; every combination agrees."""
    model = Relates(width, heads, need_weights=need_weights, batch_first=batch_first)
    for batch, queries, keys, tensors in product((1, 2), (1, 5), (1, 6), (1, 2, 3)):
        sizes = (queries, keys, keys)[:tensors]
        shapes = [(batch, n, width) if batch_first else (n, batch, width) for n in sizes]
        verdict = costmodel.profile(model, shapes[0] if tensors == 1 else tuple(shapes), mode=mode).crosscheck()
        assert verdict.mismatches == [], (batch, queries, keys, tensors)
        assert verdict.checked == 1, (batch, queries, keys, tensors)


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_attention_to_further_keys_agrees_under_masks(mode: Any, batch: int, kind: torch.dtype) -> None:
    """A learnt key, a zero key, masks that repeat themselves in memory, no batch dimension: nothing is traced only."""
    rows = (batch,) if batch else ()
    causal = torch.zeros(1, 5).to(kind).expand(5, 5)
    padding = torch.zeros(*rows, 5).to(kind)
    for bias_kv, zeros, need_weights, masks in product(
        (True, False), (True, False), (True, False),
        ({}, {"attn_mask": causal}, {"key_padding_mask": padding}, {"attn_mask": causal, "key_padding_mask": padding}),
    ):  # fmt: skip
        layer = nn.MultiheadAttention(
            6, 3, add_bias_kv=bias_kv, add_zero_attn=zeros, batch_first=True, bias=zeros, dropout=0.1 * bias_kv
        )
        x = torch.zeros(*rows, 5, 6)
        verdict = costmodel.crosscheck(layer, costmodel.call(x, x, x, need_weights=need_weights, **masks), mode=mode)
        assert (verdict.checked, verdict.mismatches) == (1, []), (bias_kv, zeros, need_weights, masks)


def test_a_padding_mask_that_repeats_itself_is_no_false_alarm() -> None:
    """Whether a float mask that all samples share is copied for each head is seen in memory, not in shapes."""
    x, padding = torch.zeros(2, 5, 6), torch.zeros(5).expand(2, 5)
    call = costmodel.call(x, x, x, key_padding_mask=padding)
    verdict = costmodel.crosscheck(nn.MultiheadAttention(6, 3, batch_first=True), call)
    assert (verdict.mismatches, verdict.traced_only) == ([], ("MultiheadAttention",))


def test_every_layer_type_is_tested() -> None:
    """A layer type of torch.nn has a case here; ``test_composites.py`` and ``test_quantised_layers.py`` have others."""
    cases = (*LAYER_CASES, *IDLE_AT_INFERENCE, *LOSS_CASES)
    leaves = {t.__name__ for t, layer in TYPES.items() if not layer.is_composite and "torch.nn." in t.__module__}
    assert leaves == {type(model).__name__ for model, _ in cases}


def test_a_layer_that_was_changed_has_no_closed_form() -> None:
    """A subclass with a forward of its own, a replaced forward, a parametrised weight: traced only, no false alarm."""

    class Padded(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(nn.functional.pad(x, (1, 1, 1, 1)))

    replaced = nn.Linear(4, 4)
    replaced.forward = lambda x: x * 2  # type: ignore[method-assign]  # what some libraries do
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    for model, inputs in ((Padded(3, 4, 3), (1, 3, 8, 8)), (replaced, (2, 4)), (normed, (2, 4))):
        verdict = costmodel.profile(model, inputs).crosscheck()
        assert verdict.checked == 0
        assert verdict.traced_only


def test_a_subclass_that_only_changes_its_making_keeps_the_closed_form() -> None:
    """A subclass with the inherited forward is priced as its base."""

    class Pointwise(nn.Conv2d):
        def __init__(self, c_in: int, c_out: int) -> None:
            super().__init__(c_in, c_out, 1)

    check(Pointwise(3, 5), (1, 3, 4, 4))


def test_a_user_can_add_a_closed_form() -> None:
    """``register_layer`` gives a module of one's own a closed form, and the trace is held against it."""

    class Swish(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.silu(x)

    @costmodel.register_layer(Swish)
    def swish(module: Swish, shape: tuple[int, ...]) -> costmodel.LayerCost:
        return activation(name="silu", shape=shape)

    try:
        check(Swish(), (2, 5))
    finally:
        del USER_LAYERS[Swish]
        READERS.clear()


def test_a_closed_form_that_fails_is_named() -> None:
    """A user's function that raises is told of with its layer and input, and the model is left as it was."""

    class Swish(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.silu(x)

    @costmodel.register_layer(Swish)
    def swish(module: Swish, shape: tuple[int, ...]) -> costmodel.LayerCost:
        return activation(name="silu", shape=(module.missing,))  # type: ignore[arg-type]

    model = nn.Sequential(nn.Linear(4, 5), Swish())
    try:
        with pytest.raises(costmodel.InputError, match=r"Swish failed on .* float32\[2, 5\].*missing"):
            costmodel.profile(model, (2, 4))
        with pytest.raises(costmodel.ForwardError, match="layer '0'"):
            costmodel.profile(model, (2, 3))
    finally:
        del USER_LAYERS[Swish]
        READERS.clear()
    assert costmodel.profile(model, (2, 4)).macs == 2 * 4 * 5
