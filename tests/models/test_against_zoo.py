"""The networks against torchvision and timm themselves: the same counts, and the same outputs with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import costmodel.models as models

torchvision_models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
timm = pytest.importorskip("timm", reason="timm is not installed")


def torchvision(name: str, **arguments: Any) -> nn.Module:
    """Torchvision's network of this name, with random weights."""
    network: nn.Module = torchvision_models.get_model(name, **arguments)
    return network


def timm_model(name: str, **arguments: Any) -> nn.Module:
    """The network of this name from timm, with random weights."""
    network: nn.Module = timm.create_model(name, **arguments)
    return network


Build = Callable[..., nn.Module]

SAME_NAME = [name for name in models.list_models() if name in torchvision_models.list_models() and name != "googlenet"]
"""torchvision's GoogLeNet is another network; see the docstring of models/googlenet.py."""

PAIRS: list[tuple[str, dict[str, Any], Build, str, dict[str, Any]]] = [
    *((name, {}, torchvision, name, {}) for name in SAME_NAME if name != "inception_v3"),
    ("inception_v3", {}, torchvision, "inception_v3", {"aux_logits": False, "init_weights": False}),
    ("inception_v3", {"aux": True}, torchvision, "inception_v3", {"aux_logits": True, "init_weights": False}),
    ("inception_v4", {}, timm_model, "inception_v4", {}),
    ("resnext101_32x4d", {}, timm_model, "resnext101_32x4d", {}),
    ("se_resnet50", {}, timm_model, "seresnet50", {}),
    ("se_resnet50", {"stride_in_1x1": True}, timm_model, "legacy_seresnet50", {}),
    ("xception", {}, timm_model, "legacy_xception", {}),
    ("mobilenet_v1", {}, timm_model, "mobilenetv1_100", {}),
    *(("mobilenet_v2", {"width": w}, torchvision, "mobilenet_v2", {"width_mult": w}) for w in (0.35, 0.75, 1.4)),
    ("mobilenet_v3_large", {"width": 0.75}, timm_model, "mobilenetv3_large_075", {}),
    ("mobilenet_v3_small", {"width": 0.75}, timm_model, "mobilenetv3_small_075", {}),
    ("shufflenet_v2", {"width": 0.5}, torchvision, "shufflenet_v2_x0_5", {}),
    ("shufflenet_v2", {"width": 1.0}, torchvision, "shufflenet_v2_x1_0", {}),
    ("shufflenet_v2", {"width": 1.5}, torchvision, "shufflenet_v2_x1_5", {}),
    ("shufflenet_v2", {"width": 2.0}, torchvision, "shufflenet_v2_x2_0", {}),
    ("ghostnet", {"width": 0.5}, timm_model, "ghostnet_050", {}),
    ("ghostnet", {"width": 1.0}, timm_model, "ghostnet_100", {}),
    ("ghostnet", {"width": 1.3}, timm_model, "ghostnet_130", {}),
]

# Networks whose tensors stand in the library's order, one of each kind of block.
SAME_ORDER = {
    "resnet18": 64,
    "resnext50_32x4d": 64,
    "inception_v3": 107,
    "inception_v4": 107,
    "se_resnet50": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "shufflenet_v2": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "ghostnet": 64,
}


@pytest.mark.parametrize(("name", "arguments", "library", "other", "other_arguments"), PAIRS)
def test_counts_equal_the_library_s(
    name: str,
    arguments: dict[str, Any],
    library: Build,
    other: str,
    other_arguments: dict[str, Any],
    totals: Callable[..., Any],
    totals_of_other: Callable[..., Any],
) -> None:
    """Parameters and MACs equal those of the library's own module at the same input."""
    with torch.device("meta"):
        shape = models.build(name, **arguments).example_inputs
    theirs = totals_of_other(lambda: library(other, **other_arguments), shape)
    assert totals(name, **arguments) == theirs


def same_weights(network: nn.Module, other: nn.Module) -> dict[str, Tensor]:
    """The other's tensors under this network's names, in order."""
    ours, theirs = network.state_dict(), other.state_dict()
    assert [t.shape for t in ours.values()] == [t.shape for t in theirs.values()]
    return dict(zip(ours, theirs.values(), strict=True))


@pytest.mark.parametrize("name", SAME_ORDER)
def test_outputs_equal_the_library_s(name: str) -> None:
    """With the library's weights, and batch norms that do something, the logits are the library's."""
    torch.manual_seed(0)
    arguments, library, other_name, other_arguments = next(rest for first, *rest in PAIRS if first == name)
    network, other = models.build(name, **arguments).eval(), library(other_name, **other_arguments).eval()
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    network.load_state_dict(same_weights(network, other))
    x = torch.randn(2, 3, SAME_ORDER[name], SAME_ORDER[name])
    with torch.no_grad():
        torch.testing.assert_close(network(x), other(x))
