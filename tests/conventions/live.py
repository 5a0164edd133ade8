"""The tools themselves, each asked for its total and its number of parameters."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn


def fvcore(model: nn.Module, x: tuple[Tensor, ...]) -> tuple[Any, Any]:
    """fvcore's flops."""
    from fvcore.nn import FlopCountAnalysis, parameter_count

    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    return FlopCountAnalysis(model, x).total(), parameter_count(model)[""]


def flop_counter(model: nn.Module, x: tuple[Tensor, ...]) -> tuple[Any, Any]:
    """torch's own counter, which counts no parameters."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(*x)
    return counter.get_total_flops(), None


def ptflops(backend: str, model: nn.Module, x: tuple[Tensor, ...]) -> tuple[Any, Any]:
    """ptflops with one of its backends, which takes several inputs as one object or by keyword alone."""
    found = pytest.importorskip("ptflops")
    wrapped = model if len(x) == 1 else _Spread(model)
    with redirect_stdout(io.StringIO()):
        total, params = found.get_model_complexity_info(
            wrapped, (1,), as_strings=False, print_per_layer_stat=False, verbose=False, backend=backend,
            input_constructor=lambda _: x[0] if len(x) == 1 else _Several(x),
        )  # fmt: skip
    assert total is not None, "ptflops caught an exception"
    return total, params


class _Several(tuple[Tensor, ...]):
    """Several inputs as one, as long as the first."""

    def __len__(self) -> int:
        return len(next(iter(self)))


class _Spread(nn.Module):
    """Gives a model several inputs that come as one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: _Several) -> Any:
        return self.model(*x)


def torchinfo(model: nn.Module, x: tuple[Tensor, ...]) -> tuple[Any, Any]:
    """torchinfo's mult-adds."""
    found = pytest.importorskip("torchinfo").summary(model, input_data=list(x), verbose=0)
    return found.total_mult_adds, found.total_params


def torchprofile(model: nn.Module, x: tuple[Tensor, ...]) -> tuple[Any, Any]:
    """torchprofile's MACs; it counts no parameters."""
    return pytest.importorskip("torchprofile").profile_macs(model, x), None


def thop(model: nn.Module, x: tuple[Tensor, ...]) -> tuple[Any, Any]:
    """What thop counts, or ultralytics-thop, whose package has the same name."""
    total, params = pytest.importorskip("thop").profile(model, x, verbose=False)
    return total, params


def deepspeed(model: nn.Module, x: tuple[Tensor, ...]) -> tuple[Any, Any]:
    """The flops of deepspeed's profiler."""
    pytest.importorskip("deepspeed")
    profiler = import_module("deepspeed.profiling.flops_profiler")
    with functions_restored():
        profiler.profiler.module_flop_count.clear()
        profiler.profiler.module_mac_count.clear()
        flops, _, params = profiler.get_model_profile(model, args=x, print_profile=False, as_string=False, warm_up=0)
    return flops, params


def calflops(model: nn.Module, x: tuple[Tensor, ...]) -> tuple[Any, Any]:
    """The FLOPs of calflops, which leaves functions replaced: one of them always, all where it fails."""
    found = pytest.importorskip("calflops")
    pipeline = import_module("calflops.calculate_pipline")
    with functions_restored():
        pipeline.module_flop_count.clear()
        pipeline.module_mac_count.clear()
        flops, _, params = found.calculate_flops(model, args=list(x), print_results=False, output_as_string=False)
    return flops, params


@contextmanager
def functions_restored() -> Iterator[None]:
    """Puts torch's functions back that a tool replaces."""
    holders = (torch, nn.functional, torch.Tensor)
    before = [dict(vars(holder)) for holder in holders]
    try:
        yield
    finally:
        for holder, functions in zip(holders, before, strict=True):
            for name, value in dict(vars(holder)).items():
                if name not in functions:
                    delattr(holder, name)
                elif functions[name] is not value:
                    setattr(holder, name, functions[name])


LIVE: dict[str, Callable[[nn.Module, tuple[Tensor, ...]], tuple[Any, Any]]] = {
    "fvcore": fvcore,
    "FlopCounterMode": flop_counter,
    "calflops": calflops,
    "deepspeed": deepspeed,
    "ptflops": partial(ptflops, "pytorch"),
    "ptflops-aten": partial(ptflops, "aten"),
    "thop": thop,
    "ultralytics-thop": thop,
    "torchinfo": torchinfo,
    "torchprofile": torchprofile,
}
"""By the name in ``costmodel.TOOLS``."""
