"""What a position is told to see, held at every layer to what the real network passes on: input slabs turn NaN."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, assume, given, reject, settings
from torch import nn

from costmodel import models, profile
from costmodel.receptive_field import Fields
from tests.receptive_field._networks import CHANNELS, UNBOUNDED, networks
from tests.receptive_field._oracle import check, is_finite, poisoned

EVERY = 50
"""More positions than any drawn network has."""

SMALL = {
    "alexnet": 63, "vgg11": 32, "resnet18": 40, "resnet50": 33, "googlenet": 48, "inception_v3": 75,
    "mobilenet_v1": 45, "mobilenet_v2": 45, "mobilenet_v3_small": 45, "shufflenet_v1": 45, "shufflenet_v2": 45,
    "xception": 45, "efficientnet_b0": 33, "ghostnet": 33, "se_resnet50": 33,
}  # fmt: skip
"""Networks of the zoo and the input side that is enough for them. Odd sides leave rests at the far border."""


@given(drawn=networks())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_every_position_of_every_drawn_network(drawn: tuple[nn.Sequential, int]) -> None:
    """First and last input position seen, at every layer and position: no more and no less than NaN reaches."""
    net, length = drawn
    assume(is_finite(net, (1, CHANNELS, length)))
    check(net, (1, CHANNELS, length), at_most=EVERY)


@given(drawn=networks(moves=UNBOUNDED, length=240, crop=8, most=4))
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
def test_far_from_every_border_the_nominal_interval_is_what_is_seen(drawn: tuple[nn.Sequential, int]) -> None:
    """Where a window reaches no padding on the way, ``start`` and ``size`` are what NaN finds."""
    net, length = drawn
    assume(len(net) and is_finite(net, (1, CHANNELS, length)))
    last = str(len(net) - 1)
    fields = Fields(profile(net, (1, CHANNELS, length)).pricing)
    (mask,) = poisoned(net, (1, CHANNELS, length), [last])[last]
    sizes = set()
    for o in range(mask.shape[-1]):
        told = fields.at(last, (o,))
        if told.start[0] is None or told.size[0] is None:
            continue
        first, end = told.start[0], told.start[0] + told.size[0] - 1
        if first >= 100 and end < 140:
            hits = mask[:, :, o].any(1).nonzero().flatten().tolist()
            assert (first, end) == (hits[0], hits[-1])
            sizes.add(told.size[0])
    assert not sizes or max(sizes) <= (fields.at(last).size[0] or 0)


@given(drawn=networks(moves=UNBOUNDED, length=60, most=6))
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
def test_the_nominal_field_is_the_network_s_and_not_the_input_s(drawn: tuple[nn.Sequential, int]) -> None:
    """Stride and start are the same on an input twice as long; so is size, unless strides that differ drift apart."""
    net, length = drawn
    assume(len(net))
    try:
        net(torch.zeros(1, CHANNELS, 2 * length))
    except ValueError:
        reject()  # branches that differ by too much on a longer input
    short, long = (profile(net, (1, CHANNELS, n)).receptive_field(str(len(net) - 1)) for n in (length, 2 * length))
    assert (short.stride, short.start) == (long.stride, long.start)
    if any("strides" in note for note in long.notes):
        assert (short.size[0] or 0) <= (long.size[0] or 0)
    else:
        assert short.size == long.size


@pytest.mark.parametrize("name", SMALL)
def test_the_zoo_at_interior_and_border_positions(name: str) -> None:
    """Every leaf layer of the zoo's networks, the local path: gates are held open."""
    torch.manual_seed(0)
    model = getattr(models, name)()
    shape = (1, 3, SMALL[name], SMALL[name])
    layers = [n for n, m in model.named_modules() if not list(m.children()) and "se" not in n.split(".")]
    told = Fields(profile(model, shape).pricing)
    for n, m in model.named_modules():
        if n.split(".")[-1] == "se":
            m.register_forward_hook(lambda m, i, y: i[0])
    compared = check(model, shape, names={*layers[:: 1 + len(layers) // 40], layers[-1]}, at_most=3, fields=told)
    assert compared > 40


def test_three_dimensions() -> None:
    """HybridSN: bands and both spatial axes of its 3-d convolutions, then bands joined with channels."""
    assert check(models.hybridsn(), (1, 1, 30, 25, 25), names=["conv1", "conv2", "conv3"], at_most=3) > 40


@pytest.mark.parametrize("wrong", ["one too small", "one too late"])
def test_a_wrong_interval_is_found(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The poison finds a table that is off by one position at either end."""
    net = nn.Sequential(nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1), nn.MaxPool1d(2), nn.Conv1d(CHANNELS, CHANNELS, 3))
    assert check(net, (1, CHANNELS, 12)) > 10
    fields = Fields(profile(net, (1, CHANNELS, 12)).pricing)
    honest = Fields.at

    def dishonest(self: Fields, layer: str, position: tuple[int, ...]) -> object:
        told = honest(self, layer, position)
        assert told.seen is not None
        assert told.seen[0] is not None
        low, high = told.seen[0]
        object.__setattr__(told, "seen", ((low + (wrong == "one too late"), high - (wrong == "one too small")),))
        return told

    monkeypatch.setattr(Fields, "at", dishonest)
    with pytest.raises(AssertionError, match="told"):
        check(net, (1, CHANNELS, 12), fields=fields)
