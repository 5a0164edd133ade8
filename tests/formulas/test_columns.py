"""Windows as columns and back, and max pooling undone: their loops, and torch's own modules."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import nn

from costmodel import formulas as f
from costmodel.quantities import Work
from tests.formulas.oracles import Tally, starts, values

WINDOWS = [
    {"kernel": (2, 3), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)},
    {"kernel": (2, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)},
]


def windows(window: dict[str, tuple[int, int]], size: tuple[int, int]) -> list[list[tuple[int, int]]]:
    """The places of each window, those on the padding too."""
    axes = [
        starts(size=n, reach=d * (k - 1) + 1, stride=s, before=p, after=p)
        for n, k, s, p, d in zip(
            size, *(window[name] for name in ("kernel", "stride", "padding", "dilation")), strict=True
        )
    ]
    taps = list(product(*map(range, window["kernel"])))
    steps = window["dilation"]
    return [[(y + a * steps[0], x + b * steps[1]) for a, b in taps] for y, x in product(*axes)]


@pytest.mark.parametrize("window", WINDOWS)
def test_unfold_copies_every_tap(window: dict[str, tuple[int, int]]) -> None:
    """2 samples of 3 channels: an element of the result for each tap of each window."""
    taps = sum(map(len, windows(window, (5, 6))))
    cost = f.unfold(channels=3, size=(5, 6), batch=2, **window)
    layer = nn.Unfold(window["kernel"], window["dilation"], window["padding"], window["stride"])
    assert cost.output_shape == layer(torch.rand(2, 3, 5, 6)).shape
    assert (cost.read, cost.written, cost.work) == (2 * 3 * 30, 2 * 3 * taps, Work())


@pytest.mark.parametrize("window", WINDOWS)
def test_fold_adds_every_element(window: dict[str, tuple[int, int]]) -> None:
    """One sample and channel: each element of each column is added at its place; the values are torch's."""
    places = windows(window, (5, 6))
    columns = torch.rand(math.prod(window["kernel"]), len(places), dtype=torch.float64)
    tally = Tally()
    padded = {(y, x): tally.number(0) for y in range(-2, 8) for x in range(-2, 9)}
    for column, window_places in enumerate(places):
        for tap, place in enumerate(window_places):
            padded[place] = padded[place] + tally.number(columns[tap, column].item())
    mine = torch.stack([values([padded[y, x] for x in range(6)]) for y in range(5)])
    layer = nn.Fold((5, 6), window["kernel"], window["dilation"], window["padding"], window["stride"])
    assert torch.allclose(mine, layer(columns)[0])
    cost = f.fold(channels=1, output_size=(5, 6), **window)
    assert cost.work == tally.work
    assert (cost.read, cost.written, cost.output_shape) == (columns.numel(), 30, (1, 1, 5, 6))
    assert f.fold(channels=3, output_size=(5, 6), batch=2, **window).work == Work(adds=6 * columns.numel())


def test_unpooling_reads_values_and_indices() -> None:
    """2 maps of 3 x 4 into 6 x 8: 24 values, 24 indices, 96 written, and no arithmetic."""
    cost = f.max_unpool(channels=2, size=(3, 4), output_size=(6, 8))
    assert (cost.read, cost.written, cost.work) == (24 + 24, 96, Work())
    assert f.max_unpool(channels=2, size=(3,), output_size=(6,), batch=4).memory_access == 4 * (12 + 12)


@pytest.mark.parametrize("order", [2, 1, math.inf])
def test_a_distance_counts_its_definition(order: float) -> None:
    """3 pairs of 4 numbers: differences, the small number that is added, and the norm; the values are torch's."""
    x, y = torch.rand(3, 4, dtype=torch.float64) + 2, torch.rand(3, 4, dtype=torch.float64)
    tally = Tally()
    found = []
    for a, b in zip(x, y, strict=True):
        gaps = [p - q + 1e-6 for p, q in zip(tally.numbers(a), tally.numbers(b), strict=True)]
        if order == 2:
            found.append(tally.call(math.sqrt, tally.total([g * g for g in gaps])))
        elif order == 1:
            found.append(tally.total(gaps))
        else:
            top = gaps[0]
            for gap in gaps[1:]:
                top = tally.larger(top, gap)
            found.append(top)
    assert torch.allclose(values(found), nn.PairwiseDistance(order)(x, y))
    cost = f.pairwise_distance(features=4, rows=3, norm_type=order)
    assert cost.work == tally.work
    assert cost.memory_access == (12 + 12 + 12) + (12 + 12) + (12 + 3)
    assert cost.output_shape == (3,)
    assert f.pairwise_distance(features=4, rows=(3,), keepdim=True).output_shape == (3, 1)


def test_dropout_of_planes_draws_one_number_for_each() -> None:
    """16 planes of 4 x 5: 16 drawn, 16 read, divided and written, 320 multiplied by them; nothing at inference."""
    cost = f.feature_dropout(shape=(2, 8, 4, 5), planes=16, training=True)
    assert cost.work == Work(divides=16, multiplies=320)
    assert cost.memory_access == 16 + (16 + 16) + (320 + 16 + 320)
    for idle in ({"training": False}, {"training": True, "p": 0}):
        assert f.feature_dropout(shape=(2, 8, 4, 5), planes=16, **idle).memory_access == 0
