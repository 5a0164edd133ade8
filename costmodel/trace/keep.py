"""The model, and the process's random state, exactly as they were before, whatever a forward does to them."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def model_kept(model: nn.Module) -> Iterator[None]:
    """Every attribute, parameter, buffer, hook and flag of every module is put back at the end.

    The dictionaries are copied, not the tensors: a trace does not write to the model's tensors.
    """
    kept: list[tuple[Any, Any]] = []
    for module in model.modules():
        own = module.__dict__
        kept.extend((held, held.copy()) for held in own.values() if isinstance(held, (dict, list)))
        kept.append((own, own.copy()))
    wants_grad = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for now, before in kept:
            # Order counts (a Sequential runs in it), so a changed container is laid anew.
            if isinstance(now, list):
                now[:] = before
            elif now.keys() != before.keys() or any(now[k] is not before[k] for k in before):
                now.clear()
                now.update(before)
        for parameter, flag in wants_grad:
            if parameter.requires_grad != flag:
                parameter.requires_grad_(flag)


@contextmanager
def mode_set(model: nn.Module, training: bool) -> Iterator[None]:
    """The whole model in training or evaluation mode, by its own ``train`` where it has one."""
    if any(module.training != training for module in model.modules()):
        model.train(training)
    yield


@contextmanager
def randomness_kept(model: nn.Module, real: bool) -> Iterator[None]:
    """The random generators of Python, NumPy and torch are put back at the end."""
    numpy: Any = sys.modules.get("numpy")
    python_state = random.getstate()
    numpy_state = numpy.random.get_state() if numpy is not None else None
    torch_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if real and torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python_state)
        if numpy is not None:
            numpy.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)


@contextmanager
def fast_paths_off() -> Iterator[None]:
    """Multi-head attention and transformer encoders run op by op, not as one fused kernel that hides its matmuls."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
