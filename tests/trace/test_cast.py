from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from tests.trace.networks import Recurrent

EXECUTIONS = pytest.mark.parametrize("execution", ["meta", "real"])
IDS = costmodel.Input((2, 5), torch.int64)


def convolutions() -> nn.Module:
    """Convolutions with buffers, one of them channels last, and a parameter that is small."""
    return nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.PReLU(), nn.Conv2d(64, 8, 3)).to(
        memory_format=torch.channels_last  # type: ignore[call-overload]  # torch's stubs lack it
    )


class Tied(nn.Module):
    """One weight under two names, and an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 64)
        self.head = nn.Linear(64, 100)
        self.head.weight = self.embed.weight
        self.register_buffer("ids", torch.arange(5))

    def forward(self, x: torch.Tensor) -> Any:
        """Of words."""
        assert self.head.weight is self.embed.weight
        return self.head(self.embed(x + self.get_buffer("ids")))


@EXECUTIONS
@pytest.mark.parametrize("dtype", ["bfloat16", torch.float64, "torch.float16"])
@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (convolutions, (1, 3, 8, 8)),
        (convolutions, torch.zeros(1, 3, 8, 8).to(memory_format=torch.channels_last)),
        (convolutions, costmodel.Input((1, 3, 8, 8), "float32")),
        (Tied, IDS),
        (Recurrent, IDS),
    ],
)
def test_a_model_costs_what_it_costs_in_the_other_dtype(make: Any, inputs: Any, dtype: Any, execution: Any) -> None:
    """Every figure is that of ``model.to(dtype)`` with its inputs in that dtype, and the model stays as it is."""
    model = make()
    cast = copy.deepcopy(model).to(costmodel.Input((), dtype).dtype)
    given = inputs.to(cast[0].weight.dtype) if isinstance(inputs, torch.Tensor) else inputs
    given = (1, 3, 8, 8) if make is convolutions and isinstance(inputs, costmodel.Input) else given
    expected = costmodel.profile(cast, given, execution=execution)
    before = [(id(t), t.dtype, t.data_ptr()) for t in (*model.parameters(), *model.buffers())]
    p = costmodel.profile(model, inputs, dtype=dtype, execution=execution)
    assert p.layers.equals(expected.layers)
    assert p.ops.equals(expected.ops)
    for total in ("params", "params_bytes", "memory_access_bytes", "peak_memory", "buffers"):
        assert getattr(p, total) == getattr(expected, total)
    assert p.crosscheck().ok
    assert [(id(t), t.dtype, t.data_ptr()) for t in (*model.parameters(), *model.buffers())] == before
    assert costmodel.profile(model, inputs).params_bytes == 4 * p.params


class ReadsItsScale(nn.Module):
    """Its forward asks for a value of a parameter, and returns that dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As often as it says."""
        for _ in range(int(self.scale)):
            x = x @ x
        return x


@EXECUTIONS
def test_values_of_small_parameters_are_kept(execution: Any) -> None:
    """What a model reads of its parameters it also reads in another dtype."""
    p = costmodel.profile(ReadsItsScale(), (2, 2), dtype="bfloat16", execution=execution)
    assert p.macs == 3 * 8
    assert p.graph.outputs.dtype == "bfloat16"


@pytest.mark.parametrize("dtype", ["int64", torch.bool, torch.complex64, "float8_e4m3fn"])
def test_a_dtype_in_which_nothing_is_computed(dtype: Any) -> None:
    """A model is floating, so another dtype is refused, and so is what is none."""
    with pytest.raises(costmodel.InputError, match="floating"):
        costmodel.profile(nn.Linear(3, 4), (2, 3), dtype=dtype)
    with pytest.raises(costmodel.InputError, match="did you mean 'bfloat16'"):
        costmodel.profile(nn.Linear(3, 4), (2, 3), dtype="bflat16")


def test_a_name_in_another_dtype() -> None:
    """A network that is named, in a comparison."""
    table = costmodel.compare(["mobilenet_v1_cifar"], dtype="float16").table
    assert table["params_bytes"].tolist() == [2 * n for n in table["params"]]
