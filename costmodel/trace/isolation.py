"""Isolation: leaves the model's mode, the random state and torch's switches as they were, whatever a forward does."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from operator import attrgetter
from threading import RLock
from types import ModuleType
from typing import Any

import torch
from torch import nn

from costmodel.attributes import attribute_of
from costmodel.torch_private import may_compile, unoptimised

_LOCK = RLock()
# A child that is forked while another thread traces would wait for ever, and have the model as it is half-way.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Makes other threads wait: two traces of one model would each restore what the other had changed."""
    with _LOCK:
        yield


@contextmanager
def training_mode(model: nn.Module, modules: Sequence[nn.Module], training: bool) -> Iterator[None]:
    """Puts the whole model in training or evaluation mode, by its own ``train`` where it has one."""
    before = [getattr(module, "training", None) for module in modules]  # one that torch.jit froze has none
    if (not training) not in before:
        yield
        return
    try:
        plain = _has_plain_mode(modules)
        if not plain:
            model.train(training)
    except Exception:  # it refuses, as that of an exported program does
        plain = True
    if plain:
        for module in modules:
            module.__dict__["training"] = training
    try:
        yield
    finally:
        for module, was in zip(modules, before, strict=True):
            if was is not None and module.training is not was:
                if "training" in module.__dict__:
                    module.__dict__["training"] = was
                else:  # torch.jit's modules have theirs where ``restored`` does not look
                    module.training = was


def _has_plain_mode(modules: Sequence[nn.Module]) -> bool:
    """Whether ``train`` would only set a flag in each, for which torch's own takes ten times as long."""
    methods = attrgetter("train", "__setattr__")
    inherited = {methods(kind) for kind in set(map(type, modules))} <= {methods(nn.Module)}
    return inherited and not any("train" in module.__dict__ for module in modules)


@contextmanager
def rng_restored(kinds: Collection[type[nn.Module]]) -> Iterator[None]:
    """Restores the random generators of torch, Python and NumPy at the end.

    Copying NumPy's takes longer than tracing a small network, so Python's and NumPy's are saved only for models whose
    own source files have the generator in a global variable.
    """
    numpy: Any = sys.modules.get("numpy")
    sources = {kind.__module__ for kind in kinds}
    used = {package for source in sources for package in _packages(source)}
    python_state = random.getstate() if "random" in used else None
    numpy_state = numpy.random.get_state() if numpy is not None and "numpy" in used else None
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


@lru_cache(maxsize=1 << 10)
def _packages(source: str) -> frozenset[str]:
    """Where a module's global variables are from: what it imports, and what it has out of that."""
    if source.startswith("torch.nn.modules."):  # layers of torch's own draw from torch's generators
        return frozenset()
    if source not in sys.modules:
        return frozenset({"random", "numpy"})  # it may have had them
    found: set[str] = set()
    for value in vars(sys.modules[source]).values():
        home = attribute_of(value, "__name__" if isinstance(value, ModuleType) else "__module__")
        # ``from random import random`` is a method of a hidden instance, which alone says where it comes from.
        owner = type(attribute_of(value, "__self__")).__module__
        found.update(name.partition(".")[0] for name in (home, owner) if isinstance(name, str))
    return frozenset(found)


@contextmanager
def plain_eager(kinds: Collection[type[nn.Module]]) -> Iterator[None]:
    """Runs modules of these classes op by op, and not compiled.

    Without attention's fused inference path, which hides its matmuls, and without torch.jit's optimiser, which in the
    first calls compares constants, by ops of its own. At the end torch's default dtype is as before.
    """
    fast, dtype = torch.backends.mha.get_fastpath_enabled(), torch.get_default_dtype()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with ExitStack() as within:
            if may_compile():
                within.enter_context(torch.compiler.set_stance("force_eager"))
                within.enter_context(_without_warning(kinds))
            if any(issubclass(kind, torch.jit.ScriptModule) for kind in kinds):
                within.enter_context(unoptimised(False))
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        if torch.get_default_dtype() is not dtype:
            torch.set_default_dtype(dtype)


@contextmanager
def _without_warning(kinds: Collection[type[nn.Module]]) -> Iterator[None]:
    """torch warns that compiled code ignores our hooks, also where it is told to compile nothing."""
    if any(kind.__name__ == "OptimizedModule" for kind in kinds):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Using `torch\.compile\(module\)` when there are global hooks")
            yield
    else:
        yield
