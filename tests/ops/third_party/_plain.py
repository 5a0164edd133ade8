"""What tests of other libraries' kernels hold rules to: plain torch versions, profiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # torch's own name for it
from torch import nn

import costmodel


class Function(nn.Module):
    """A model out of a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(*args)


def profiled(function: Callable[..., Any], *inputs: Any, execution: Any = "meta") -> costmodel.Profile:
    """The profile of a function."""
    return costmodel.profile(Function(function), inputs, execution=execution)


StandIn = Callable[[str, str, Callable[..., Any]], Any]


def check(p: costmodel.Profile, op: str, plain: costmodel.Profile) -> None:
    """One op stands for the call, and costs what the plain version does; it is exact."""
    assert list(p.coverage.counted) == [op]
    assert p.is_exact, p.coverage
    assert (p.macs, p.flops) == (plain.macs, plain.flops)
    assert plain.is_exact


def one_shape(p: costmodel.Profile) -> tuple[int, ...]:
    """The shape of the only output."""
    return tuple(p.graph.outputs.shape)


def causal(x: Any, weight: Any, bias: Any, silu: bool) -> Any:
    """A depthwise convolution of what was, x (b, d, l) and weight (d, w)."""
    width = weight.shape[-1]
    y = F.conv1d(F.pad(x, (width - 1, 0)), weight.reshape(-1, 1, width), bias, groups=x.shape[1])
    return F.silu(y) if silu else y
