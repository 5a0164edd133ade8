"""Real backward passes of whole networks: each distinct op has torch's outputs, and allocates what its rule says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from costmodel import models
from tests.ops._op_database_backward import Watch, of_allocator, of_rule

pytestmark = pytest.mark.usefixtures("garbage_collected")

OURS = (
    "resnet18",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "shufflenet_v2",
    "googlenet",
    "resnext50_32x4d",
    "ghostnet",
)
TORCHVISION = ("densenet121", "swin_t", "convnext_tiny", "vit_b_16", "regnet_y_400mf", "mnasnet0_5")
HOW = ("float32", "bfloat16 by autocast, channels last")


def differences(network: nn.Module, how: str, size: int) -> Iterator[tuple[str, str]]:
    """What differs from torch, of any op of a forward and its backward."""
    torch.manual_seed(0)
    network, x = network.train(), torch.rand(2, 3, size, size)
    is_half = how != "float32"
    if is_half:
        network, x = network.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    forward, backward = Watch(), Watch()
    with forward, torch.autocast("cpu", torch.bfloat16, enabled=is_half):
        output = network(x)
        loss = F.cross_entropy(output[0] if isinstance(output, tuple) else output, torch.tensor([1, 2]))
    with backward:
        torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    for watch in (forward, backward):
        calls = list(watch.seen.values())
        for one in calls:
            yield from of_rule(one)
        yield from of_allocator(calls)


def check(network: nn.Module, how: str, size: int = 64) -> None:
    """Nothing differs, where the processor computes in that dtype."""
    if how == "float32" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        assert not dict(differences(network, how, size))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", OURS)
def test_networks_of_this_library(name: str, how: str) -> None:
    """Convolutions of every kind, norms, activations, poolings, and what joins them."""
    check(getattr(models, name)(), how)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", TORCHVISION)
def test_networks_of_torchvision(name: str, how: str) -> None:
    """Attention of every kind among them."""
    torchvision_models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    check(torchvision_models.get_model(name), how, 224 if name == "vit_b_16" else 64)
