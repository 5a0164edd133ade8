"""A copy of the user's model to measure, as a forward may change what it runs on; and inputs, new for each run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from costmodel.arguments import reason
from costmodel.errors import InputError
from costmodel.graph import Graph
from costmodel.machine import available_memory
from costmodel.trace.inputs import arguments
from costmodel.trace.tensor_table import LAZY
from costmodel.trace.values import RealInputs


def device_of(model: nn.Module) -> torch.device:
    """The device that a model's parameters and buffers are on. Raises ``InputError`` where they have no values."""
    devices = {tensor.device for tensor in _tensors(model)}
    if any(device.type == "meta" for device in devices):
        raise InputError(
            f"{type(model).__name__} lies on the meta device and has no values: build it on the CPU to measure it"
        )
    if len(devices) > 1:
        where = ", ".join(sorted(map(str, devices)))
        raise InputError(f"{type(model).__name__} lies on several devices ({where}): move it to one to measure it")
    return devices.pop() if devices else torch.device("cpu")


def moved(model: nn.Module, device: torch.device, dtype: torch.dtype | None) -> nn.Module:
    """A copy on a device, in a dtype."""
    size = sum(tensor.nbytes for tensor in _tensors(model))
    for room_on in {device_of(model), device}:
        require_room(room_on, size, "a copy of the model")
    return _copy(model, {}).to(device=device, dtype=dtype)


def beside(model: nn.Module, graph: Graph) -> nn.Module:
    """A copy on the same device that shares the parameters, but for those that the forward writes or makes."""
    written = {t.storage for op in graph.ops if op.inplace for t in op.outputs if t.role == "parameter"}
    kept = {name for name, spec in graph.parameters().items() if spec.storage in written}
    shared = {id(p): p for name, p in model.named_parameters() if name not in kept and not is_lazy(p)}
    return _copy(model, shared)


def _copy(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    # torch copies no tensor that autograd computed, which old weight norms leave on a module.
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise InputError(
            f"{type(model).__name__} cannot be copied ({reason(error)}), and a measurement runs a copy, as a forward "
            f"may change the model: measure a model that copy.deepcopy copies"
        ) from error


def require_room(device: torch.device, size: int, what: str) -> None:
    """Raises ``InputError`` where a device has not so many bytes free."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    if size > free:
        raise InputError(
            f"{what} takes {size / 2**30:,.1f} GiB on {device}, which has {free / 2**30:,.1f} GiB free: measure with a "
            f"smaller batch, in a smaller dtype, or on another device"
        )


def _tensors(model: nn.Module) -> Iterable[torch.Tensor]:
    own = (*model.parameters(), *model.buffers())
    return [tensor for tensor in own if not is_lazy(tensor)]


def is_lazy(tensor: torch.Tensor) -> bool:
    """Whether a tensor has no shape yet."""
    return type(tensor) in LAZY


class Inputs:
    """The arguments of one forward after the other: the same values each time, on memory of their own.

    Those that ``profile`` gives a model in a real run: of shapes random numbers, or zeros where they are of integers.
    """

    def __init__(
        self, given: Any, model: nn.Module, forward: Callable[..., Any], device: torch.device, dtype: torch.dtype | None
    ) -> None:
        self._given, self._own, self._forward, self._device, self._dtype = given, model, forward, device, dtype
        self._drawn: list[torch.Tensor] = []

    def __call__(self) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments."""
        real = RealInputs(self._device)
        again = iter(self._drawn)
        drawn: list[torch.Tensor] = []

        def make(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
            known = next(again, None)
            drawn.append(real.make(shape, dtype) if known is None else known)
            return drawn[-1].clone()

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            return real.keep(tensor).to(self._device)

        own: Iterator[torch.Tensor] = self._own.parameters()
        made = arguments(self._given, make, keep, own, self._forward, self._dtype)
        self._drawn = drawn
        return made
