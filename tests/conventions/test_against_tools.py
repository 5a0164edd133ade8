"""Each convention against the tool itself: totals and parameters are equal to the integer."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import costmodel
from tests.conventions.small import SMALL, tensors


def fvcore(model: nn.Module, x: tuple[torch.Tensor, ...]) -> tuple[Any, Any]:
    """What fvcore prints: its flops, and its count of parameters."""
    from fvcore.nn import FlopCountAnalysis, parameter_count

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    return FlopCountAnalysis(model, x).total(), parameter_count(model)[""]


def flop_counter(model: nn.Module, x: tuple[torch.Tensor, ...]) -> tuple[Any, Any]:
    """What torch's own counter prints; it counts no parameters."""
    with FlopCounterMode(display=False) as counter:
        model(*x)
    return counter.get_total_flops(), None


LIVE = {"fvcore": fvcore, "FlopCounterMode": flop_counter}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("tool", LIVE)
def test_a_small_module(tool: str, name: str) -> None:
    """What is derived from a trace is what the tool prints; the differences add up to it."""
    make, inputs = SMALL[name]
    model = make().eval()
    p = costmodel.profile(model, inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        total, params = LIVE[tool](model, tensors(inputs))
    found = p.counted_as(tool)
    assert (found.total, found.params) == (total, params)
    assert p.macs + found.difference["amount"].sum() == total
    assert found.layers["count"].sum() == total


@pytest.mark.parametrize("tool", costmodel.TOOLS)
def test_every_tool_is_held_to_the_live_one(tool: str) -> None:
    """A convention without its tool's answer is not tested."""
    assert tool in LIVE
