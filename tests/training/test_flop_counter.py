"""A third opinion on a step: torch's own FLOP counter, over a forward and its backward.

It counts products alone, two FLOPs each. Its formula for the backward of grouped convolutions forgets the groups, so
there it is given the count of visits to the innermost loop (``tests/ops/test_gradients_by_loops.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import costmodel
from costmodel import models
from tests.ops._costs import Costs

pytestmark = pytest.mark.usefixtures("garbage_collected")

Network = Callable[[], nn.Module]


def visits(
    grad_out: tuple[int, ...], x: tuple[int, ...], w: tuple[int, ...], bias: Any, stride: Any, padding: Any,
    dilation: Any, transposed: bool, output_padding: Any, groups: int, mask: list[bool], out_shape: Any,
) -> int:  # fmt: skip
    """Two FLOPs for each pair of an element of the narrower map and a weight that it meets, for each gradient."""
    pairs = prod(x if transposed else grad_out) * prod(w[1:])
    return 2 * (mask[0] + mask[1]) * pairs


class Residual(nn.Module):
    """A residual network of two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.narrow, self.head = nn.Conv2d(8, 16, 1, 2), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.narrow(x + self.block(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Attention(nn.Module):
    """Attention by matrix products: torch's counter does not know the fused kernel of the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.to_qkv, self.out, self.norm = nn.Linear(16, 48), nn.Linear(16, 16), nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.to_qkv(self.norm(x)).unflatten(-1, (3, 4, 4)).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v
        return x + self.out(mixed.transpose(1, 2).flatten(-2))


class Last(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x)[0][:, -1])


class Cells(nn.Module):
    """The last state of an LSTM's cell, step by step: torch's counter does not know oneDNN's layer of them all."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(16, 12), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        assert state is not None
        return self.head(state[0])


IMAGE, ROWS = (2, 3, 16, 16), (2, 7, 16)

SMALL: dict[str, tuple[Network, tuple[int, ...]]] = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 4)), ROWS),
    "residual network": (Residual, IMAGE),
    "separable convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Hardswish(), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 1)
        ), IMAGE,
    ),
    "grouped convolutions": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 12, 3, 2, 1, groups=4)), IMAGE),
    "autoencoder": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.SiLU(), nn.ConvTranspose2d(8, 3, 3, 2, output_padding=1)),
        IMAGE,
    ),
    "transposed convolutions in groups": (lambda: nn.ConvTranspose2d(3, 6, 3, 2, groups=3), IMAGE),
    "dilated convolutions of a line": (lambda: nn.Sequential(nn.Conv1d(7, 8, 3, dilation=2), nn.Tanh()), ROWS),
    "convolutions of a volume": (lambda: nn.Sequential(nn.Conv3d(2, 4, 3), nn.MaxPool3d(2)), (1, 2, 8, 8, 8)),
    "attention": (lambda: nn.Sequential(Attention(), Attention()), ROWS),
    "embedding": (lambda: nn.Sequential(nn.Embedding(20, 16), nn.LayerNorm(16), nn.Linear(16, 20)), (2, 7)),
    "GRU": (lambda: Last(nn.GRU(16, 12, batch_first=True)), ROWS),
    "LSTM cell": (Cells, ROWS),
    "bilinear upsampling": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 2, 1)),
        IMAGE,
    ),
    "frozen first layer": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3).requires_grad_(False), nn.ReLU(), nn.Conv2d(8, 4, 3)), IMAGE,
    ),
}  # fmt: skip


def step(network: nn.Module, shape: tuple[int, ...], device: str) -> tuple[int, int]:
    """A forward and its backward: FLOPs by torch's counter, and MACs by the rules of the ops that ran."""
    torch.manual_seed(0)
    network = network.to(device).train()
    integers = any(isinstance(module, nn.Embedding) for module in network.modules())
    x = torch.zeros(shape, dtype=torch.int64, device=device) if integers else torch.rand(shape, device=device)
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: visits})
    with counter, Costs() as costs:
        output = network(x)
        sum(y.sum() for y in (output if isinstance(output, tuple) else (output,))).backward()
    return counter.get_total_flops(), costs.work.macs


@pytest.mark.parametrize("name", SMALL)
def test_a_real_step_of_a_small_network(name: str) -> None:
    """Networks of every kind, on the CPU."""
    network, shape = SMALL[name]
    flops, macs = step(network(), shape, "cpu")
    assert flops == 2 * macs > 0


@pytest.mark.parametrize("name", SMALL)
def test_without_groups_its_own_formula_agrees(name: str) -> None:
    """The counter as it is: equal where no convolution has groups, and greater where one has."""
    network, shape = SMALL[name]
    torch.manual_seed(0)
    made = network()
    groups = max((module.groups for module in made.modules() if hasattr(module, "groups")), default=1)
    x = torch.zeros(shape, dtype=torch.int64) if name == "embedding" else torch.rand(shape)
    with FlopCounterMode(display=False) as counter, Costs() as costs:
        made(x).sum().backward()
    if groups == 1:
        assert counter.get_total_flops() == 2 * costs.work.macs
    else:
        assert counter.get_total_flops() > 2 * costs.work.macs


OURS = (
    "alexnet", "vgg11", "resnet18", "resnet50", "resnext50_32x4d", "googlenet", "mobilenet_v2", "mobilenet_v3_large",
    "efficientnet_b0", "shufflenet_v2",
)  # fmt: skip


SCORES_AGAIN = {"vit_b_16": 12 * 2 * 12 * 197 * 197 * 64}
"""MACs that fused attention, which a traced step has as the CPU has it, does once more in its backward: q k^T, in 12
layers of 12 heads of 64 features, for 2 images of 197 tokens. On meta tensors torch runs matrix products instead."""


def compare(make: Network, name: str) -> None:
    """The same of a step on meta tensors, and of one that this library traces."""
    with torch.device("meta"):
        flops, macs = step(make(), (2, 3, 224, 224), "meta")
    assert flops == 2 * macs > 0
    traced = costmodel.training_step(make().train(), (2, 3, 224, 224), optimizer=None)
    assert traced.is_exact
    assert traced.macs == macs + SCORES_AGAIN.get(name, 0)


@pytest.mark.parametrize("name", OURS)
def test_a_step_of_a_network_of_this_library(name: str) -> None:
    """At the network's own size."""
    compare(getattr(models, name), name)


TORCHVISION = (
    "alexnet", "vgg16_bn", "resnet34", "densenet121", "vit_b_16", "mnasnet1_0", "efficientnet_b0", "convnext_tiny",
    "swin_t", "squeezenet1_1",
)  # fmt: skip


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_step_of_a_network_of_torchvision(name: str) -> None:
    """Attention among them, by windows and fused."""
    torchvision_models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    compare(lambda: torchvision_models.get_model(name), name)
