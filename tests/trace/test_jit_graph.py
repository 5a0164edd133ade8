"""Which ops are in the graph of torch's tracer: held to ``torch.jit``, which runs the model for real."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from costmodel.trace.jit_graph import read_graph


class Sizes(nn.Module):
    """Multiplies sizes: one product is a view's, one is compared alone, one is of an index."""

    def forward(self, x: Tensor) -> Tensor:
        if x.size(0) * x.size(1) == 1:
            return x
        half = x.shape[-1] * 2 // 4
        return x.reshape(x.shape[0] * x.shape[1], -1)[:, :half]


class Written(nn.Module):
    """Writes into a part of what it returns, and into what it does not return."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.relu()
        y[:, :2].mul_(2)
        x.relu().mul_(3)
        return y


class Thrown(nn.Module):
    """Throws a layer's output away."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.thrown = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.thrown(x)
        return {"y": self.kept(x)}


class Branch(nn.Module):
    """Multiplies where the tracer runs alone, and by a tensor that is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(6), persistent=False)
        self.list = [torch.ones(6)]

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.scale + self.list[0]
        return torch.multiply(x, 2) if torch.jit.is_tracing() else x


class Resized(nn.Module):
    """Is resized by a factor, which torch multiplies sizes with where it traces."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", recompute_scale_factor=True)


MODELS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "sizes": (Sizes, (2, 3, 8)),
    "writes": (Written, (2, 6)),
    "dead code": (Thrown, (2, 6)),
    "a branch": (Branch, (2, 6)),
    "a resize": (Resized, (1, 2, 4, 4)),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding="same"), nn.ConvTranspose2d(4, 2, 2)
        ),
        (1, 3, 6, 6),
    ),
    "a convolution without a batch": (lambda: nn.Conv1d(3, 4, 3), (3, 6)),
    "a cell": (lambda: nn.LSTMCell(6, 4), (2, 6)),
    "a recurrent layer": (lambda: nn.GRU(6, 4, batch_first=True), (2, 3, 6)),
    "norms": (lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.BatchNorm2d(4)), (2, 4, 3, 3)),
    "attention": (lambda: nn.MultiheadAttention(6, 2), [(5, 2, 6)] * 3),
    "a transformer's layer": (lambda: nn.TransformerEncoderLayer(6, 2, 8), (5, 2, 6)),
}  # fmt: skip


_LEFT_OUT = frozenset({"size", "Int", "ScalarImplicit", "to", "detach", "contiguous", "chunk"})
"""Operators that read sizes or take them for numbers, and those that leave tensors as they are or cut them."""


def nodes(model: nn.Module, inputs: Any) -> list[str]:
    """The operators of aten in the graph that torch makes."""
    x = tuple(torch.rand(s) for s in (inputs if isinstance(inputs, list) else [inputs]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph, _ = torch.jit._get_trace_graph(model, x)
    kinds = [node.kind().partition("::") for node in graph.nodes()]
    return [name for namespace, _, name in kinds if namespace == "aten" and name not in _LEFT_OUT]


@pytest.mark.parametrize("name", MODELS)
def test_the_graph(name: str) -> None:
    """The same operators in the same order, with sizes that are multiplied, and without what no output needs."""
    make, inputs = MODELS[name]
    model = make().eval()
    read = read_graph(model, inputs, mode="eval")
    same = {"convolution": "_convolution", "multiply": "mul"}  # what the tracer calls them
    found = [same.get(op.base, op.base) for op in read.kept if op.base not in _LEFT_OUT]
    assert found == nodes(model, inputs)


def test_the_tracer_is_off_afterwards() -> None:
    """Also where the forward fails."""

    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(x.shape[0] * 7)

    with pytest.raises(Exception, match="Broken failed"):
        read_graph(Broken(), (2, 3), mode="eval")
    assert not torch.jit.is_tracing()
    assert torch.ones(2).shape == (2,)
    assert type(torch.ones(2).shape[0]) is int


def test_ops_have_their_place() -> None:
    """Each op knows its module, shapes as numbers, and which ops of the trace it became."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 2)).eval()
    read = read_graph(model, (1, 3, 6, 6), mode="eval")
    conv, _, linear = read.kept
    assert [read.graph.calls[op.call].name for op in (conv, linear)] == ["0", "2"]
    assert conv.shape("weight") == (4, 3, 3, 3)
    assert [read.graph.ops[op.first].op.split(".")[1] for op in (conv, linear)] == ["convolution", "linear"]
    assert type(linear.outputs[0].shape[0]) is int


def test_the_tracer_after_a_failure() -> None:
    """An op that fails on the way leaves no sizes behind, with which the tracer would fail on the next model."""

    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view((x.shape[0], None))  # type: ignore[arg-type]  # it fails at the second

    class Longer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view((x.shape[0], 1, x.shape[1]))

    with pytest.raises(Exception, match="Broken failed"):
        read_graph(Broken(), (2, 3), mode="eval")
    assert nodes(Longer(), (2, 3)) == ["view"]
    read = read_graph(Longer(), (2, 3), mode="eval")
    assert [op.base for op in read.kept if op.base not in _LEFT_OUT] == ["view"]
