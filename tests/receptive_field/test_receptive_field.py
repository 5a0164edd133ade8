"""Receptive fields that papers state, closed forms, branches, gates, attention, and what can be asked."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from costmodel import Profile, formulas, models, profile
from costmodel.errors import CostModelError, InputError
from costmodel.receptive_field import Fields, UnknownLayerError
from tests.receptive_field._networks import Step
from tests.receptive_field._oracle import check, poisoned

PUBLISHED = [
    # Araujo, Norris & Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill 2019, table 2: at the
    # last feature map before global pooling or flatten; with the stride in a block's first 1x1, as in He et al. 2015.
    ("alexnet", {}, 195, "features.pool5"),
    ("vgg16", {}, 212, "features.pool5"),
    ("mobilenet_v1", {}, 315, "features.13.pointwise.act"),
    ("resnet50", {"stride_in_1x1": True}, 483, "layer4.2.act"),
    ("resnet101", {"stride_in_1x1": True}, 1027, "layer4.2.act"),
    ("resnet152", {"stride_in_1x1": True}, 1507, "layer4.2.act"),
    # The same by their equation 2 with the stride in the 3x3, as in torchvision: see the closed form below.
    ("resnet50", {}, 427, "layer4.2.act"),
]


@pytest.mark.parametrize(("name", "arguments", "size", "layer"), PUBLISHED)
def test_published(name: str, arguments: dict[str, Any], size: int, layer: str) -> None:
    """The deepest local feature map of the named networks sees what the literature says."""
    told = profile(getattr(models, name)(**arguments)).receptive_field()
    assert (told.layer, told.size, told.stride) == (layer, (size, size), (32, 32))
    assert not told.is_global


@pytest.mark.parametrize("stride_in_1x1", [True, False])
@pytest.mark.parametrize(("name", "blocks"), [("resnet50", (3, 4, 6, 3)), ("resnet101", (3, 4, 23, 3))])
def test_resnet_by_its_closed_form(name: str, blocks: tuple[int, ...], stride_in_1x1: bool) -> None:
    """He et al. 2015, table 1, as a chain of kernels and strides: size, stride and start are the trace's."""
    chain: list[tuple[int, ...]] = [(7, 2, 3), (3, 2, 1)]
    for stage, depth in enumerate(blocks):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            chain += [(1, stride if stride_in_1x1 else 1, 0), (3, 1 if stride_in_1x1 else stride, 1), (1, 1, 0)]
    closed = formulas.receptive_field_backwards(layers=chain)
    told = profile(getattr(models, name)(stride_in_1x1=stride_in_1x1)).receptive_field()
    assert (told.size, told.stride, told.start) == ((closed.size,) * 2, (closed.stride,) * 2, (closed.start,) * 2)


@pytest.mark.parametrize(("depth", "size"), [(1, 3), (2, 5), (3, 7)])
def test_stacked_3x3(depth: int, size: int) -> None:
    """Two stacked 3x3 see 5x5, three see 7x7: Simonyan & Zisserman, arXiv:1409.1556, section 2.3."""
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(depth)))
    told = profile(net, (1, 1, 9, 9)).receptive_field()
    assert told.size == (size, size)
    assert told.start == (-depth, -depth)
    assert told.padding == (depth, depth)
    assert told.centre == (0, 0)


CHAINS = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=5
)


@given(chain=CHAINS, pooled=st.sets(st.integers(0, 4)))
@settings(max_examples=60)
def test_every_chain_agrees_with_both_recurrences(chain: list[tuple[int, int, int, int]], pooled: set[int]) -> None:
    """Size, stride and start of a traced chain are those of the closed form, from either end."""
    layers: list[nn.Module] = []
    closed = []
    for i, (k, s, p, d) in enumerate(chain):
        if i in pooled:
            p = min(p, k // 2)
            layers.append(nn.MaxPool1d(k, s, p, d))
        else:
            layers.append(nn.Conv1d(1, 1, k, s, p, d))
        closed.append((k, s, p, d))
    told = profile(nn.Sequential(*layers), (1, 1, 6000)).receptive_field()
    for field in (formulas.receptive_field(layers=closed), formulas.receptive_field_backwards(layers=closed)):
        assert (told.size, told.stride, told.start) == ((field.size,), (field.stride,), (field.start,))
        assert told.padding == (field.padding,)


def test_upsampling_has_a_stride_below_one() -> None:
    """A 3x3 of stride 2, nearest x2, and a 3x3 again: 5; upsampled positions are half an input step apart."""
    net = nn.Sequential(nn.Conv1d(1, 1, 3, 2, 1), nn.Upsample(scale_factor=2), nn.Conv1d(1, 1, 3, padding=1))
    p = profile(net, (1, 1, 32))
    assert p.receptive_field().size == (5,)
    assert p.receptive_field().stride == (1,)
    up = profile(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv1d(1, 1, 3)), (1, 1, 32))
    assert up.receptive_field().stride == (Fraction(1, 2),)
    # Outputs 0, 1, 2 see the upsampled 0..2, 1..3, 2..4: the inputs 0..1, 0..1, 1..2.
    assert [up.receptive_field("1", (i,)).seen for i in range(3)] == [((0, 1),), ((0, 1),), ((1, 2),)]


def test_positions_of_an_output_period_differ() -> None:
    """A transposed convolution of kernel 3 and stride 2 sees 2 and 1 inputs by turns; the largest is reported."""
    p = profile(nn.Sequential(nn.ConvTranspose1d(1, 1, 3, 2)), (1, 1, 8))
    told = p.receptive_field()
    assert (told.size, told.stride) == ((2,), (Fraction(1, 2),))
    # Input i reaches the outputs 2 i .. 2 i + 2.
    at = [p.receptive_field("0", (o,)) for o in range(2, 6)]
    assert [(t.start, t.size, t.centre) for t in at] == [
        ((0,), (2,), (Fraction(1, 2),)), ((1,), (1,), (1,)), ((1,), (2,), (Fraction(3, 2),)), ((2,), (1,), (2,)),
    ]  # fmt: skip


def _space_to_depth(x: torch.Tensor) -> torch.Tensor:
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 3, 3).permute(0, 1, 3, 5, 2, 4).reshape(b, c * 6, h // 2, w // 3)


def _depth_to_space(x: torch.Tensor) -> torch.Tensor:
    b, c, h, w = x.shape
    return x.view(b, c // 6, 2, 3, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c // 6, h * 2, w * 3)


def _every_second(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x[..., i::2, j::3] for i in range(2) for j in range(3)], 1)


HALF = (Fraction(1, 2), Fraction(1, 3))
SPACE = [
    # The convolution at the end adds its 3x3 of such positions, and one of them as padding.
    ("views", Step("", _space_to_depth), 24, (6, 9), (2, 3), (-2, -3)),
    ("slices", Step("", _every_second), 24, (6, 9), (2, 3), (-2, -3)),
    ("views back", Step("", lambda x: _depth_to_space(x.repeat(1, 6, 1, 1))), 4, (2, 2), HALF, (-1, -1)),
    ("pixel unshuffle", nn.PixelUnshuffle(2), 16, (6, 6), (2, 2), (-2, -2)),
    ("pixel shuffle", nn.PixelShuffle(2), 1, (2, 2), (Fraction(1, 2), Fraction(1, 2)), (-1, -1)),
    ("channel shuffle", nn.ChannelShuffle(2), 4, (3, 3), (1, 1), (-1, -1)),
    ("from the second", Step("", lambda x: x[:, :, 1:-2, 2:]), 4, (3, 3), (1, 1), (0, 1)),
    ("every second and third", Step("", lambda x: x[:, :, 1::2, ::3]), 4, (5, 7), (2, 3), (-1, -3)),
    ("padded", nn.ZeroPad2d((1, 2, 3, 4)), 4, (3, 3), (1, 1), (-4, -2)),
]


@pytest.mark.parametrize(("how", "first", "channels", "size", "stride", "start"), SPACE, ids=[s[0] for s in SPACE])
def test_positions_that_move(
    how: str, first: nn.Module, channels: int, size: tuple[int, int], stride: tuple[Any, Any], start: tuple[int, int]
) -> None:
    """What is cut, dealt out to channels or taken from them is one input step away, or several, or a share of one."""
    net = nn.Sequential(first, nn.Conv2d(channels, 4, 3, padding=1))
    told = profile(net, (1, 4, 12, 18)).receptive_field()
    assert (told.layer, told.size, told.stride, told.start) == ("1", size, stride, start)
    assert check(net, (1, 4, 12, 18), at_most=4) > 10


def test_a_rolled_map_sees_across_the_border() -> None:
    """The first position after a roll by 2 is the last but one before; a 3x3 over the seam sees both ends."""
    net = nn.Sequential(Step("", lambda x: torch.roll(x, 2, -1)), nn.Conv1d(4, 4, 3, padding=1))
    p = profile(net, (1, 4, 10))
    assert p.receptive_field("0", (0,)).seen == ((8, 8),)
    assert p.receptive_field("1", (4,)).seen == ((1, 3),)
    assert p.receptive_field("1", (2,)).seen == ((0, 9),)  # 9, 0 and 1
    assert p.receptive_field("1").size == (10,)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_any_number_of_axes(axes: int) -> None:
    """Each axis by its own kernel, stride, dilation and padding, in one, two and three dimensions."""
    conv, pool = (getattr(nn, f"{name}{axes}d") for name in ("Conv", "MaxPool"))
    net = nn.Sequential(
        conv(1, 1, (3, 5, 1)[:axes], (1, 2, 1)[:axes], (1, 0, 0)[:axes], (2, 1, 1)[:axes]), pool((2, 3, 2)[:axes])
    )
    told = profile(net, (1, 1, 16, 24, 8)[: axes + 2]).receptive_field()
    # 1 + 2 * 2 + 1; 1 + 4 + 2 * 2; 1 + 0 + 1.
    assert told.size == (6, 9, 2)[:axes]
    assert told.stride == (2, 6, 2)[:axes]
    assert told.start == (-1, 0, 0)[:axes]
    assert told.centre == (Fraction(3, 2), 4, Fraction(1, 2))[:axes]
    assert check(net, (1, 1, 16, 24, 8)[: axes + 2], at_most=4) >= axes


class Branches(nn.Module):
    """Two branches, cropped to the shorter and added."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.left(x), self.right(x)
        n = min(a.shape[-1], b.shape[-1])
        return a[..., :n] + b[..., :n]


def test_branches_that_agree_are_merged_in_silence() -> None:
    """A 3x3 and a 5x5 about the same centre: the 5x5."""
    told = profile(Branches(nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 5, padding=2)), (1, 1, 20)).receptive_field()
    assert (told.size, told.start, told.notes) == ((5,), (-2,), ())


def test_branches_whose_centres_differ_are_said_to() -> None:
    """A 3 about position 0 and a 3 that begins at 0: their union, and a note."""
    told = profile(Branches(nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 3)), (1, 1, 20)).receptive_field()
    assert (told.size, told.start) == ((4,), (-1,))
    assert any("centres differ" in note for note in told.notes)


def test_branches_whose_strides_differ_are_said_to() -> None:
    """Output i sees i - 1 .. i + 1 and 2 i - 1 .. 2 i + 1; the last of 10 sees 8 .. 19."""
    net = Branches(nn.Conv1d(1, 1, 3, 1, 1), nn.Conv1d(1, 1, 3, 2, 1))
    p = profile(net, (1, 1, 20))
    assert p.receptive_field().size == (12,)
    assert p.receptive_field().stride == (2,)
    assert p.receptive_field("add", (9,)).seen == ((8, 19),)
    assert any("strides 1 and 2" in note for note in p.receptive_field().notes)


class Gate(nn.Module):
    """Squeeze-excitation, its squeeze by ``how``, between two convolutions."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.last, self.how = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), how
        self.pool, self.fc, self.norm = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 4), nn.GroupNorm(2, 4)
        self.weights = nn.Conv2d(4, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        match self.how:
            case "pool":
                x = x * self.pool(x).sigmoid()
            case "mean and linear":
                x = x * self.fc(x.mean((2, 3))).sigmoid()[:, :, None, None]
            case "expanded":
                x = x * x.amax((2, 3), keepdim=True).expand_as(x)
            case "upsampled and concatenated":
                x = torch.cat([x, F.interpolate(self.pool(x), size=x.shape[2:])], 1)[:, 2:6]
            case "global context":
                weights = self.weights(x).flatten(2).softmax(-1)
                x = x + (x.flatten(2) @ weights.transpose(1, 2))[..., None]
            case "group norm":
                x = self.norm(x)
            case "instance norm":
                x = F.instance_norm(x)
            case "subtracted mean":
                x -= x.mean((2, 3), keepdim=True)
        return self.last(x)


GATES = [
    "pool", "mean and linear", "expanded", "upsampled and concatenated", "global context", "group norm",
    "instance norm", "subtracted mean",
]  # fmt: skip


@pytest.mark.parametrize("how", GATES)
def test_a_gate_is_told_apart(how: str) -> None:
    """The local path's size is that of two 3x3, and ``is_global`` tells of the gate, through which NaN comes indeed."""
    told = profile(Gate(how), (1, 4, 12, 12)).receptive_field()
    assert (told.layer, told.size, told.stride) == ("last", (5, 5), (1, 1))
    assert told.is_global
    assert told.gates == (True, True)
    assert all(mask.all() for mask in poisoned(Gate(how), (1, 4, 12, 12), ["last"])["last"])


def test_without_a_gate_nothing_is_global() -> None:
    """The same network without a gate is local, as the poison finds."""
    told = profile(Gate("none"), (1, 4, 12, 12)).receptive_field()
    assert (told.size, told.is_global, told.gates) == ((5, 5), False, (False, False))
    assert not any(mask.all() for mask in poisoned(Gate("none"), (1, 4, 12, 12), ["last"])["last"])


@pytest.mark.parametrize("name", ["se_resnet50", "mobilenet_v3_large", "efficientnet_b0"])
def test_squeeze_excitation_in_the_zoo(name: str) -> None:
    """The deepest feature map is still local, by its own path, and its gates are told of."""
    told = profile(getattr(models, name)()).receptive_field()
    assert told.stride == (32, 32)
    assert told.is_global
    assert told.gates == (True, True)
    if name == "se_resnet50":
        assert told.size == (427, 427)  # ResNet-50's: gates do not widen the path


def test_a_flattened_image_is_no_feature_map() -> None:
    """The deepest local map comes before flatten; each flattened feature has its own field, the dense layer all."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 6 * 6, 3))
    p = profile(net, (1, 1, 8, 8))
    assert p.receptive_field().layer == "0"
    assert p.receptive_field("1", (6 * 6 + 6 * 2 + 3,)).seen == ((2, 4), (3, 5))
    assert p.receptive_field("2").size == (8, 8)
    assert p.receptive_field("2").is_global
    assert p.receptive_field("2").stride == (None, None)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("corners", [False, True])
def test_interpolation_sees_what_it_reads_with_some_weight(mode: str, corners: bool) -> None:
    """What the poison finds; but a position outside the first pixel's centre is the first pixel, and no neighbour."""
    net = nn.Upsample(size=(11, 13), mode=mode, align_corners=corners)
    p = profile(nn.Sequential(net), (1, 1, 5, 7))
    (mask, _) = poisoned(nn.Sequential(net), (1, 1, 5, 7), ["0"])["0"]
    ones = torch.eye(5)[:, None, :, None].expand(5, 1, 5, 7)
    weighed = net(ones)[:, 0, :, 6] != 0
    for o in range(11):
        ((first, last), _) = p.receptive_field("0", (o, 6)).seen or (None, None)
        found = mask[:, 0, o].any(-1).nonzero().flatten().tolist()
        if mode == "bilinear" and not corners and o == 0:
            assert weighed[:, o].nonzero().flatten().tolist() == [0]
            assert (first, last, found) == (0, 0, [0, 1])
        else:
            assert (first, last) == (found[0], found[-1])


def test_an_unknown_layer_is_named_with_what_was_meant() -> None:
    """The error names the model, and the nearest layer."""
    p = profile(nn.Sequential(nn.Conv1d(1, 1, 3), nn.ReLU()), (1, 1, 8))
    with pytest.raises(UnknownLayerError, match=r"no layer '11' ran in Sequential: did you mean '1'\?"):
        p.receptive_field("11")
    with pytest.raises(UnknownLayerError, match=r"no layer 'head' ran in Sequential: there are '', '0', '1'$"):
        p.receptive_field("head")  # '' is the model itself
    assert issubclass(UnknownLayerError, CostModelError)


def test_a_position_outside_the_output_is_refused() -> None:
    """The error names the output's shape and the dimensions that a position has."""
    p = profile(nn.Sequential(nn.Conv2d(1, 1, 3)), (1, 1, 8, 8))
    with pytest.raises(
        InputError, match=r"position=\(6, 0\) is not in the output \(1, 1, 6, 6\).*2 indices below \(6, 6\)"
    ):
        p.receptive_field("0", (6, 0))
    with pytest.raises(InputError, match="give 2 indices"):
        p.receptive_field("0", (1,))


def test_an_op_without_a_rule_is_taken_to_see_everything_and_said_to() -> None:
    """No op is left out in silence."""
    library = torch.library.Library("receptive_field_test", "FRAGMENT")
    library.define("unheard_of(Tensor x) -> Tensor")
    library.impl("unheard_of", torch.empty_like, "Meta")

    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = torch.ops.receptive_field_test.unheard_of(x)
            return y

    told = profile(Odd(), (1, 1, 8)).receptive_field("")
    assert (told.size, told.is_global) == ((8,), True)
    assert any("unheard_of" in note and "no rule" in note for note in told.notes)


def test_a_write_into_a_part_of_what_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tables would fill the memory, a field is never too small, and says that it may be too large."""

    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            y[..., 2:] += self.conv(y)[..., :-2]
            return y

    exact = profile(Writes(), (1, 1, 8, 8)).receptive_field("")
    monkeypatch.setattr("costmodel.receptive_field.overwrite._MAX_ENTRIES", 4)
    coarse = profile(Writes(), (1, 1, 8, 8)).receptive_field("")
    assert all(c >= e for c, e in zip(coarse.size, exact.size, strict=True))
    assert coarse.size != exact.size
    assert ["large tensor" in " ".join(field.notes) for field in (exact, coarse)] == [False, True]


class Dense(nn.Module):
    """Concatenates the outputs of branches of different depth, and convolves them together."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.out = nn.Conv2d(2 * len(branches), 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.cat([branch(x) for branch in self.branches], 1))


@pytest.mark.parametrize(
    "branches",
    [
        pytest.param((1, 3, 5, 7), id="concentric"),
        pytest.param((1, 3, "shifted", 5), id="not concentric"),
        pytest.param((3, 3, "coarser", 3), id="of two strides"),
    ],
)
def test_concatenating_in_one_step_changes_nothing(
    branches: tuple[int | str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The field of a concatenation, built at once, is that of its arguments composed one by one and merged."""
    kinds: dict[int | str, nn.Module] = {
        "shifted": nn.Sequential(nn.ZeroPad2d((2, 0, 2, 0)), nn.Conv2d(1, 2, 3)),
        "coarser": nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.Upsample(scale_factor=2)),
    }
    net = Dense(*(kinds[k] if isinstance(k, str) else nn.Conv2d(1, 2, k, padding=k // 2) for k in branches))
    p = profile(net, (1, 1, 12, 12))
    at_once = [p.receptive_field("out"), p.receptive_field("out", (5, 6))]
    taken = []
    monkeypatch.setattr("costmodel.receptive_field.flow.concatenate", lambda *a, **k: taken.append(a))
    p = profile(net, (1, 1, 12, 12))
    assert [p.receptive_field("out"), p.receptive_field("out", (5, 6))] == at_once
    assert taken


def test_paths_do_not_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Branches of ever new average strides are merged: the size is the same, the notes say what the stride is."""

    class Stretched(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(10):
                x = x + F.interpolate(torch.roll(x, 1, -1)[..., :-1], size=x.shape[-1])
            return x

    def paths(p: Profile) -> int:
        return max(len(of_axis) for field in Fields(p.pricing)._nominal.values() for of_axis in field)

    p = profile(Stretched(), (1, 1, 40))
    merged, few = p.receptive_field(""), paths(p)
    monkeypatch.setattr("costmodel.receptive_field.paths._MAX_PATHS", 1000)
    p = profile(Stretched(), (1, 1, 40))
    apart, many = p.receptive_field(""), paths(p)
    assert few <= 8 < many
    assert (merged.size, merged.stride, merged.start) == (apart.size, apart.stride, apart.start)
    assert any("different strides" in note for note in merged.notes)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_map_that_wraps_around_goes_on_past_its_borders(stride: int) -> None:
    """As any other does: on a map of 6 the window of five 3x3 is larger than the map, also after circular padding."""
    first = nn.Conv2d(1, 1, 3, stride, padding=1, padding_mode="circular")
    net = nn.Sequential(first, *(nn.Conv2d(1, 1, 3, padding=1) for _ in range(4)))
    told = profile(net, (1, 1, 6, 6)).receptive_field()
    assert (told.size, told.stride) == ((3 + 4 * 2 * stride,) * 2, (stride,) * 2)
