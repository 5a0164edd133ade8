"""Traces on meta and of a real run record the same ops, on tensors of the same layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import costmodel
from costmodel.graph import tensors_in
from tests.live_memory import measured_peak


class Function(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def recorded(model: nn.Module, x: Tensor, execution: Any) -> list[Any]:
    """Every op, with the shapes and strides of what it takes and returns, and what it moves."""
    return [
        (op.call.op, [(t.shape, t.full_strides) for t in tensors_in((op.call.args, op.call.outputs))], op.traffic)
        for op in costmodel.profile(model, x, execution=execution).pricing.ops
    ]


def assigned(index: Any) -> Callable[[Tensor], Tensor]:
    """A number assigned to a part of a tensor."""

    def run(x: Tensor) -> Tensor:
        x = x.clone()
        x[index] = 0
        return x

    return run


@pytest.mark.parametrize("index", [(..., 0), 0, (0, 0), slice(None), (slice(None), None)], ids=str)
def test_a_number_is_assigned_as_on_the_models_own_device(index: Any) -> None:
    """On the CPU and on GPUs torch makes a tensor of it without an op, and fills the part: on meta it would copy."""
    model, x = Function(assigned(index)), torch.ones(2, 3)
    ops = recorded(model, x, "meta")
    assert ops == recorded(model, x, "real")
    assert "aten.scalar_tensor.default" not in {op for op, _, _ in ops}


def test_a_number_that_the_model_makes_a_tensor_of_is_an_op() -> None:
    """``torch.scalar_tensor`` and the number of ``torch.where`` are made by an op on every device."""
    model = Function(lambda x: torch.where(x > 0, x, 0.0) + torch.scalar_tensor(1.0))
    ops = recorded(model, torch.ones(2, 3), "meta")
    assert ops == recorded(model, torch.ones(2, 3), "real")
    assert [op for op, _, _ in ops].count("aten.scalar_tensor.default") == 2


@pytest.mark.parametrize(("x", "in_memory"), [
    (torch.ones(2, 3, 8)[..., ::2], 24), (torch.ones(1, 3, 4).expand(2, -1, -1), 12), (torch.ones(3, 4).t(), 12),
    (torch.ones(0, 4).t(), 0), (torch.ones(2, 4, 5)[:, 1:, 2:], 18),
], ids=["gaps", "expanded", "transposed", "empty", "part"])  # fmt: skip
def test_an_input_keeps_its_layout(x: Tensor, in_memory: int) -> None:
    """Also where it has gaps or expanded dimensions: it is held without the gaps, and what repeats itself once."""
    model = Function(lambda x: x * 2)
    assert recorded(model, x, "meta") == recorded(model, x, "real")
    found = {costmodel.profile(model, x, execution=execution).peak_memory for execution in ("meta", "real")}
    assert found == {4 * (in_memory + x.numel())}


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("shape", [(2, 4, 5, 5), (2, 4, 1, 1), (1, 4, 1, 6), (2, 1, 3, 4)], ids=str)
def test_one_channel_or_one_position_is_channels_last_too(shape: tuple[int, ...], channels_last: bool) -> None:
    """A map of one channel is contiguous and channels last at once: torch goes by its strides."""
    conv = nn.Conv2d(shape[1], 1, 1)
    x = torch.ones(shape)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    model = Function(lambda x: torch.cat([x, conv(x)], 1).contiguous(memory_format=torch.channels_last) * 2)
    assert recorded(model, x, "meta") == recorded(model, x, "real")
    output = costmodel.profile(model, x).graph.outputs
    assert output.full_strides == model(x).stride()


def test_rows_of_one_position_are_channels_last_too() -> None:
    """A 1-d convolution sees its input as rows of height 1, whose strides may be those of channels last."""
    conv, x = nn.Conv1d(6, 4, 3, padding=1), torch.ones(9, 1, 6).transpose(1, 2)
    model = Function(lambda x: conv(x))
    assert recorded(model, x, "meta") == recorded(model, x, "real")
    assert costmodel.profile(model, x).graph.outputs.full_strides == (4, 1, 4) == model(x).stride()


def test_a_constant_is_freed_where_the_model_lets_go_of_it() -> None:
    """What ``torch.tensor`` makes without an op lives no longer than in a real run."""

    def run(x: Tensor) -> Tensor:
        x = x + torch.tensor([0.5] * 100)
        return torch.cat([x, x])

    for execution in ("meta", "real"):
        p = costmodel.profile(Function(run), torch.ones(100), execution=execution)  # type: ignore[arg-type]  # a word
        assert p.peak_memory == measured_peak(run, [torch.ones(100)])
