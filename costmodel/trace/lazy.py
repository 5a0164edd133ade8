"""Lazy modules, whose first forward gives their parameters a shape: within a trace they have it, afterwards not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from costmodel.errors import InputError
from costmodel.torch_private import FORWARD_PRE_HOOKS, registered_on, without_modes
from costmodel.trace.specs import META
from costmodel.trace.tensor_table import LAZY, TensorTable


@contextmanager
def materialised(modules: Sequence[nn.Module], table: TensorTable, *, real: bool) -> Iterator[None]:
    """Lets lazy modules take the shapes of their parameters from what they are given, on tensors of the trace's own.

    ``restored`` puts the lazy tensors and the hooks back that are replaced here. Raises ``InputError`` at the end
    for a lazy module that was not called.
    """
    if not table.has_lazy:
        yield
        return
    lazy = [module for module in modules if _is_lazy(module)]
    classes = list(map(type, lazy))
    twins: dict[int, torch.Tensor] = {}
    for module in lazy:
        _replace_tensors(module, table, twins, real)
        _watch_hooks(module, table)
    try:
        yield
        for module in lazy:
            if _is_lazy(module):
                info = table.log.modules_by_id[id(module)]
                raise InputError(
                    f"the parameters of {info.name or 'the model'} ({info.type}) have no shape: the layer is lazy, and "
                    f"this forward does not call it. Build it with explicit sizes, or pass inputs that reach it"
                )
    finally:
        for module, kind in zip(lazy, classes, strict=True):
            module.__class__ = kind


def _is_lazy(module: nn.Module) -> bool:
    return any(type(tensor) in LAZY for registered in registered_on(module)[:2] for tensor in registered.values())


def _replace_tensors(module: nn.Module, table: TensorTable, twins: dict[int, torch.Tensor], real: bool) -> None:
    """Gives a module lazy tensors of the trace's own, and copies of those that have a shape: it initialises both."""
    for registered in registered_on(module)[:2]:
        for name, tensor in registered.items():
            if tensor is None:
                continue
            if id(tensor) not in twins:
                twins[id(tensor)] = _twin(tensor, table, real)
            registered[name] = twins[id(tensor)]


def _twin(tensor: torch.Tensor, table: TensorTable, real: bool) -> torch.Tensor:
    if type(tensor) in LAZY:
        device = tensor.device if real else META
        return type(tensor)(tensor.requires_grad, device, tensor.dtype)
    copy = tensor.detach().clone()
    if isinstance(tensor, nn.Parameter):
        copy = nn.Parameter(copy, tensor.requires_grad)
    table.bind(copy, table.spec(tensor))
    return copy


def _watch_hooks(module: nn.Module, table: TensorTable) -> None:
    """Lets the hooks that give shapes run unseen by the trace, and records the shapes after them."""
    hooks: dict[int, Callable[..., Any]] = vars(module)[FORWARD_PRE_HOOKS]
    for key, hook in hooks.items():
        if getattr(hook, "__self__", None) is module:
            hooks[key] = _unseen(hook)
    hooks[max(hooks, default=0) + 1] = lambda module, given: _record_shapes(module, table)


def _unseen(hook: Callable[..., Any]) -> Callable[..., Any]:
    def run(*given: Any) -> Any:
        with without_modes():
            return hook(*given)

    return run


def _record_shapes(module: nn.Module, table: TensorTable) -> None:
    info = table.log.modules_by_id[id(module)]
    parameters, buffers, _ = registered_on(module)
    prefix = info.name and info.name + "."
    info.type = type(module).__name__
    info.parameters = table.add_registered(parameters, prefix, "parameter")
    info.buffers = table.add_registered(buffers, prefix, "buffer")
