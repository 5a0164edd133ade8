"""Layers against torch: shapes, parameters, buffers, and the elements that its kernels read and write."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from costmodel import formulas as f
from costmodel.quantities import Work
from tests.formulas.oracles import elements, run

X = (2, 6, 8, 10)
MAP = {"channels": 6, "size": (8, 10), "batch": 2}

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...], f.LayerCost]] = {
    "linear": (nn.Linear(6, 4), (5, 6), f.linear(in_features=6, out_features=4, rows=5)),
    "linear, three dims": (nn.Linear(6, 4), (5, 3, 6), f.linear(in_features=6, out_features=4, rows=(5, 3))),
    "linear, no bias": (
        nn.Linear(6, 4, bias=False),
        (5, 2, 3, 6),
        f.linear(in_features=6, out_features=4, rows=(5, 2, 3), bias=False),
    ),
    "batch norm": (nn.BatchNorm2d(6), X, f.batch_norm(**MAP)),
    "batch norm, 2-d input": (nn.BatchNorm1d(6), (5, 6), f.batch_norm(channels=6, batch=5)),
    "batch norm, plain": (nn.BatchNorm2d(6, affine=False), X, f.batch_norm(**MAP, affine=False)),
    "batch norm, untracked": (
        nn.BatchNorm2d(6, track_running_stats=False),
        X,
        f.batch_norm(**MAP, track_running_stats=False),
    ),
    "batch norm, training": (nn.BatchNorm2d(6).train(), X, f.batch_norm(**MAP, training=True)),
    "batch norm, training untracked": (
        nn.BatchNorm2d(6, track_running_stats=False).train(),
        X,
        f.batch_norm(**MAP, training=True, track_running_stats=False),
    ),
    "layer norm": (nn.LayerNorm((8, 10)), X, f.layer_norm(normalized_shape=(8, 10), rows=(2, 6))),
    "layer norm, no bias": (
        nn.LayerNorm(10, bias=False),
        X,
        f.layer_norm(normalized_shape=10, rows=(2, 6, 8), bias=False),
    ),
    "layer norm, plain": (
        nn.LayerNorm(10, elementwise_affine=False),
        X,
        f.layer_norm(normalized_shape=10, rows=(2, 6, 8), affine=False),
    ),
    "group norm": (nn.GroupNorm(3, 6), X, f.group_norm(**MAP, groups=3)),
    "rms norm": (nn.RMSNorm(10), X, f.rms_norm(normalized_shape=10, rows=(2, 6, 8))),
    "rms norm, plain": (
        nn.RMSNorm((8, 10), elementwise_affine=False),
        X,
        f.rms_norm(normalized_shape=(8, 10), rows=(2, 6), affine=False),
    ),
    "instance norm": (nn.InstanceNorm2d(6), X, f.instance_norm(**MAP)),
    "instance norm, affine": (nn.InstanceNorm2d(6, affine=True), X, f.instance_norm(**MAP, affine=True)),
    "instance norm, tracked": (
        nn.InstanceNorm2d(6, affine=True, track_running_stats=True),
        X,
        f.instance_norm(**MAP, affine=True, track_running_stats=True),
    ),
    "instance norm, tracked in training": (
        nn.InstanceNorm2d(6, affine=True, track_running_stats=True).train(),
        X,
        f.instance_norm(**MAP, affine=True, track_running_stats=True, training=True),
    ),
    "local response": (nn.LocalResponseNorm(5), X, f.local_response_norm(**MAP, local_size=5)),
    "local response, even": (
        nn.LocalResponseNorm(4),
        (2, 6, 8),
        f.local_response_norm(channels=6, size=(8,), batch=2, local_size=4),
    ),
    "max pool": (
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        X,
        f.max_pool(**MAP, kernel=3, stride=2, padding=1, ceil_mode=True, return_indices=True),
    ),
    "average pool": (nn.AvgPool2d((2, 3)), X, f.avg_pool(**MAP, kernel=(2, 3))),
    "average pool, 3-d": (
        nn.AvgPool3d(2, 1),
        (2, 6, 4, 5, 6),
        f.avg_pool(channels=6, size=(4, 5, 6), batch=2, kernel=2, stride=1),
    ),
    "adaptive average": (nn.AdaptiveAvgPool2d((3, None)), X, f.adaptive_avg_pool(**MAP, output_size=(3, None))),
    "global average": (nn.AdaptiveAvgPool2d(1), X, f.global_avg_pool(**MAP)),
    "power pool": (nn.LPPool2d(2, (2, 3)), X, f.lp_pool(**MAP, kernel=(2, 3))),
    "power pool, 1-d": (
        nn.LPPool1d(3, 2, 1),
        (2, 6, 8),
        f.lp_pool(channels=6, size=(8,), batch=2, kernel=2, stride=1, norm_type=3),
    ),
    "prelu": (nn.PReLU(6), X, f.activation(name="prelu", shape=X, num_parameters=6)),
    "tanhshrink": (nn.Tanhshrink(), X, f.activation(name="tanhshrink", shape=X)),
    "softsign": (nn.Softsign(), X, f.activation(name="softsign", shape=X)),
    "softmin": (nn.Softmin(1), X, f.activation(name="softmin", shape=X, dim=1)),
    "softmax": (nn.Softmax(1), X, f.activation(name="softmax", shape=X, dim=1)),
    "log softmax": (nn.LogSoftmax(1), X, f.activation(name="log_softmax", shape=X, dim=1)),
    "glu": (nn.GLU(1), X, f.activation(name="glu", shape=X, dim=1)),
    "hardswish": (nn.Hardswish(), X, f.activation(name="hardswish", shape=X)),
    "logsigmoid": (nn.LogSigmoid(), X, f.activation(name="logsigmoid", shape=X)),
    "identity": (nn.Identity(), X, f.activation(name="identity", shape=X)),
    "flatten": (nn.Flatten(), X, f.view(shape=(2, 480))),
    "dropout": (nn.Dropout(), X, f.dropout(shape=X)),
    "upsample, nearest": (nn.Upsample(scale_factor=2), X, f.upsample(**MAP, factor=2)),
    "upsample, bilinear": (
        nn.Upsample((9, 7), mode="bilinear"),
        X,
        f.upsample(**MAP, output_size=(9, 7), mode="bilinear"),
    ),
    "pixel unshuffle": (nn.PixelUnshuffle(2), X, f.pixel_unshuffle(**MAP, factor=2)),
    "pixel shuffle": (
        nn.PixelShuffle(2),
        (2, 8, 4, 4),
        f.pixel_shuffle(channels=8, size=(4, 4), batch=2, factor=2),
    ),
    "channel shuffle": (nn.ChannelShuffle(3), X, f.channel_shuffle(**MAP, groups=3)),
    "reflection pad": (nn.ReflectionPad2d((1, 2, 3, 0)), X, f.pad(**MAP, before=(3, 1), after=(0, 2))),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_torchs(name: str) -> None:
    """Shape, parameters, buffers and traffic agree with the module."""
    module, shape, cost = LAYERS[name]
    if "training" not in name:
        module = module.eval()
    y, kernels = run(module, torch.rand(shape))
    assert cost.output_shape == y.shape
    assert (cost.params, cost.buffers) == (elements(module.parameters()), elements(module.buffers()))
    assert (cost.read, cost.written) == (kernels.read, kernels.written)
    assert cost.memory_access == cost.read + cost.written


@pytest.mark.parametrize("bias", [True, False])
def test_bilinear_is_torchs(bias: bool) -> None:
    """Two inputs, one tensor of weights, and the bias."""
    module = nn.Bilinear(3, 4, 5, bias=bias)
    y, kernels = run(module, torch.rand(7, 2, 3), torch.rand(7, 2, 4))
    cost = f.bilinear(in1_features=3, in2_features=4, out_features=5, bias=bias, rows=(7, 2))
    assert (cost.output_shape, cost.params) == (y.shape, elements(module.parameters()))
    assert (cost.read, cost.written) == (kernels.read, kernels.written)


def test_fractional_max_pooling_by_hand() -> None:
    """2 maps of 6 x 5, 3 x 2 windows of 2 x 2 in each: 3 comparisons a window; 2 random numbers a map, made first."""
    at = {"channels": 2, "size": (6, 5), "kernel": 2, "output_size": (3, 2)}
    cost = f.fractional_max_pool(**at)
    assert cost.work == Work(compares=2 * 6 * 3)
    assert (cost.read, cost.written) == (60 + 4, 12 + 12 + 4)
    assert f.fractional_max_pool(**at, samples_given=True).written == 12 + 12
    layer = nn.FractionalMaxPool2d(2, output_size=(3, 2))
    assert cost.output_shape == layer(torch.rand(1, 2, 6, 5)).shape
    volume = f.fractional_max_pool(channels=2, size=(4, 4, 4), kernel=(1, 2, 3), output_size=2, batch=3)
    assert volume.flops == 3 * 2 * 8 * 5
    assert volume.read == 3 * 2 * 64 + 3 * 2 * 3


def test_norms_of_a_batch_of_nothing_read_their_parameters_alone() -> None:
    """6 channels: weight and bias; statistics read, and in training written twice, with the counter of batches."""
    assert f.batch_norm(channels=6, size=(8,), batch=0).memory_access == 12 + 12
    cost = f.batch_norm(channels=6, size=(8,), batch=0, training=True)
    assert (cost.read, cost.written, cost.flops) == (12 + 12 + 1, 12 + 12 + 1, 1)
    for norm in (f.layer_norm(normalized_shape=6, rows=0), f.rms_norm(normalized_shape=(2, 6), rows=(3, 0))):
        assert (norm.memory_access, norm.flops) == (12, 0)


def test_embedding_reads_the_rows_it_looks_up() -> None:
    """One row an index is read and written, not the table."""
    module = nn.Embedding(50, 4)
    y, _ = run(module, torch.zeros(2, 3, dtype=torch.int64))
    cost = f.embedding(num_embeddings=50, embedding_dim=4, shape=(2, 3))
    assert (cost.output_shape, cost.params, cost.flops) == (y.shape, elements(module.parameters()), 0)
    assert (cost.read, cost.written) == (6 + 24, 24)


@pytest.mark.parametrize(("mode", "kind"), [("sum", "adds"), ("mean", "adds"), ("max", "compares")])
def test_embedding_bag_folds_its_rows(mode: str, kind: str) -> None:
    """A bag of five rows is folded in four steps; the mean divides too."""
    y, _ = run(nn.EmbeddingBag(50, 4, mode=mode), torch.zeros(3, 5, dtype=torch.int64))
    cost = f.embedding_bag(num_embeddings=50, embedding_dim=4, bags=3, bag_size=5, mode=mode)
    assert cost.output_shape == y.shape
    assert getattr(cost.work, kind) == 3 * 4 * 4
    assert cost.work.divides == (12 if mode == "mean" else 0)


ELEMENTWISE: dict[str, tuple[Any, f.LayerCost]] = {
    "add": (lambda x: x + x.clone(), f.copy(shape=X) + f.add(shape=X)),
    "multiply": (lambda x: x * x.clone(), f.copy(shape=X) + f.multiply(shape=X)),
    "gate": (
        lambda x: x * x.mean((2, 3), keepdim=True),
        f.global_avg_pool(**MAP) + f.multiply(shape=X, other=(2, 6, 1, 1)),
    ),
    "concat": (
        lambda x: torch.cat((x, x[:, :2], x.clone()), 1),
        f.copy(shape=X) + f.concat(channels=(6, 2, 6), size=(8, 10), batch=2),
    ),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_moves_what_torch_moves(name: str) -> None:
    """Sums, products, gates and concatenations read their operands and write their result."""
    function, cost = ELEMENTWISE[name]
    y, kernels = run(function, torch.rand(X))
    assert cost.output_shape == y.shape
    assert (cost.read, cost.written) == (kernels.read, kernels.written)


def test_dropout_draws_a_mask_in_training() -> None:
    """Mask and scale are multiplied, and the mask is written; with p = 0 nothing runs."""
    cost = f.dropout(shape=(4, 5), training=True)
    assert (cost.flops, cost.read, cost.written) == (40, 20, 40)
    assert f.dropout(shape=(4, 5), training=True, p=0).memory_access == 0


def test_dropout_in_place_is_three_kernels() -> None:
    """The mask is drawn (20 written), divided (20 and 20), multiplied onto x (40 and 20): two operations an element."""
    cost = f.dropout(shape=(4, 5), training=True, inplace=True)
    assert (cost.work, cost.read, cost.written) == (Work(multiplies=20, divides=20), 60, 60)


def test_norms_move_their_input_and_output_once() -> None:
    """Instance and root-mean-square norms are one kernel each: x, weights and y."""
    instance = f.instance_norm(**MAP, affine=True)
    rms = f.rms_norm(normalized_shape=10, rows=96)
    assert instance.work == f.group_norm(**MAP, groups=6).work
    assert rms.flops == 96 * 32 + 960
    assert (instance.memory_access, rms.memory_access) == (2 * 960 + 12, 2 * 960 + 10)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: f.activation(name="swoosh", shape=3), "name='swoosh' is unknown: choose one of identity, relu"),
        (lambda: f.group_norm(channels=6, groups=4), "channels=6 is not divisible by groups=4"),
        (lambda: f.upsample(**MAP, factor=2, mode="trilinear"), "works on 3 axes and size=.* has 2"),
        (lambda: f.upsample(**MAP), "give either factor or output_size"),
        (lambda: f.pixel_shuffle(**MAP, factor=2), r"channels=6 is not divisible by factor\*\*2=4"),
        (lambda: f.glu(shape=(3, 5)), r"shape\[-1\]=5 is not divisible by halves=2"),
        (lambda: f.rnn(input_size=1, hidden_size=1, length=1, nonlinearity="gelu"), "choose one of tanh, relu"),
        (lambda: f.embedding_bag(num_embeddings=1, embedding_dim=1, bags=1, bag_size=1, mode="min"), "sum, mean, max"),
        (lambda: f.linear(in_features=0, out_features=1), "in_features=0: must be at least 1"),
        (lambda: f.linear(in_features=2.5, out_features=1), "in_features=2.5: must be a whole number"),
        (lambda: f.linear(in_features="3", out_features=1), "in_features='3': must be a whole number"),
        (lambda: f.conv(c_in=1, c_out=1, kernel=3.0, size=(8,)), "must be a whole number"),
        (lambda: f.batch_norm(channels=8, size=(-1, 5)), "must be at least 1"),
        (lambda: f.concat(channels=(8, -3), size=(4, 4)), "must be at least 1"),
        (lambda: f.ghost_module(c_in=8, c_out=16, size=(8, 8), ratio=0), "ratio=0: must be at least 1"),
        (lambda: f.total([]), "layers is empty: a total needs at least one layer"),
    ],
)
def test_errors_name_argument_value_and_remedy(call: Any, text: str) -> None:
    """A concrete value that cannot be is refused with what to do."""
    with pytest.raises(ValueError, match=text):
        call()
