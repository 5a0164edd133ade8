"""Every network's closed form in training is what autograd runs and keeps, to the last integer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
import torch
from torch import nn

import costmodel.models as models
from costmodel import formulas as f
from costmodel.errors import InputError
from costmodel.formulas import BlockCost
from costmodel.models._blocks import ConvNormAct, InvertedResidual, SqueezeExcitation, named
from costmodel.models.closed import IN_TRAINING
from costmodel.models.ghostnet import GhostModule
from costmodel.models.googlenet import Inception, inception
from costmodel.models.resnet import basic_block, bottleneck
from costmodel.models.shufflenet_v1 import shuffle_unit
from costmodel.models.shufflenet_v2 import ShuffleUnit, downsampling_unit
from tests.formulas._backward import Real, real_network, traffic_of, work_of
from tests.models.test_sweeps import ONE_OF_EACH, axes_of

BATCH = 2
TRAINED: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in models.list_models() if name[:-1] != "efficientnet_b" or name[-1] in "04"),
    ("googlenet", {"aux": True, "resolution": 224}),
    ("inception_v3", {"aux": True, "resolution": 299}),
    ("resnet18", {"resolution": 97, "num_classes": 10}),
    ("resnet50", {"stride_in_1x1": True, "resolution": 193}),
    *(("shufflenet_v1", {"groups": g, "width": w, "resolution": 160}) for g, w in ((1, 0.25), (8, 1.5))),
    ("shufflenet_v2", {"width": 1.5, "resolution": 97}),
    *(("mobilenet_v2", {"width": w, "resolution": 96}) for w in (0.05, 0.35)),
    *((f"mobilenet_v3_{size}", {"width": 0.1, "resolution": 161}) for size in ("large", "small")),
    *(("ghostnet", {"width": w, "resolution": 225}) for w in (0.1, 1.3)),
    ("hybridsn", {"window": 10, "bands": 14}),
]


def same_as(real: Real, form: Any) -> None:
    """Work and traffic of both passes, and the bytes of the distinct tensors that are kept."""
    for name, ops in (("forward", real.forward), ("backward", real.ops)):
        work, traffic = work_of(ops), traffic_of(ops)
        found = [getattr(form, f"{name}_{quantity}") for quantity in ("macs", "flops", "memory_access")]
        assert found == [work.macs, work.flops, traffic.elements], name
    assert form.saved_bytes == sum(real.kept.values())


@pytest.mark.parametrize(("name", "arguments"), TRAINED)
def test_training_is_what_autograd_runs_and_keeps(name: str, arguments: dict[str, Any]) -> None:
    """Of the network as it is built, on images that need no gradient."""
    with torch.device("meta"):
        network = models.build(name, **arguments).train()
        image = torch.empty(BATCH, *network.example_inputs[1:])
    same_as(real_network(network, image), models.closed_form(name, batch=BATCH, training=True, **arguments))


def test_resnet18_keeps_44_398_080_bytes() -> None:
    """At batch 2 and 224 x 224, of which the image is 2 x 3 x 224 x 224 x 4, kept by the first convolution."""
    form = models.closed_form("resnet18", batch=2, training=True)
    assert form.saved_bytes == 44_398_080
    saved = dict(zip(form.layers["name"], form.layers["saved_bytes"], strict=True))
    assert saved["conv1.conv"] == 1_204_224
    assert sum(saved.values()) == form.saved_bytes
    # A ReLU's output, which the next convolution reads, is kept once.
    assert (saved["layer1.0.body.conv1.act"], saved["layer1.0.body.conv2.conv"]) == (2 * 64 * 56 * 56 * 4, 0)


def test_the_whole_is_the_sum_of_both_passes() -> None:
    """The forward does the work of train mode; totals and layers add up."""
    form, forward = models.closed_form("googlenet", training=True), models.closed_form("googlenet", mode="train")
    assert form.arguments["mode"] == "train"
    layers = form.layers
    for name in ("macs", "flops", "memory_access"):
        both = getattr(form, f"forward_{name}"), getattr(form, f"backward_{name}")
        assert both[0] == getattr(forward, name) or name == "memory_access"
        assert getattr(form, name) == sum(both) == layers[name].sum()
        assert layers[f"backward_{name}"].sum() == both[1]
    # Autograd's forward also writes the indices of max pools, and has three kernels for a dropout.
    written = {row.name: int(np.prod(row.output_shape)) for row in form.rows}
    both_rows = zip(form.rows, forward.rows, strict=True)
    more = {row.name: row.forward_memory_access - before.memory_access for row, before in both_rows}
    assert {name: n for name, n in more.items() if n} == {
        name: n * (3 if name == "dropout" else 1)
        for name, n in written.items()
        if name == "dropout" or (".pool" in name or name.startswith("pool"))
    }
    assert (form.params, form.buffers, form.activations) == (forward.params, forward.buffers, forward.activations)


def test_without_training_there_is_no_backward_pass() -> None:
    """Figures of a backward pass are None, and the tables have no columns for them."""
    form = models.closed_form("resnet18")
    assert not form.is_training
    assert {getattr(form, name) for name in IN_TRAINING} == {None}
    assert set(IN_TRAINING).isdisjoint(form.layers.columns)
    assert set(IN_TRAINING).isdisjoint(form.table.columns)
    assert set(IN_TRAINING) <= set(models.closed_form("resnet18", training=True).table.columns)


# -- sweeps and symbols -----------------------------------------------------------------------------------------------


def _figures(form: Any) -> list[Any]:
    return [getattr(form, name) for name in ("macs", *IN_TRAINING)]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_an_array_is_its_configurations(name: str) -> None:
    """Every element of a sweep is the network in training alone, layers that only some of them have among it."""
    axes = axes_of(name)
    points = [[values[i % len(values)] for values in axes.values()] for i in range(5)]
    arrays = {a: np.array(column) for a, column in zip(axes, zip(*points, strict=True), strict=True)}
    swept = _figures(models.closed_form(name, training=True, **arrays))
    for i, point in enumerate(points):
        alone = _figures(models.closed_form(name, training=True, **dict(zip(axes, point, strict=True))))
        assert [int(np.broadcast_to(total, (len(points),))[i]) for total in swept] == alone, point


N, CLASSES, SIZE = sympy.symbols("n c r", integer=True, positive=True)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_batch_and_classes_as_symbols(name: str) -> None:
    """Expressions for all batches and classes; put in, the numbers are those of that network."""
    form = _figures(models.closed_form(name, training=True, batch=N, num_classes=CLASSES))
    numbers = _figures(models.closed_form(name, training=True, batch=3, num_classes=7))
    assert [int(sympy.sympify(total).subs({N: 3, CLASSES: 7})) for total in form] == numbers


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "shufflenet_v1"])
def test_resolution_as_a_symbol(name: str) -> None:
    """Rounded sizes are floors in the formula, in training too."""
    form = _figures(models.closed_form(name, training=True, resolution=SIZE))
    numbers = _figures(models.closed_form(name, training=True, resolution=97))
    assert [int(sympy.sympify(total).subs({SIZE: 97})) for total in form] == numbers


# -- blocks -----------------------------------------------------------------------------------------------------------

AT = {"size": (9, 9), "batch": BATCH}
BLOCKS: dict[str, tuple[nn.Module, BlockCost]] = {
    "depthwise separable": (
        named(depthwise=ConvNormAct(6, 6, 3, groups=6), pointwise=ConvNormAct(6, 8, 1)),
        f.depthwise_separable(c_in=6, c_out=8, **AT),
    ),
    "inverted residual": (
        InvertedResidual(6, 36, 6, kernel=3, stride=1, act=nn.ReLU6),
        f.inverted_residual(c_in=6, c_out=6, **AT),
    ),
    "mbconv": (
        InvertedResidual(8, 32, 6, kernel=5, stride=2, act=nn.SiLU, se=SqueezeExcitation(32, 2, act=nn.SiLU)),
        f.mbconv(c_in=8, c_out=6, expansion=4, kernel=5, stride=2, **AT),
    ),
    "basic block": (basic_block(6, 8, 2), f.basic_block(c_in=6, c_out=8, stride=2, **AT)),
    "bottleneck": (bottleneck(256, 64, 1, groups=1), f.bottleneck(c_in=256, width=64, c_out=256, **AT)),
    "grouped bottleneck": (
        bottleneck(256, 64, 1, groups=32, width_per_group=4),
        f.grouped_bottleneck(c_in=256, c_out=256, **AT),
    ),
    "inception module": (
        inception(6, Inception("", 1, 2, 3, 4, 5, 6)),
        f.inception_module(c_in=6, c1=1, c3_reduce=2, c3=3, c5_reduce=4, c5=5, pool_proj=6, **AT),
    ),
    "squeeze excitation": (
        SqueezeExcitation(6, 2),
        f.squeeze_excitation(channels=6, squeeze=2, convolutional=True, **AT),
    ),
    "ghost module": (GhostModule(6, 7), f.ghost_module(c_in=6, c_out=7, **AT)),
    "shuffle v1": (
        shuffle_unit(24, 24, stride=1, groups=3, first_groups=3),
        f.shuffle_unit_v1(c_in=24, c_out=24, **AT),
    ),
    "shuffle v1, strided": (
        shuffle_unit(24, 48, stride=2, groups=3, first_groups=3),
        f.shuffle_unit_v1(c_in=24, c_out=48, stride=2, **AT),
    ),
    "shuffle v2": (ShuffleUnit(8), f.shuffle_unit_v2(c_in=8, c_out=8, **AT)),
    "shuffle v2, strided": (downsampling_unit(8, 12), f.shuffle_unit_v2(c_in=8, c_out=12, stride=2, **AT)),
}


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_s_backward_is_its_module_s(name: str, inputs: bool) -> None:
    """With and without the gradient of the block's input."""
    module, block = BLOCKS[name]
    channels = next(layer.in_channels for layer in module.modules() if isinstance(layer, nn.Conv2d))
    channels *= 2 if name == "shuffle v2" else 1
    image = torch.empty(BATCH, channels, *AT["size"], device="meta", requires_grad=inputs)
    real = real_network(module.train().to("meta"), image)
    cost = block.backward(inputs=inputs)
    assert (cost.work, cost.read, cost.written) == (real.work, real.traffic.read, real.traffic.written)
    assert cost.saved_bytes() == sum(real.kept.values())


def test_blocks_in_a_row_share_what_lies_between() -> None:
    """The second block's input is the first one's output, kept once, even where the two are the same block."""
    block = f.basic_block(c_in=6, c_out=6, **AT)
    module = nn.Sequential(basic_block(6, 6, 1), basic_block(6, 6, 1)).train().to("meta")
    for inputs in (True, False):
        image = torch.empty(BATCH, 6, *AT["size"], device="meta", requires_grad=inputs)
        real, both = real_network(module, image), (block + block).backward(inputs=inputs)
        assert both.saved_bytes() == sum(real.kept.values())
        assert (both.work, both.memory_access) == (real.work, real.traffic.elements)
    assert block.saved_bytes == block.backward().saved_bytes()


def test_a_block_of_layers_put_together_by_hand_has_no_wiring() -> None:
    """Nothing says what its layers share."""
    block = BlockCost(layers=(("fc", f.linear(in_features=2, out_features=2)),))
    for each in (block, block + f.basic_block(c_in=6, c_out=6, **AT)):
        with pytest.raises(InputError, match="the backward pass of this block has no closed form"):
            each.backward()
