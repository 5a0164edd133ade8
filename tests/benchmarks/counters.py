"""The counters that benchmarks compare with this one, and the networks on which they are timed.

Counters that are not installed raise ``ImportError``: pip install thop torchinfo ptflops torchlens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

NETWORKS = (
    "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x1_0", "resnet50", "efficientnet_b0", "densenet121",
    "vit_b_16", "swin_t", "alexnet", "vgg16", "googlenet", "convnext_tiny", "efficientnet_b7",
)  # fmt: skip
"""By their names in torchvision, at 224 x 224."""


def network(name: str) -> nn.Module:
    """One of torchvision, as it is evaluated, with random weights."""
    import torchvision

    slow = {"init_weights": False} if name == "googlenet" else {}
    built: nn.Module = getattr(torchvision.models, name)(weights=None, **slow)
    return built.eval()


def _costmodel(model: nn.Module, x: Tensor) -> Any:
    import costmodel

    return costmodel.profile(model, tuple(x.shape), mode="train" if model.training else "eval").macs


def _fvcore(model: nn.Module, x: Tensor) -> Any:
    from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    return FlopCountAnalysis(model, x).total()


def _flop_counter(model: nn.Module, x: Tensor) -> Any:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(x)
    return f"{counter.get_total_flops()} / 2"


def _ptflops(backend: str) -> Callable[[nn.Module, Tensor], Any]:
    def count(model: nn.Module, x: Tensor) -> Any:
        from ptflops import get_model_complexity_info

        return get_model_complexity_info(
            model, tuple(x.shape[1:]), as_strings=False, print_per_layer_stat=False, verbose=False, backend=backend,
            input_constructor=lambda _: x,
        )[0]  # fmt: skip

    return count


def _thop(model: nn.Module, x: Tensor) -> Any:
    from thop import profile

    return profile(model, (x,), verbose=False)[0]


def _torchinfo(model: nn.Module, x: Tensor) -> Any:
    from torchinfo import summary

    return summary(model, input_data=x, verbose=0).total_mult_adds


def _torchlens(model: nn.Module, x: Tensor) -> Any:
    import torchlens

    return int(torchlens.trace(model, x).total_macs_forward)


COUNTERS: dict[str, tuple[str, Callable[[nn.Module, Tensor], Any]]] = {
    "costmodel": ("costmodel", _costmodel),
    "fvcore": ("fvcore", _fvcore),
    "FlopCounterMode": ("torch", _flop_counter),
    "ptflops": ("ptflops", _ptflops("pytorch")),
    "ptflops aten": ("ptflops", _ptflops("aten")),
    "thop": ("ultralytics-thop", _thop),
    "torchinfo": ("torchinfo", _torchinfo),
    "torchlens": ("torchlens", _torchlens),
}
"""Counters, the package of each, and how it is asked for MACs."""

TIMED = ("costmodel", "thop", "torchinfo", "fvcore", "FlopCounterMode", "ptflops")
"""The counters that are timed, this one first."""
