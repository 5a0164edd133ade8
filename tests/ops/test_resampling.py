"""Upsampling, shuffles and sampling grids: worked numbers, layouts, and the positions that torch's kernels read."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from costmodel.access import Affine
from costmodel.ops import RULES
from costmodel.quantities import Traffic, Work
from tests.ops._asking import readers, record, traffic, work

sizes = st.integers(1, 9)


@pytest.mark.parametrize(
    ("name", "axes", "multiplies", "adds"),
    [
        ("upsample_nearest{}d", 1, 0, 0), ("upsample_nearest{}d", 2, 0, 0), ("upsample_nearest{}d", 3, 0, 0),
        ("_upsample_nearest_exact{}d", 1, 0, 0), ("_upsample_nearest_exact{}d", 2, 0, 0),
        ("_upsample_nearest_exact{}d", 3, 0, 0),
        ("upsample_linear{}d", 1, 2, 1), ("upsample_bilinear{}d", 2, 4, 3), ("upsample_trilinear{}d", 3, 8, 7),
        ("upsample_bicubic{}d", 2, 16, 15),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channels_last", [False, True])
def test_interpolation_is_a_weighted_sum(name: str, axes: int, multiplies: int, adds: int, channels_last: bool) -> None:
    """Each output weighs its neighbours and adds them up; input and output move once, in the input's layout."""
    x = torch.rand(2, 3, *(4, 5, 3)[:axes])
    if channels_last and axes > 1:
        x = x.to(memory_format=torch.channels_last if axes == 2 else torch.channels_last_3d)
    arguments: dict[str, Any] = {"self": x, "output_size": [7] * axes}
    if multiplies:
        arguments["align_corners"] = False
    target, outputs = f"aten.{name.format(axes)}.default", 6 * 7**axes
    assert work(target, **arguments) == Work(multiplies=multiplies * outputs, adds=adds * outputs)
    expected = Traffic(read=x.numel(), written=outputs, read_bytes=4 * x.numel(), written_bytes=4 * outputs)
    assert traffic(target, **arguments) == expected


def tap_of(target: str, **arguments: Any) -> Affine:
    """The tap of the last axis."""
    access = RULES[target].access(record(target, **arguments), 0)
    assert isinstance(access, dict)
    tap = access["self"][-1]
    assert isinstance(tap, Affine)
    return tap


@given(n=sizes, m=sizes, exact=st.booleans())
def test_nearest_reads_one_position(n: int, m: int, exact: bool) -> None:
    """The tap of every output is the one position that torch's kernel reads."""
    name = "_upsample_nearest_exact1d" if exact else "upsample_nearest1d"
    tap = tap_of(f"aten.{name}.default", self=torch.rand(1, 1, n), output_size=[m])
    read = readers(partial(getattr(torch.ops.aten, name), output_size=[m]), n)
    assert [list(range(tap.pull(o, o)[0], tap.pull(o, o)[1] + 1)) for o in range(m)] == read


def on_rows(run: Callable[..., torch.Tensor], m: int, corners: bool, scale: float | None = None) -> Any:
    """A 2-d kernel on rows of height 1."""
    return lambda x: run(x[:, :, None], [1, m], corners, None, scale)


@given(n=sizes, m=sizes, corners=st.booleans(), cubic=st.booleans())
def test_interpolation_reads_its_neighbours(n: int, m: int, corners: bool, cubic: bool) -> None:
    """No output reads outside its tap, but for the neighbour of weight 0 where the position is clamped to 0."""
    target = "aten.upsample_bicubic2d.default" if cubic else "aten.upsample_bilinear2d.default"
    run = torch.ops.aten.upsample_bicubic2d if cubic else torch.ops.aten.upsample_bilinear2d
    tap = tap_of(target, self=torch.rand(1, 1, 1, n), output_size=[1, m], align_corners=corners)
    for o, read in enumerate(readers(on_rows(run, m, corners), n)):
        low, high = tap.pull(o, o)
        # Positions beyond the border stand for the border.
        said = {min(max(i, 0), n - 1) for i in range(low, high + 1)}
        assert set(read) <= (said | {1} if low < 0 and not cubic else said), (o, low, high, read)


@given(n=sizes, scale=st.sampled_from([0.5, 1.5, 2.0, 1.7, 3.0]))
def test_a_given_scale_decides_over_the_sizes(n: int, scale: float) -> None:
    """With recompute_scale_factor off, torch samples at the scale it was given: 1 / scale positions apart."""
    m = max(int(n * scale), 1)
    tap = tap_of("aten.upsample_nearest1d.default", self=torch.rand(1, 1, n), output_size=[m], scales=scale)
    read = readers(lambda x: torch.ops.aten.upsample_nearest1d(x, [m], scale), n)
    assert [[min(tap.pull(o, o)[0], n - 1)] for o in range(m)] == read


@given(n=sizes, m=sizes, cubic=st.booleans())
@settings(max_examples=60)
def test_antialiased_interpolation_counts_the_positions_it_reads(n: int, m: int, cubic: bool) -> None:
    """Taps are the positions that torch's kernel reads; k of them are k products and k - 1 sums, none is a copy."""
    name = "_upsample_bicubic2d_aa" if cubic else "_upsample_bilinear2d_aa"
    # A bound that is a whole number is rounded either way by torch's floating point.
    ratio = Fraction(n, m)
    reach = (2 if cubic else 1) * max(ratio, Fraction(1))
    bounds = [ratio * (o + Fraction(1, 2)) + side * reach + Fraction(1, 2) for o in range(m) for side in (-1, 1)]
    assume(n == m or all(bound.denominator > 1 or not 0 < bound < n for bound in bounds))
    read = readers(on_rows(getattr(torch.ops.aten, name), m, False), n)
    arguments = {"self": torch.rand(1, 2, 1, n), "output_size": [1, m], "align_corners": False}
    tap = tap_of(f"aten.{name}.default", **arguments)
    assert [[i for i in range(tap.pull(o, o)[0], tap.pull(o, o)[1] + 1) if 0 <= i < n] for o in range(m)] == read
    taps = 2 * sum(map(len, read))
    expected = Work(multiplies=taps, adds=taps - 2 * m) if n != m else Work()
    assert work(f"aten.{name}.default", **arguments) == expected


@given(r=st.integers(1, 3), c=st.integers(1, 3), h=st.integers(1, 3), w=st.integers(1, 3), batch=st.integers(0, 2))
@settings(max_examples=30)
def test_pixel_shuffles_copy(r: int, c: int, h: int, w: int, batch: int) -> None:
    """Channels become pixels, or pixels channels, in one copy without arithmetic."""
    leading = [batch] if batch else []
    x, y = torch.rand(*leading, c * r * r, h, w), torch.rand(*leading, c, h * r, w * r)
    n = x.numel()
    once = Traffic(read=n, written=n, read_bytes=4 * n, written_bytes=4 * n)
    for target, arguments in (
        ("aten.pixel_shuffle.default", {"self": x, "upscale_factor": r}),
        ("aten.pixel_unshuffle.default", {"self": y, "downscale_factor": r}),
        ("aten.channel_shuffle.default", {"self": torch.rand(2, c * r, h, w), "groups": r}),
    ):
        assert work(target, **arguments) == Work()
        if "channel" not in target:
            assert traffic(target, **arguments) == once


GRID = {"input": torch.rand(1, 3, 5, 6), "grid": torch.rand(1, 4, 2, 2)}


@pytest.mark.parametrize(
    ("mode", "corners", "expected"),
    [
        # 8 points, 16 coordinates, 24 outputs. A coordinate to pixels: 2 adds, a multiply and a division; from corner
        # to corner 1 add. A point: 4 distances, 4 products of them. An output: 4 products, 3 sums.
        (0, False, Work(adds=32 + 32 + 72, multiplies=16 + 32 + 96, divides=16)),
        (0, True, Work(adds=16 + 32 + 72, multiplies=16 + 32 + 96, divides=16)),
        (1, False, Work(adds=32, multiplies=16, divides=16)),
        # A coordinate: 4 distances, two polynomials of 3 products and 2 sums, two of 3 and 3. An output: 5 weighted
        # sums of 4.
        (2, False, Work(adds=32 + 16 * (4 + 10) + 24 * 15, multiplies=16 + 16 * 12 + 24 * 20, divides=16)),
    ],
)
def test_sampling_by_a_grid(mode: int, corners: bool, expected: Work) -> None:
    """Positions and weights are made at every point of the grid, the weighted sum for every channel."""
    arguments = GRID | {"interpolation_mode": mode, "padding_mode": 0, "align_corners": corners}
    assert work("aten.grid_sampler_2d.default", **arguments) == expected
    expected_traffic = Traffic(read=90 + 16, written=24, read_bytes=424, written_bytes=96)
    assert traffic("aten.grid_sampler_2d.default", **arguments) == expected_traffic


def test_sampling_a_volume() -> None:
    """6 points, 18 coordinates, 12 outputs: 6 distances and 8 x 2 products a point, 8 products and 7 sums an output."""
    arguments = {"input": torch.rand(1, 2, 3, 4, 5), "grid": torch.rand(1, 1, 2, 3, 3)}
    options = {"interpolation_mode": 0, "padding_mode": 0, "align_corners": False}
    expected = Work(adds=36 + 36 + 84, multiplies=18 + 96 + 96, divides=18)
    assert work("aten.grid_sampler_3d.default", **arguments, **options) == expected


def test_an_affine_grid_is_a_product_of_matrices() -> None:
    """30 positions of 3 numbers times a (3, 2) matrix, for each of two samples; in three dimensions (4, 3)."""
    plane = {"theta": torch.rand(2, 2, 3), "size": [2, 1, 5, 6], "align_corners": False}
    assert work("aten.affine_grid_generator.default", **plane) == Work(macs=2 * 30 * 6)
    space = {"theta": torch.rand(1, 3, 4), "size": [1, 1, 2, 3, 4], "align_corners": True}
    assert work("aten.affine_grid_generator.default", **space) == Work(macs=24 * 12)
