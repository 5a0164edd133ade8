"""Blocks: sums over layer formulas, against the papers' own expressions, torch modules and published totals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from costmodel import formulas as f
from costmodel.quantities import Work
from tests.formulas.oracles import elements


def test_resnet50_is_the_sum_of_its_blocks() -> None:
    """25,557,032 parameters and 4,089,184,256 MACs: torchvision's ResNet-50, with the stride in the 3x3."""
    layers = [
        f.conv(c_in=3, c_out=64, kernel=7, size=(224, 224), stride=2, padding=3, bias=False),
        f.batch_norm(channels=64, size=(112, 112)),
    ]
    c_in, size = 64, (56, 56)
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for place in range(count):
            block = f.bottleneck(c_in=c_in, width=width, c_out=4 * width, size=size, stride=1 if place else stride)
            layers.append(block.total)
            c_in, size = 4 * width, block.output_size
    layers.append(f.linear(in_features=2048, out_features=1000))
    assert (f.total(layers).params, f.total(layers).macs) == (25_557_032, 4_089_184_256)


def mobilenet_v2() -> Iterator[f.LayerCost]:
    """Table 2 of arXiv:1801.04381 at width 1 and 224."""
    stem = f.conv(c_in=3, c_out=32, kernel=3, size=(224, 224), stride=2, padding=1, bias=False)
    yield stem
    yield f.batch_norm(channels=32, size=(112, 112))
    c_in, size = 32, stem.output_size
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, c_out, count, stride in table:
        for place in range(count):
            block = f.inverted_residual(
                c_in=c_in, c_out=c_out, size=size, expansion=expansion, stride=1 if place else stride
            )
            yield block.total
            c_in, size = c_out, block.output_size
    yield f.pointwise_conv(c_in=320, c_out=1280, size=size, bias=False)
    yield f.batch_norm(channels=1280, size=size)
    yield f.linear(in_features=1280, out_features=1000)


def test_mobilenet_v2_is_the_sum_of_its_blocks() -> None:
    """3,504,872 parameters and 300.8 M MACs, as published (3.4 M, 300 M) and as torchvision has it."""
    whole = f.total(mobilenet_v2())
    assert (whole.params, whole.macs) == (3_504_872, 300_774_272)


class Ghost(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.primary = nn.Sequential(nn.Conv2d(6, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.cheap = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.primary(x)
        return torch.cat((x, self.cheap(x)), 1)[:, :7]


class Gate(nn.Module):
    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, squeeze, 1), nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


def normed(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution and its batch norm."""
    layer = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(c_out))


BLOCKS: dict[str, tuple[nn.Module, f.BlockCost]] = {
    "depthwise separable": (
        nn.Sequential(normed(6, 6, 3, 2, 6), normed(6, 8)),
        f.depthwise_separable(c_in=6, c_out=8, size=(9, 9), stride=2),
    ),
    "inverted residual": (
        nn.Sequential(normed(6, 36), normed(36, 36, 5, 1, 36), normed(36, 8)),
        f.inverted_residual(c_in=6, c_out=8, size=(9, 9), kernel=5),
    ),
    "ghost module": (Ghost(), f.ghost_module(c_in=6, c_out=7, size=(9, 9))),
    "squeeze and excitation": (
        Gate(6, 2),
        f.squeeze_excitation(channels=6, squeeze=2, size=(9, 9), convolutional=True),
    ),
    "mbconv": (
        nn.Sequential(normed(6, 24), normed(24, 24, 3, 2, 24), Gate(24, 1), normed(24, 8)),
        f.mbconv(c_in=6, c_out=8, size=(9, 9), expansion=4, stride=2),
    ),
    "fused mbconv": (
        nn.Sequential(normed(6, 24, 3, 2), normed(24, 8)),
        f.fused_mbconv(c_in=6, c_out=8, size=(9, 9), stride=2),
    ),
    "fused mbconv with a gate": (
        nn.Sequential(normed(6, 24, 3), Gate(24, 2), normed(24, 8)),
        f.fused_mbconv(c_in=6, c_out=8, size=(9, 9), squeeze=2),
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_block_is_the_module_it_stands_for(name: str) -> None:
    """Parameters, buffers and MACs are those of the same layers in torch."""
    module, block = BLOCKS[name]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(torch.rand(1, 6, 9, 9))
    assert 2 * block.macs == counter.get_total_flops()
    assert (block.params, block.buffers) == (elements(module.parameters()), elements(module.buffers()))


def test_shuffle_v1_downsamples_by_concatenating() -> None:
    """The branch makes c_out - c_in channels, the average the rest; stage 2's first 1x1 has no groups."""
    block = f.shuffle_unit_v1(c_in=24, c_out=240, size=(56, 56), stride=2, group_first=False)
    assert block.output_shape == (1, 240, 28, 28)
    assert block["expand"].output_shape[1] == 216
    assert block["reduce"].kind == "pointwise conv"
    assert block["reduce"].params == 24 * 60
    assert block.macs == 56 * 56 * 24 * 60 + 28 * 28 * (9 * 60 + 60 * 216 // 3)
    averages = 24 * 28 * 28  # of 9 each
    assert block["shortcut"].work == Work(adds=8 * averages, divides=averages)


def test_shuffle_v2_downsamples_in_two_branches() -> None:
    """Both branches see the whole input; the sum of their macs is the unit's."""
    block = f.shuffle_unit_v2(c_in=24, c_out=116, size=(56, 56), stride=2)
    assert block.output_shape == (1, 116, 28, 28)
    side = 28 * 28 * (9 * 24 + 24 * 58)
    assert block.macs == side + 56 * 56 * 24 * 58 + 28 * 28 * (9 * 58 + 58 * 58)


def test_inception_branches_add_up() -> None:
    """3a has the published 256 channels out, and each branch sees the input."""
    block = f.inception_module(c_in=192, size=(28, 28), c1=64, c3_reduce=96, c3=128, c5_reduce=16, c5=32, pool_proj=32)
    assert block.output_shape == (1, 256, 28, 28)
    assert block.params - 368 == 192 * 64 + 192 * 96 + 9 * 96 * 128 + 192 * 16 + 25 * 16 * 32 + 192 * 32


def test_shortcut_projects_where_the_shape_changes() -> None:
    """A stride or another width needs a 1x1 convolution; the same shape needs nothing."""
    names = [name for name, _ in f.basic_block(c_in=64, c_out=128, size=(56, 56), stride=2).layers]
    assert "shortcut" in names
    same = f.basic_block(c_in=64, c_out=64, size=(56, 56))
    assert "shortcut" not in [name for name, _ in same.layers]
    assert same["add"].flops == 64 * 56 * 56


def test_stride_in_the_first_1x1_is_cheaper() -> None:
    """The paper's ResNet-50 costs less than today's, by the first 1x1 at a fourth of the positions."""
    at = {"c_in": 256, "width": 128, "c_out": 512, "size": (56, 56), "stride": 2}
    late, early = f.bottleneck(**at), f.bottleneck(**at, stride_in_1x1=True)
    assert late.macs - early.macs == (56 * 56 - 28 * 28) * 256 * 128
    assert late.output_shape == early.output_shape


def test_without_norm_convolutions_have_a_bias() -> None:
    """norm=False leaves no batch norm and gives every convolution its bias."""
    block = f.inverted_residual(c_in=8, c_out=8, size=(7, 7), norm=False)
    assert block.buffers == 0
    assert block["expand"].params == 8 * 48 + 48


def test_blocks_chain_and_name_their_layers() -> None:
    """Blocks add up in order; an unknown name lists what there is."""
    block = f.depthwise_separable(c_in=8, c_out=16, size=(7, 7))
    both = block + f.depthwise_separable(c_in=16, c_out=4, size=(7, 7))
    assert both.output_shape == (1, 4, 7, 7)
    assert both.memory_access == sum(layer.memory_access for _, layer in both.layers)
    assert both.flops == both.work.flops
    assert both.activations == (8 + 16 + 16 + 4) * 49
    with pytest.raises(KeyError, match="no layer 'conv' in this block: it has depthwise, depthwise_norm"):
        block["conv"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"c_in": 8, "c_out": 10, "size": (7, 7)}, "c_out=10 differs from c_in=8 at stride 1"),
        ({"c_in": 8, "c_out": 7, "size": (7, 7)}, "c_out=7 is not divisible by branches=2"),
    ],
)
def test_shuffle_v2_refuses_what_it_cannot_split(arguments: dict[str, object], text: str) -> None:
    """Half of the channels go round, so in and out are equal and even."""
    with pytest.raises(ValueError, match=text):
        f.shuffle_unit_v2(**arguments)  # type: ignore[arg-type]


def test_even_kernels_are_refused() -> None:
    """A block pads alike on both sides."""
    with pytest.raises(ValueError, match="kernel=4 of depthwise is even, and cannot be padded alike"):
        f.depthwise_separable(c_in=8, c_out=8, size=(7, 7), kernel=4)
