"""Normalisations: worked numbers, and each statistic counted by doing it by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.quantities import Traffic, Work
from tests.ops._asking import record, traffic, work
from tests.ops._binding import resolve

BATCH_NORM = "aten.native_batch_norm.default"


def moved(read: int, written: int) -> Traffic:
    """So many elements of 4 bytes."""
    return Traffic(read=read, written=written, read_bytes=4 * read, written_bytes=4 * written)


class Tally:
    """Numbers that count the arithmetic done with them."""

    def __init__(self) -> None:
        self.done = {"adds": 0, "multiplies": 0, "divides": 0, "transcendentals": 0}

    def __call__(self, kind: str, times: int = 1) -> None:
        self.done[kind] += times

    def standardise(self, n: int) -> None:
        """One group of n numbers: mean, variance, inverse deviation, and every number scaled."""
        for _ in range(n - 1):
            self("adds")
        self("divides")
        for _ in range(n):
            self("adds")  # centre
            self("multiplies")  # square
        for _ in range(n - 1):
            self("adds")
        self("divides")
        self("adds")  # eps
        self("transcendentals")
        for _ in range(n):
            self("multiplies")

    @property
    def work(self) -> Work:
        return Work(**self.done)


def batch_norm(x: torch.Tensor, *, training: bool, affine: bool = True, tracked: bool = True) -> dict[str, Any]:
    """The arguments of one batch norm."""
    c = x.shape[1]
    w, b = (torch.rand(c), torch.rand(c)) if affine else (None, None)
    mean, var = (torch.zeros(c), torch.ones(c)) if tracked else (None, None)
    return {
        "input": x, "weight": w, "bias": b, "running_mean": mean, "running_var": var, "training": training,
        "momentum": 0.1, "eps": 1e-5,
    }  # fmt: skip


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_at_inference_is_a_multiply_and_an_add(affine: bool) -> None:
    """(2, 3, 4, 5): 120 multiplies, 120 adds, affine or not; statistics and parameters are read."""
    arguments = batch_norm(torch.rand(2, 3, 4, 5), training=False, affine=affine)
    assert work(BATCH_NORM, **arguments) == Work(multiplies=120, adds=120)
    assert traffic(BATCH_NORM, **arguments) == moved(120 + (12 if affine else 6), 120)


def test_batch_norm_in_training_by_hand() -> None:
    """(2, 3, 4, 5), 40 elements a channel: statistics, normalisation, affine map, and moving averages."""
    # A channel: 39 + 40 + 39 + 1 + 40 adds, 40 + 40 + 40 multiplies, 2 divides, 1 root; averages 2 adds, 5 multiplies.
    arguments = batch_norm(torch.rand(2, 3, 4, 5), training=True)
    assert work(BATCH_NORM, **arguments) == Work(adds=3 * 161, multiplies=3 * 125, divides=6, transcendentals=3)
    # x, weight, bias, running mean and variance; y, both saved statistics and both running ones.
    assert traffic(BATCH_NORM, **arguments) == moved(120 + 12, 120 + 6 + 6)


@given(shape=st.lists(st.integers(1, 4), min_size=2, max_size=5), affine=st.booleans(), tracked=st.booleans())
@settings(max_examples=30)
def test_batch_norm_in_training_step_by_step(shape: list[int], affine: bool, tracked: bool) -> None:
    """Every channel is one group over batch and positions."""
    shape[0] += 1  # torch refuses a single value per channel
    x = torch.rand(shape)
    tally = Tally()
    for _ in range(shape[1]):
        n = x[:, 0].numel()
        tally.standardise(n)
        for _ in range(n if affine else 0):
            tally("multiplies")
            tally("adds")
        if tracked:
            tally("multiplies", 2 + 2 + 1)
            tally("adds", 2)
    assert work(BATCH_NORM, **batch_norm(x, training=True, affine=affine, tracked=tracked)) == tally.work


@given(rows=st.integers(1, 5), n=st.integers(1, 6), weight=st.booleans(), bias=st.booleans())
@settings(max_examples=30)
def test_layer_norm_step_by_step(rows: int, n: int, weight: bool, bias: bool) -> None:
    """Every row is one group; saved means and deviations are not counted as traffic."""
    tally = Tally()
    for _ in range(rows):
        tally.standardise(n)
    tally("multiplies", rows * n * weight)
    tally("adds", rows * n * bias)
    arguments = {
        "input": torch.rand(rows, n), "normalized_shape": [n], "weight": torch.rand(n) if weight else None,
        "bias": torch.rand(n) if bias else None, "eps": 1e-5,
    }  # fmt: skip
    assert work("aten.native_layer_norm.default", **arguments) == tally.work
    assert traffic("aten.native_layer_norm.default", **arguments) == moved(rows * n + n * (weight + bias), rows * n)


@given(batch=st.integers(1, 3), groups=st.integers(1, 3), channels=st.integers(1, 3), size=st.integers(1, 4))
@settings(max_examples=30)
def test_group_norm_step_by_step(batch: int, groups: int, channels: int, size: int) -> None:
    """Every group of channels of every sample is one group of elements."""
    c = groups * channels
    x, w = torch.rand(batch, c, size, 2), torch.rand(c)
    tally = Tally()
    for _ in range(batch * groups):
        tally.standardise(channels * size * 2)
    tally("multiplies", x.numel())
    tally("adds", x.numel())
    arguments = {"input": x, "weight": w, "bias": w, "N": batch, "C": c, "HxW": size * 2, "group": groups, "eps": 1e-5}
    assert work("aten.native_group_norm.default", **arguments) == tally.work


def test_instance_norm_by_hand() -> None:
    """(2, 3, 4, 5): six groups of 20; tracked, each one's averages move and are meaned over the batch of 2."""
    x, stats = torch.rand(2, 3, 4, 5), {"running_mean": None, "running_var": None}
    settings_ = {"weight": None, "bias": None, "momentum": 0.1, "eps": 1e-5, "cudnn_enabled": False}
    target = "aten.instance_norm.default"
    plain = work(target, input=x, **stats, use_input_stats=True, **settings_)
    assert plain == Work(adds=6 * (19 + 20 + 19 + 1), multiplies=6 * 40, divides=12, transcendentals=6)
    running = {"running_mean": torch.zeros(3), "running_var": torch.ones(3)}
    tracked = work(target, input=x, **running, use_input_stats=True, **settings_)
    # 2 adds and 5 multiplies for each of six; then for both statistics of 3 channels one add and one division.
    assert tracked == plain + Work(adds=12 + 6, multiplies=30, divides=6)
    inference = work(target, input=x, **running, use_input_stats=False, **settings_)
    assert inference == Work(adds=120, multiplies=120)
    assert traffic(target, input=x, **running, use_input_stats=True, **settings_) == moved(126, 126)
    assert traffic(target, input=x, **running, use_input_stats=False, **settings_) == moved(126, 120)


@pytest.mark.parametrize("target", [t for t in ("aten.rms_norm.default", "aten._fused_rms_norm.default") if resolve(t)])
@pytest.mark.parametrize("weighted", [True, False])
def test_rms_norm_by_hand(target: str, weighted: bool) -> None:
    """4 rows of 6: 6 squares, 5 sums, a division, eps, a root and 6 products each; the weight is 24 more."""
    w = torch.rand(6) if weighted else None
    arguments = {"input": torch.rand(4, 6), "normalized_shape": [6], "weight": w, "eps": 1e-5}
    multiplies = 4 * 12 + (24 if weighted else 0)
    assert work(target, **arguments) == Work(multiplies=multiplies, adds=24, divides=4, transcendentals=4)
    assert traffic(target, **arguments) == moved(24 + (6 if weighted else 0), 24)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (1, 0, 2, 3), (3, 2, 1, 0)])
def test_the_layout_of_an_rms_norm_is_torchs(order: tuple[int, ...]) -> None:
    """The input's strides in releases that kept them, a memory format since."""
    x = torch.rand(2, 3, 4, 5).permute(order)
    for tensor in (x, x.to(memory_format=torch.channels_last)):
        call = record("aten.rms_norm.default", input=tensor, normalized_shape=[tensor.shape[-1]])
        assert call.outputs[0].shape == tuple(tensor.shape)
