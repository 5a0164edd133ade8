"""The networks compute, and have the parameters and MACs that the libraries and the papers' tables give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import costmodel.models as models

TORCHVISION = "torchvision 0.29.2"
TIMM = "timm 1.0.31"

# Parameters and MACs, counted on the library's own module with the hooks of conftest.py; where neither library has
# the network the source is another, or "own": then the integers hold our reading of the paper's table.
COUNTS: list[tuple[str, dict[str, Any], int, int, str]] = [
    ("alexnet", {}, 61_100_840, 714_188_480, TORCHVISION),
    ("vgg11", {}, 132_863_336, 7_609_090_048, TORCHVISION),
    ("vgg13", {}, 133_047_848, 11_308_466_176, TORCHVISION),
    ("vgg16", {}, 138_357_544, 15_470_264_320, TORCHVISION),
    ("vgg19", {}, 143_667_240, 19_632_062_464, TORCHVISION),
    ("googlenet", {}, 6_998_552, 1_582_671_872, "own; parameters as BVLC's Caffe GoogLeNet"),
    ("googlenet", {"aux": True}, 13_378_280, 1_582_671_872, "own; parameters as BVLC's Caffe GoogLeNet"),
    ("inception_v3", {}, 23_834_568, 5_713_216_096, TORCHVISION),
    ("inception_v3", {"aux": True}, 27_161_264, 5_713_216_096, TORCHVISION),
    ("inception_v4", {}, 42_679_816, 12_253_974_624, TIMM),
    ("resnet18", {}, 11_689_512, 1_814_073_344, TORCHVISION),
    ("resnet34", {}, 21_797_672, 3_663_761_408, TORCHVISION),
    ("resnet50", {}, 25_557_032, 4_089_184_256, TORCHVISION),
    ("resnet50", {"stride_in_1x1": True}, 25_557_032, 3_857_973_248, "own"),
    ("resnet101", {}, 44_549_160, 7_801_405_440, TORCHVISION),
    ("resnet152", {}, 60_192_808, 11_513_626_624, TORCHVISION),
    ("resnext50_32x4d", {}, 25_028_904, 4_230_479_872, TORCHVISION),
    ("resnext101_32x4d", {}, 44_177_704, 7_969_996_800, TIMM),
    ("resnext101_32x8d", {}, 88_791_336, 16_414_015_488, TORCHVISION),
    ("resnext101_64x4d", {}, 83_455_272, 15_460_270_080, TORCHVISION),
    ("se_resnet50", {}, 28_088_024, 4_091_699_200, TIMM),
    ("se_resnet50", {"stride_in_1x1": True}, 28_088_024, 3_860_488_192, TIMM),
    ("xception", {}, 22_855_952, 8_357_403_496, TIMM),
    ("mobilenet_v1", {}, 4_231_976, 568_740_352, TIMM),
    ("mobilenet_v1", {"width": 0.5, "resolution": 160}, 1_331_592, 76_524_800, "own"),
    ("mobilenet_v1_cifar", {}, 280_650, 7_872_512, "own"),
    ("mobilenet_v2", {}, 3_504_872, 300_774_272, TORCHVISION),
    ("mobilenet_v2", {"width": 0.5}, 1_968_680, 97_131_840, TIMM),
    ("mobilenet_v2", {"width": 0.75}, 2_636_424, 209_069_792, TIMM),
    ("mobilenet_v2", {"width": 1.4}, 6_108_776, 582_195_824, TIMM),
    ("mobilenet_v3_large", {}, 5_483_032, 216_589_760, TORCHVISION),
    ("mobilenet_v3_large", {"width": 0.75}, 3_993_528, 154_560_624, TIMM),
    ("mobilenet_v3_small", {}, 2_542_856, 56_510_400, TORCHVISION),
    ("mobilenet_v3_small", {"width": 0.75}, 2_041_872, 43_399_344, TIMM),
    ("shufflenet_v1", {"groups": 1}, 1_531_936, 143_078_976, "own"),
    ("shufflenet_v1", {"groups": 2}, 1_733_848, 140_836_512, "own"),
    ("shufflenet_v1", {"groups": 3}, 1_865_728, 137_460_672, "own"),
    ("shufflenet_v1", {"groups": 4}, 1_968_344, 134_339_776, "own"),
    ("shufflenet_v1", {"groups": 8}, 2_434_768, 138_365_952, "own"),
    ("shufflenet_v1", {"groups": 8, "width": 0.5}, 1_011_448, 40_469_760, "own"),
    ("shufflenet_v1", {"groups": 4, "width": 0.25}, 338_544, 11_814_440, "own"),
    ("shufflenet_v2", {"width": 0.5}, 1_366_792, 40_476_448, TORCHVISION),
    ("shufflenet_v2", {}, 2_278_604, 144_907_992, TORCHVISION),
    ("shufflenet_v2", {"width": 1.5}, 3_503_624, 295_759_392, TORCHVISION),
    ("shufflenet_v2", {"width": 2}, 7_393_996, 583_253_464, TORCHVISION),
    ("efficientnet_b0", {}, 5_288_548, 385_814_752, TORCHVISION),
    ("efficientnet_b1", {}, 7_794_184, 686_802_832, TORCHVISION),
    ("efficientnet_b2", {}, 9_109_994, 993_561_872, TORCHVISION),
    ("efficientnet_b3", {}, 12_233_232, 1_827_141_392, TORCHVISION),
    ("efficientnet_b4", {}, 19_341_616, 4_393_771_024, TORCHVISION),
    ("efficientnet_b5", {}, 30_389_784, 10_266_384_752, TORCHVISION),
    ("efficientnet_b6", {}, 43_040_704, 19_067_593_536, TORCHVISION),
    ("efficientnet_b7", {}, 66_347_960, 37_745_884_192, TORCHVISION),
    ("efficientnet_v2_s", {}, 21_458_488, 8_365_617_152, TORCHVISION),
    ("efficientnet_v2_m", {}, 54_139_356, 24_582_460_384, TORCHVISION),
    ("efficientnet_v2_l", {}, 118_515_272, 56_079_699_008, TORCHVISION),
    ("ghostnet", {"width": 0.5}, 2_587_292, 42_328_152, TIMM),
    ("ghostnet", {}, 5_182_508, 141_150_512, TIMM),
    ("ghostnet", {"width": 1.3}, 7_358_820, 227_003_256, TIMM),
    # 5,122,176 is the paper's; the batch norms of note 000 add 2 * (8 + 16 + 32 + 64).
    ("hybridsn", {}, 5_122_176 + 240, 247_683_392, "arXiv:1902.06701, Table I"),
]

SMALL_INPUTS = {
    "inception_v3": {"resolution": 96},
    "inception_v4": {"resolution": 96},
    "xception": {"resolution": 96},
    "mobilenet_v1_cifar": {},
    "hybridsn": {},
}
"""What makes a forward quick; 64x64 where nothing is said."""


@pytest.mark.parametrize(("name", "arguments", "params", "macs", "source"), COUNTS)
def test_counts_are_the_reference_s_to_the_last_one(
    name: str, arguments: dict[str, Any], params: int, macs: int, source: str, totals: Callable[..., Any]
) -> None:
    """Parameters and MACs equal those of the named source."""
    assert totals(name, **arguments) == (params, macs), source


def test_every_network_is_counted() -> None:
    """No name is missing from the table of counts."""
    assert {name for name, *_ in COUNTS} == set(models.list_models())


@pytest.mark.parametrize("name", models.list_models())
def test_a_forward_computes(name: str) -> None:
    """Random input gives finite logits of the asked number of classes, none of them stuck at one value."""
    torch.manual_seed(0)
    network = models.build(name, num_classes=7, **SMALL_INPUTS.get(name, {"resolution": 64})).eval()
    shape = network.example_inputs
    with torch.no_grad():
        logits = network(torch.randn(2, *shape[1:]))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()
    assert logits.std(dim=1).min() > 0


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("width", [0.25, 0.5, 1, 1.5, 2])
def test_shufflenet_computes_at_every_width_and_group(groups: int, width: float) -> None:
    """No rounding of channels leaves a convolution or a shuffle that cannot be grouped."""
    with torch.device("meta"):
        network = models.shufflenet_v1(groups=groups, width=width).eval()
    assert network(torch.empty(1, 3, 64, 64, device="meta")).shape == (1, 1000)


@pytest.mark.parametrize(("name", "extra"), [("googlenet", 2), ("inception_v3", 1)])
def test_auxiliary_classifiers_run_in_training_alone(name: str, extra: int) -> None:
    """With `aux`, train mode gives the logits and the auxiliary ones; eval mode gives the logits."""
    with torch.device("meta"):
        network = models.build(name, aux=True, num_classes=7)
        x = torch.empty(2, *network.example_inputs[1:])
    logits, *auxiliary = network.train()(x)
    assert [logits.shape, *(a.shape for a in auxiliary)] == [(2, 7)] * (1 + extra)
    assert network.eval()(x).shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v1", "shufflenet_v2", "ghostnet"])
def test_a_training_step_reaches_every_parameter(name: str) -> None:
    """What is done in place stands in no gradient's way: every parameter has one."""
    network = models.build(name, num_classes=4).train()
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("stride_in_1x1", [True, False])
def test_stride_stands_where_it_is_asked(stride_in_1x1: bool) -> None:
    """The first block of a stage halves in its first 1x1, or in its 3x3."""
    with torch.device("meta"):
        body = models.resnet50(stride_in_1x1=stride_in_1x1).layer2[0].body
    assert (body.reduce.conv.stride, body.conv.conv.stride) == (((2, 2), (1, 1)) if stride_in_1x1 else ((1, 1), (2, 2)))


@pytest.mark.parametrize("name", models.list_models())
def test_example_inputs_are_the_paper_s(name: str) -> None:
    """Each network carries its input at batch 1, and `resolution` changes that alone."""
    with torch.device("meta"):
        network = models.build(name)
        batch, channels, *size = network.example_inputs
        assert (batch, channels) == ((1, 1) if name == "hybridsn" else (1, 3))
        if name != "hybridsn":
            other = models.build(name, resolution=97)
            assert other.example_inputs == (1, 3, 97, 97)
            assert repr(other) == repr(network)
        else:
            assert size == [30, 25, 25]


def test_hybridsn_has_the_shapes_of_the_note() -> None:
    """Layer by layer, as note 000 says it (the note's first shape has 30 - 7 + 1 = 24 bands)."""
    with torch.device("meta"):
        network = models.hybridsn().eval()
        x = torch.empty(network.example_inputs)
    shapes = []
    for stage in network:
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(8, 24, 23, 23), (16, 20, 21, 21), (32, 18, 19, 19), (576, 19, 19), (64, 17, 17), (18496,), (16,)]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("shufflenet_v1", {"groups": 5}, "no groups=5; Table 1 of the paper has groups 1, 2, 3, 4, 8"),
        ("shufflenet_v2", {"width": 0.7}, "no width=0.7; Table 5 of the paper has widths 0.5, 1, 1.5, 2"),
        ("mobilenet_v1", {"width": 0}, "a width multiplier must be greater than 0"),
        ("mobilenet_v2", {"width": -1}, "a width multiplier must be greater than 0"),
        ("ghostnet", {"width": 0}, "a width multiplier must be greater than 0"),
        ("hybridsn", {"bands": 12}, "needs at least 13 bands and a window of 9, got bands=12, window=25"),
    ],
)
def test_a_wrong_argument_is_named(name: str, arguments: dict[str, Any], said: str) -> None:
    """The error says which values there are, or what the value must be."""
    with torch.device("meta"), pytest.raises(ValueError, match=said):
        models.build(name, **arguments)


def test_a_network_is_an_ordinary_module() -> None:
    """State dicts round-trip, and the names of submodules speak of the paper's parts."""
    network = models.mobilenet_v2(width=0.35)
    twin = models.mobilenet_v2(width=0.35)
    twin.load_state_dict(network.state_dict())
    names = dict(network.named_modules())
    assert isinstance(names["features.2.depthwise.conv"], nn.Conv2d)
    assert isinstance(names["features.2.expand.act"], nn.ReLU6)
