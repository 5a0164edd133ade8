"""Each convention against the tool itself on networks that people use, and on small transformers."""

from __future__ import annotations

import warnings
from copy import deepcopy
from importlib.util import find_spec

import pytest
import torch
from torch import nn

import costmodel
from tests.conventions.live import LIVE
from tests.conventions.record import recorded

_MODULES = {"ultralytics-thop": "thop", "ptflops-aten": "ptflops", "FlopCounterMode": "torch"}
INSTALLED = [
    tool for tool in costmodel.TOOLS if tool not in recorded() and find_spec(_MODULES.get(tool, tool)) is not None
]
"""The tools that can be run here."""

TORCHVISION = ("mobilenet_v3_small", "squeezenet1_1", "googlenet", "swin_t")
"""One of each kind; all 80 were compared once."""

TIMM = ("vit_tiny_patch16_224", "ghostnet_050")


def compare(model: nn.Module, shape: tuple[int, ...]) -> None:
    """Each tool's total and parameters are its own, and the differences lead to the total."""
    p = costmodel.profile(model, shape)
    for tool in INSTALLED:
        found = p.counted_as(tool)
        assert p.macs + found.difference["amount"].sum() == found.total, tool
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert (found.total, found.params) == LIVE[tool](deepcopy(model), (torch.rand(shape),)), tool


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_network_of_torchvision(name: str) -> None:
    """Classification networks, on small images."""
    models = pytest.importorskip("torchvision").models
    options = {"init_weights": False} if name == "googlenet" else {}
    compare(models.get_model(name, weights=None, **options).eval(), (1, 3, 64, 64))


@pytest.mark.parametrize("name", TIMM)
def test_a_network_of_timm(name: str) -> None:
    """Networks with classes of their own, derived from torch's, and with functions of their own."""
    timm = pytest.importorskip("timm")
    side = 224 if name.startswith("vit") else 64
    compare(timm.create_model(name, pretrained=False).eval(), (1, 3, side, side))


def test_a_transformer_of_torch() -> None:
    """Two layers with norms and activations of torch's own."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu")
    compare(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(), (3, 7, 16))
