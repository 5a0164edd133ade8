"""Each convention against the tool itself on networks that people use, and on small transformers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

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


SIDES: Mapping[str, int] = {"inception_v3": 96, "maxvit_t": 224, "regnet_y_128gf": 32}
"""Of images, where 64 is too small, or takes long."""


class Uninitialized(TorchFunctionMode):
    """Models that are built inside have parameters of any values.

    No tool looks at values. Of 640 million parameters, drawing them takes longer than most tools, and memory that is
    never written is not resident.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensor = args[0] if args else kwargs.get("tensor")
        writes = func.__name__.endswith("_") and not func.__name__.endswith(("__", "requires_grad_"))
        return tensor if writes and isinstance(tensor, nn.Parameter) else func(*args, **kwargs)


def run(tool: str, model: nn.Module, x: tuple[torch.Tensor, ...]) -> tuple[Any, Any]:
    """What a tool says of a model, of which it gets a copy with the same tensors: it may change modules, not those."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return LIVE[tool](deepcopy(model, tensors), x)


def fails(tool: str, model: nn.Module, x: tuple[torch.Tensor, ...]) -> bool:
    """Whether a tool raises on a model."""
    try:
        run(tool, model, x)
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
            assert (found.total, found.params) == run(tool, model, x), tool


@pytest.mark.parametrize("name", of_torchvision())
def test_a_network_of_torchvision(name: str) -> None:
    """Classification networks, on small images."""
    models = pytest.importorskip("torchvision").models
    side = SIDES.get(name, 64)
    options: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name.startswith("vit_"):
        side = options["image_size"] = 28 if name == "vit_h_14" else 32
    with Uninitialized():
        model = models.get_model(name, weights=None, **options).eval()
    compare(model, (torch.rand(1, 3, side, side),))


@pytest.mark.parametrize("name", of_timm())
def test_a_network_of_timm(name: str) -> None:
    """Networks with classes of their own, derived from torch's, and with functions of their own."""
    timm = pytest.importorskip("timm")
    side = TIMM[name]
    with Uninitialized():
        model = timm.create_model(name, pretrained=False).eval()
    compare(model, (torch.rand(1, 3, side, side),))


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
