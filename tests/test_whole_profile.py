"""The views of a profile grow with its layers, and no faster: work is counted, as times depend on the machine."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel import Profile, profile


class Block(nn.Module):
    """A layer, a norm, and additions that no layer runs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """With a residual."""
        return x + self.norm(self.fc(x) + 1)


def lines_of(run: Callable[[], Any]) -> int:
    """The lines of Python that a call runs: its loops, its calls, and those of all that it calls."""
    lines = 0

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        run()
    finally:
        sys.settrace(before)
    return lines


def traced(blocks: int) -> Profile:
    """A new profile of so many blocks."""
    p = profile(nn.Sequential(*[Block() for _ in range(blocks)]), (1, 6, 4))
    assert p.macs == blocks * 6 * 16
    return p


VIEWS: dict[str, Callable[[Profile], Any]] = {
    "layers": lambda p: p.layers, "modules": lambda p: p.modules, "ops": lambda p: p.ops,
    "memory": lambda p: p.memory, "crosscheck": lambda p: p.crosscheck(), "peak": lambda p: p.peak,
    "fused_memory_access": lambda p: p.fused_memory_access, "guidelines": lambda p: p.guidelines(),
    "roofline": lambda p: p.roofline("a100"), "receptive_field": lambda p: p.receptive_field("0.fc"),
    "str": str, "to_markdown": lambda p: p.to_markdown(), "to_html": lambda p: p.to_html(),
    "to_json": lambda p: p.to_json(), "to_csv": lambda p: p.to_csv(),
    "totals": lambda p: [p.total(name) for name in costmodel.measures.MEASURES],
}  # fmt: skip


def assert_linear(lines: Callable[[int], int]) -> None:
    """Blocks 81 to 160 take what blocks 41 to 80 took, twice over."""
    lines(20)  # imports, and what is made once
    first, second, fourth = (lines(n) for n in (40, 80, 160))
    assert 0 < fourth - second <= 2.05 * (second - first)


def test_a_trace_is_linear_in_layers() -> None:
    """Twice as many blocks run twice the lines."""
    assert_linear(lambda n: lines_of(lambda: traced(n)))


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_linear_in_layers(name: str) -> None:
    """Each view of a profile runs the same lines for each layer, however many there are."""
    assert_linear(lambda n: (lambda p: lines_of(lambda: VIEWS[name](p)))(traced(n)))


@pytest.mark.parametrize(
    "view",
    [
        lambda p: p.layers, lambda p: p.crosscheck(), lambda p: p.peak, lambda p: p.fused_memory_access,
        lambda p: p.guidelines(), lambda p: p.roofline("a100"), lambda p: p.to_json(),
    ],
)  # fmt: skip
def test_no_view_waits_for_passes_of_the_garbage_collector(view: Callable[[Profile], Any]) -> None:
    """Records of all layers are kept: passes over them, again and again, would make a view superlinear."""
    view(profile(nn.Sequential(nn.Linear(4, 4)), (1, 4)))  # imports
    p = profile(nn.Sequential(*[nn.Linear(4, 4) for _ in range(400)]), (1, 4))
    assert p.macs == 400 * 16
    passes: list[str] = []

    def count(phase: str, _: dict[str, int]) -> None:
        passes.append(phase)

    gc.collect()
    gc.callbacks.append(count)
    try:
        view(p)
    finally:
        gc.callbacks.remove(count)
    assert len(passes) <= 4  # before it begins, and after it has ended: a start and a stop each
