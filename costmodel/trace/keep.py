"""The model, and the process's random state, exactly as they were before, whatever a forward does to them."""

from __future__ import annotations

import gc
import random
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import is_
from typing import Any

import torch
from torch import nn

_CONTAINERS = frozenset({dict, OrderedDict, list})


@contextmanager
def model_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Every attribute, parameter, buffer, hook and flag of every module is put back at the end.

    Dictionaries and lists are copied, not tensors: a trace does not write to the model's tensors.
    """
    kept: list[tuple[Any, Any]] = []
    empty: list[Any] = []
    parameters: list[torch.Tensor] = []
    for module in modules:
        own = module.__dict__
        for held in own.values():
            if held.__class__ in _CONTAINERS:
                if held:
                    kept.append((held, held.copy()))
                else:
                    empty.append(held)
        kept.append((own, own.copy()))
        if module._parameters:
            parameters.extend(p for p in module._parameters.values() if p is not None)
    wants_grad = [p.requires_grad for p in parameters]
    try:
        yield
    finally:
        for held in empty:
            if held:
                held.clear()
        for now, before in kept:
            _put_back(now, before)
        for parameter, flag in zip(parameters, wants_grad, strict=True):
            if parameter.requires_grad != flag:
                parameter.requires_grad_(flag)


def _put_back(now: Any, before: Any) -> None:
    # Compared by identity: tensors must not be asked whether they are equal. Order counts, a Sequential runs in it.
    if isinstance(now, list):
        now[:] = before
    elif not (len(now) == len(before) and _same(now, before) and _same(now.values(), before.values())):
        now.clear()
        now.update(before)


def _same(a: Iterable[Any], b: Iterable[Any]) -> bool:
    return all(map(is_, a, b))


@contextmanager
def mode_set(model: nn.Module, modules: Sequence[nn.Module], training: bool) -> Iterator[None]:
    """The whole model in training or evaluation mode, by its own ``train`` where it has one.

    Setting it back is the business of ``model_kept``.
    """
    if any(module.training is not training for module in modules):
        model.train(training)
    yield


@contextmanager
def randomness_kept() -> Iterator[None]:
    """The random generators of Python, NumPy and torch are put back at the end."""
    numpy: Any = sys.modules.get("numpy")
    python_state = random.getstate()
    numpy_state = numpy.random.get_state() if numpy is not None else None
    torch_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
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
def plain_eager(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Modules run op by op: no fused inference paths of attention, which hide its matmuls, and nothing compiled."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    compiled = any("_compiled_call_impl" in m.__dict__ or type(m).__name__ == "OptimizedModule" for m in modules)
    try:
        if compiled:
            with torch.compiler.set_stance("force_eager"):
                yield
        else:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Garbage collection waits.

    A trace makes many small records that all live on; and a tensor in a reference cycle ends when the cycle is
    collected, which must not depend on how many records were made.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
