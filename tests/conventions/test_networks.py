"""Each convention against the tool itself on networks that people use, and on small transformers."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel.conventions.tool import ToolFailsError
from tests.conventions.live import LIVE
from tests.conventions.record import recorded
from tests.conventions.timm_networks import TIMM
from tests.conventions.transformer_models import TRANSFORMERS

_MODULES = {"ultralytics-thop": "thop", "ptflops-aten": "ptflops", "FlopCounterMode": "torch"}
INSTALLED = [
    tool for tool in costmodel.TOOLS if tool not in recorded() and find_spec(_MODULES.get(tool, tool)) is not None
]
"""The tools that can be run here."""

ALL = "COSTMODEL_ALL_NETWORKS" in os.environ
"""Whether all networks are compared, as CI does on the newest torch, or a few of each kind."""


def of_torchvision() -> Sequence[str]:
    """Classification networks of torchvision."""
    if not ALL:
        return ("mobilenet_v3_small", "squeezenet1_1", "googlenet", "swin_t")
    models = import_module("torchvision.models")
    return tuple(models.list_models(module=models))


def of_timm() -> Sequence[str]:
    """Networks of timm, one of nearly each file."""
    return tuple(TIMM) if ALL else ("vit_tiny_patch16_224", "ghostnet_050")


SIDES: Mapping[str, int] = {"inception_v3": 96, "maxvit_t": 224}
"""Of images, where 64 is too small."""


def fails(tool: str, model: nn.Module, x: tuple[torch.Tensor, ...]) -> bool:
    """Whether a tool raises on a model."""
    try:
        LIVE[tool](deepcopy(model), x)
    except Exception:
        return True
    return False


def compare(model: nn.Module, x: tuple[torch.Tensor, ...]) -> None:
    """Each tool's total and parameters are its own, and the differences lead to the total, or it fails as is said."""
    p = costmodel.profile(model, x)
    for tool in INSTALLED:
        try:
            found = p.counted_as(tool)
        except ToolFailsError:
            assert fails(tool, model, x), tool
            continue
        assert p.macs + found.difference["amount"].sum() == found.total, tool
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert (found.total, found.params) == LIVE[tool](deepcopy(model), x), tool
        gc.collect()  # tools leave copies in reference cycles: of the largest networks, gigabytes


@pytest.mark.parametrize("name", of_torchvision())
def test_a_network_of_torchvision(name: str) -> None:
    """Classification networks, on small images."""
    models = pytest.importorskip("torchvision").models
    side = SIDES.get(name, 64)
    options: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name.startswith("vit_"):
        side = options["image_size"] = 28 if name == "vit_h_14" else 32
    compare(models.get_model(name, weights=None, **options).eval(), (torch.rand(1, 3, side, side),))


@pytest.mark.parametrize("name", of_timm())
def test_a_network_of_timm(name: str) -> None:
    """Networks with classes of their own, derived from torch's, and with functions of their own."""
    timm = pytest.importorskip("timm")
    side = TIMM[name]
    compare(timm.create_model(name, pretrained=False).eval(), (torch.rand(1, 3, side, side),))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_transformer_of_hugging_face(name: str) -> None:
    """Small ones of eleven families; of tools that are not installed, what they printed once."""
    pytest.importorskip("transformers")
    make, inputs = TRANSFORMERS[name]
    model = make()
    compare(model, inputs())
    p = costmodel.profile(model, inputs())
    for tool, printed in recorded().items():
        if printed[name] is None:
            with pytest.raises(ToolFailsError):
                p.counted_as(tool)
        else:
            assert [p.counted_as(tool).total, p.counted_as(tool).params] == printed[name], tool


def test_a_transformer_of_torch() -> None:
    """Two layers with norms and activations of torch's own."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu")
    compare(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(), (torch.rand(3, 7, 16),))
