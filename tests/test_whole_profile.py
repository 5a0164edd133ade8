"""The views of a profile grow with its layers, and no faster: work is counted, as times depend on the machine."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from costmodel import Profile, profile


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
