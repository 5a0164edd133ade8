"""The model, and the process's random state, exactly as they were before, whatever a forward does to them."""

from __future__ import annotations

import gc
import random
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from operator import is_
from types import ModuleType
from typing import Any

import torch
from torch import nn

_CONTAINERS = frozenset({dict, OrderedDict, list})


@contextmanager
def model_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Every attribute, parameter, buffer, hook and flag of every module is put back at the end.

    Dictionaries and lists are copied, not tensors: a trace does not write to the model's tensors.
    """
    dicts: list[tuple[Any, Any]] = []
    lists: list[tuple[list[Any], list[Any]]] = []
    empty: list[Any] = []
    parameters: list[torch.Tensor | None] = []
    for module in modules:
        own = module.__dict__
        dicts.append((own, own.copy()))
        for held in own.values():
            if type(held) in _CONTAINERS:
                if not held:
                    empty.append(held)
                elif isinstance(held, list):
                    lists.append((held, held.copy()))
                else:
                    dicts.append((held, held.copy()))
        parameters.extend(module._parameters.values())
    wants_grad = [p is not None and p.requires_grad for p in parameters]
    try:
        yield
    finally:
        for held in empty:
            if held:
                held.clear()
        for now, before in lists:
            now[:] = before
        for now, before in dicts:
            # By identity: tensors must not be asked whether they are equal. Order counts, a Sequential runs in it.
            if not (
                len(now) == len(before) and all(map(is_, now.values(), before.values())) and all(map(is_, now, before))
            ):
                now.clear()
                now.update(before)
        for parameter, flag in zip(parameters, wants_grad, strict=True):
            if parameter is not None and parameter.requires_grad != flag:
                parameter.requires_grad_(flag)


@contextmanager
def mode_set(model: nn.Module, modules: Sequence[nn.Module], training: bool) -> Iterator[None]:
    """The whole model in training or evaluation mode, by its own ``train`` where it has one.

    Setting it back is the business of ``model_kept``.
    """
    if any(module.training is not training for module in modules):
        model.train(training)
    yield


@contextmanager
def randomness_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """The random generators of torch, Python and NumPy are put back at the end.

    Copying NumPy's takes longer than tracing a small network, so Python's and NumPy's are kept only for models whose
    own source files know the generator by name.
    """
    numpy: Any = sys.modules.get("numpy")
    sources = {type(module).__module__ for module in modules}
    python_state = random.getstate() if _know(sources, random) else None
    numpy_state = numpy.random.get_state() if numpy is not None and _know(sources, numpy) else None
    torch_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        if python_state is not None:
            random.setstate(python_state)
        if numpy_state is not None:
            numpy.random.set_state(numpy_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)


def _know(sources: Iterable[str], generator: ModuleType) -> bool:
    """Whether any of the named source files knows ``generator``, or something out of it, by a name of its own."""
    return any(_knows(source, generator) for source in sources)


@cache
def _knows(source: str, generator: ModuleType) -> bool:
    root = generator.__name__
    for value in vars(sys.modules.get(source, generator)).values():
        home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        # ``from random import random`` is a method of a hidden instance, which alone says where it comes from.
        owner = type(getattr(value, "__self__", None)).__module__
        if any(isinstance(name, str) and name.partition(".")[0] == root for name in (home, owner)):
            return True
    return False


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
