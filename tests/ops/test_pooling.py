"""Pooling against naive loops, and against the positions that torch's kernels really read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from costmodel.access import Affine
from costmodel.ops import RULES
from costmodel.quantities import Traffic, Work
from tests.ops._asking import positions, readers, record, traffic, work


@st.composite
def pools(draw: st.DrawFn, *, dilated: bool) -> tuple[int, dict[str, Any]]:
    """The number of axes, and the arguments of one pooling."""
    axes = draw(st.integers(1, 3))

    def per_axis(low: int, high: int) -> list[int]:
        return [draw(st.integers(low, high)) for _ in range(axes)]

    kernel = per_axis(1, 3)
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    stride = per_axis(1, 4) if draw(st.booleans()) else []
    dilation = per_axis(1, 2) if dilated else [1] * axes
    size = per_axis(1, {1: 9, 2: 6, 3: 4}[axes])
    assume(all(n + 2 * p > d * (k - 1) for n, k, p, d in zip(size, kernel, padding, dilation, strict=True)))
    x = torch.rand(draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size)
    if draw(st.booleans()) and axes > 1:
        x = x.to(memory_format=torch.channels_last if axes == 2 else torch.channels_last_3d)
    if axes < 3 and draw(st.booleans()):
        x = x[0].contiguous()
    arguments = {"self": x, "kernel_size": kernel, "stride": stride, "padding": padding}
    if dilated:
        arguments["dilation"] = dilation
    return axes, arguments | {"ceil_mode": draw(st.booleans())}


def steps(asked: Any) -> tuple[int, int]:
    """Outputs, and how often a further tap of a window is met after its first, by walking over both."""
    met = 0
    for _ in positions(asked.outputs[0].shape):
        met += sum(1 for _ in positions(tuple(asked.args["kernel_size"]))) - 1
    return sum(1 for _ in positions(asked.outputs[0].shape)), met


@given(pool=pools(dilated=True))
@settings(max_examples=40)
def test_max_pooling_compares_each_further_tap(pool: tuple[int, dict[str, Any]]) -> None:
    """k - 1 comparisons an output, with or without indices, and sizes, ceil_mode and layout are torch's."""
    axes, arguments = pool
    for suffix in ("", "_with_indices"):
        asked = record(f"aten.max_pool{axes}d{suffix}.default", **arguments)
        assert RULES[asked.op].work(asked) == Work(compares=steps(asked)[1])


@given(pool=pools(dilated=False), counts_padding=st.booleans())
@settings(max_examples=40)
def test_average_pooling_adds_each_further_tap(pool: tuple[int, dict[str, Any]], counts_padding: bool) -> None:
    """k - 1 additions and a division an output; sizes, ceil_mode and layout are torch's."""
    axes, arguments = pool
    # torch's 3-d kernel takes no window that is larger than the input without its padding.
    assume(axes < 3 or all(n >= k for n, k in zip(arguments["self"].shape[-3:], arguments["kernel_size"], strict=True)))
    asked = record(f"aten.avg_pool{axes}d.default", **arguments, count_include_pad=counts_padding)
    outputs, met = steps(asked)
    assert RULES[asked.op].work(asked) == Work(adds=met, divides=outputs)


@given(
    n=st.integers(1, 12), k=st.integers(1, 4), stride=st.integers(1, 4), dilation=st.integers(1, 2), ceil=st.booleans()
)
def test_the_window_of_a_pool_is_what_it_reads(n: int, k: int, stride: int, dilation: int, ceil: bool) -> None:
    """First and last position that torch's max pooling reads, for every output."""
    assume(n + 2 * (k // 2) > dilation * (k - 1))

    def run(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.max_pool1d(x, k, stride, k // 2, dilation, ceil)

    target = "aten.max_pool1d_with_indices.default"
    asked = record(target, self=torch.rand(1, 1, n), kernel_size=[k], stride=[stride], padding=[k // 2],
                   dilation=[dilation], ceil_mode=ceil)  # fmt: skip
    tap = RULES[target].access(asked, 0)["self"][2]  # type: ignore[index]
    for o, read in enumerate(readers(run, n)):
        low, high = tap.pull(o, o)
        assert read == [i for i in range(low, high + 1, dilation) if 0 <= i < n]


@given(sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=3), batched=st.booleans())
@settings(max_examples=40)
def test_adaptive_pooling_counts_each_output_s_own_window(sizes: list[tuple[int, int]], batched: bool) -> None:
    """Windows are those that torch reads, axis by axis; each of k elements costs k - 1 steps, and a mean a division."""
    axes = len(sizes)
    windows = [readers(lambda x, m=m: torch.nn.functional.adaptive_avg_pool1d(x, m), n) for n, m in sizes]
    channels = 2
    met = 0
    for at in positions(tuple(m for _, m in sizes)):
        taps = 1
        for axis, o in enumerate(at):
            taps *= len(windows[axis][o])
        met += channels * (taps - 1)
    x = torch.rand(1, channels, *(n for n, _ in sizes))
    arguments = {"self": x if batched else x[0], "output_size": [m for _, m in sizes]}
    asked = record(f"aten.adaptive_max_pool{axes}d.default", **arguments)
    assert RULES[asked.op].work(asked) == Work(compares=met)
    for tap, window in zip(RULES[asked.op].access(asked, 0)["self"][-axes:], windows, strict=True):  # type: ignore[index]
        assert isinstance(tap, Affine)
        assert [tap.pull(o, o) for o in range(len(window))] == [(read[0], read[-1]) for read in window]
    if axes > 1:
        outputs = asked.outputs[0].size
        assert work(f"aten._adaptive_avg_pool{axes}d.default", **arguments) == Work(adds=met, divides=outputs)


def test_resnet_s_first_pool() -> None:
    """3x3 over (64, 112, 112) to (64, 56, 56): 8 comparisons for each of 200,704 outputs."""
    arguments = {"self": torch.rand(1, 64, 112, 112), "kernel_size": [3], "stride": [2], "padding": [1]}
    assert work("aten.max_pool2d.default", **arguments) == Work(compares=1_605_632)
    once = Traffic(read=802_816, read_bytes=3_211_264, written=200_704, written_bytes=802_816)
    assert traffic("aten.max_pool2d.default", **arguments) == once
    # Indices are as many again, of 8 bytes each.
    both = once + Traffic(written=200_704, written_bytes=1_605_632)
    assert traffic("aten.max_pool2d_with_indices.default", **arguments) == both


@pytest.mark.parametrize("target", ["aten.max_pool2d.default", "aten.avg_pool2d.default"])
def test_a_window_that_does_not_fit_is_an_error(target: str) -> None:
    """The reason names the window and the input."""
    asked = record(target, self=torch.rand(1, 1, 4, 4), kernel_size=[3])
    outputs = RULES[target].outputs
    assert callable(outputs)
    small = type(asked.outputs[0])((1, 1, 4, 2))
    with pytest.raises(ValueError, match=r"window \(3,\) does not fit the input \(1, 1, 4, 2\)"):
        outputs(asked.args | {"self": small})
    with pytest.raises(ValueError, match=r"2-d pooling takes .* got \(4, 2\)"):
        outputs(asked.args | {"self": type(small)((4, 2))})
