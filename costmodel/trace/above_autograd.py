"""What a real run decides above autograd by the device of its tensors, decided likewise for meta tensors.

Some ops of torch come apart before autograd sees them, and into what depends on the device: attention, an LSTM. There
autocast casts their arguments, too. A step of training is traced with autograd on, so that must be done above it: by
kernels for a dispatch key that no other tensors have, which a thread is given while it traces a step.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field
from functools import cache
from typing import Any

import torch

from costmodel.records import dataclass
from costmodel.torch_private import (
    OpOverload,
    autocast_off,
    below_autograd,
    enter_autocast,
    kernels_above_autograd,
    leave_autocast,
    register_above_autograd,
    run_below,
    without_kernels_above_autograd,
    without_modes,
)
from costmodel.torch_private.autograd import OwnHooks
from costmodel.trace import attention_kernels, recurrent_kernels
from costmodel.trace.autocast import DEVICES, Autocast, Policy, kernels
from costmodel.trace.recurrent_steps import packed, padded


def _dropout_on_cuda(x: torch.Tensor, p: float, train: bool) -> Any:
    """One kernel, which keeps a byte an element: which were kept."""
    if not train or not 0 < p < 1 or not x.numel():
        return NotImplemented
    return torch.native_dropout(x, p, train)[0]


def _mish_gradient(gradient: torch.Tensor, x: torch.Tensor) -> Any:
    """One op on devices that have a kernel for it; on others it is made of several above autograd."""
    if torch.is_grad_enabled():
        return NotImplemented  # its own gradient is of several on every device
    with without_kernels_above_autograd(), below_autograd():
        return torch.ops.aten.mish_backward.default(gradient, x)


_MISH = {"aten.mish_backward.default": _mish_gradient}

_CHOICES: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "cpu": {
        **_MISH,
        "aten.scaled_dot_product_attention.default": attention_kernels.on_cpu,
        "aten.lstm.input": recurrent_kernels.lstm_on_cpu,
        **{f"aten.{kind}.input": padded(kind) for kind in ("gru", "rnn_tanh", "rnn_relu")},
        **{f"aten.{kind}.data": packed(kind) for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    },
    "cuda": {
        **_MISH,
        "aten.scaled_dot_product_attention.default": attention_kernels.on_cuda,
        "aten.dropout.default": _dropout_on_cuda,
    },
}
"""By type of device and op: what runs there. ``NotImplemented``: what runs on meta, too."""


@contextmanager
def above_autograd(model_device: str) -> Iterator[None]:
    """In this thread, ops on meta tensors come apart as on a device of this type, and autocast acts on them.

    The recorder of the step must not apply autocast again (``applies_autocast=False``). Contexts may be nested; within
    ``below_autograd`` they have no effect.
    """
    _register()
    state = _STATE.set(_State(Autocast(model_device)))
    try:
        with kernels_above_autograd():
            yield
    finally:
        _STATE.reset(state)


@dataclass
class _State:
    """What kernels know of the trace."""

    autocast: Autocast
    block: weakref.ref[torch.Tensor] | None = None
    """What lives as long as the block of autocast in which weights were cast."""
    device: str = field(init=False)

    def __post_init__(self) -> None:
        self.device = self.autocast.device

    def cast_arguments(self, policy: Policy, op: OpOverload, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments that the op's autocast kernel passes on; weights are cast once in a block."""
        if self.block is None or self.block() is None:
            self.block = _block(self.autocast.forget_weights)
        return self.autocast.cast_arguments(policy, op, args, kwargs, torch.Tensor.to)


_STATE: ContextVar[_State] = ContextVar("what kernels above autograd know of the trace")


def _block(at_end: Callable[[], None]) -> weakref.ref[torch.Tensor]:
    """What lives as long as the outermost block of autocast: torch ends it by emptying its cache of weights.

    So one is put there, and ``at_end`` is called when it is freed.
    """
    saved: list[torch.Tensor] = []
    enter_autocast()  # so that the block below is not the outermost, in whatever way autocast was turned on
    with (
        without_modes(), without_kernels_above_autograd(), torch.enable_grad(),
        OwnHooks(saved.append, saved.__getitem__),
        torch.autocast("cpu", torch.bfloat16, cache_enabled=True),
    ):  # fmt: skip
        weight = torch.zeros(1, 1, requires_grad=True)
        torch.mm(weight, weight)
    leave_autocast()
    return weakref.ref(saved[0], lambda _: at_end())


@cache
def _register() -> list[Any]:
    """Once in a process: kernels that no thread meets which traces no step."""
    names = {name for device in DEVICES for name in (*kernels(device), *_CHOICES[device])}
    return register_above_autograd({op: _kernel(op) for op in map(_overload, sorted(names))})


def _overload(name: str) -> OpOverload:
    _, packet, overload = name.split(".")
    found: OpOverload = getattr(getattr(torch.ops.aten, packet), overload)
    return found


def _kernel(op: OpOverload) -> Callable[..., Any]:
    """The op's kernel: casts as autocast does, then what the device would run."""
    name = str(op)
    policies = {device: kernels(device).get(name) for device in DEVICES}
    choices = {device: _CHOICES[device].get(name) for device in DEVICES}

    def run(state: _State, keys: Any, args: Any, kwargs: Any) -> Any:
        choice = choices[state.device]
        result = NotImplemented if choice is None else choice(*args, **kwargs)
        return run_below(op, keys, args, kwargs) if result is NotImplemented else result

    def kernel(keys: Any, *args: Any, **kwargs: Any) -> Any:
        state = _STATE.get()
        policy = policies[state.device]
        if policy is None or not torch.is_autocast_enabled(state.device):
            return run(state, keys, args, kwargs)
        with autocast_off(state.device):
            args, kwargs = state.cast_arguments(policy, op, args, kwargs)
            return run(state, keys, args, kwargs)

    return kernel
