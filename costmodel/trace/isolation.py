"""Isolation: leaves the model, the random state and torch's switches as they were, whatever a forward does."""

from __future__ import annotations

import gc
import random
import sys
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain, compress, islice
from operator import attrgetter, is_, methodcaller
from threading import RLock
from types import ModuleType
from typing import Any

import torch
from torch import nn

from costmodel.torch_private import may_compile, registered_on, set_in_script_module

_CONTAINERS = frozenset({dict, OrderedDict, defaultdict, Counter, list, deque, set})
_ORDINARY = frozenset({torch.Tensor, nn.Parameter})


_LOCK = RLock()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Makes other threads wait: two traces of one model would each restore what the other had changed."""
    with _LOCK:
        yield


@contextmanager
def model_restored(modules: Sequence[nn.Module], tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """Restores every attribute, parameter, buffer, hook and flag of every module at the end.

    ``tensors`` are all its parameters and buffers: their flags, their ``grad`` and their ``data``, which a forward may
    replace, are restored too. Their values need not be, as a trace writes into none of them.
    """
    contents, scripted = _contents_of(modules), _scripted(modules)
    # Those that are made of other tensors have no data of their own.
    tensors = [t for t in tensors if type(t) in _ORDINARY or not hasattr(t, "__tensor_flatten__")]
    flags, data = _flags(tensors), [t.data for t in tensors]
    learning = [t for t in tensors if type(t) is nn.Parameter]
    grads = list(map(_GRAD, learning))
    try:
        yield
    finally:
        for level in contents:
            level.restore()
        for module, name, tensor in scripted:
            if getattr(module, name) is not tensor:
                set_in_script_module(module, name, tensor)
        if _flags(tensors) != flags or not _is_on(tensors, data):
            for tensor, its_own, (_, wants_grad) in zip(tensors, data, flags, strict=True):
                tensor.data = its_own
                tensor.requires_grad_(wants_grad)
        if not _are_same(map(_GRAD, learning), grads):
            for tensor, grad in zip(learning, grads, strict=True):
                tensor.grad = grad


def _contents_of(modules: Iterable[nn.Module]) -> list[_Contents]:
    """Those of the modules, of the containers in them, of the containers in those, and so on."""
    contents = [_Contents([module.__dict__ for module in modules])]
    within = contents[0].containers()
    while within:
        contents.append(_Contents(within))
        within = contents[-1].containers()
        if within:
            known = {id(holder) for level in contents for holder in level.holders}
            within = [holder for holder in within if id(holder) not in known]
    return contents


def _scripted(modules: Sequence[nn.Module]) -> list[tuple[Any, str, torch.Tensor]]:
    """The parameters and buffers of torch.jit's modules, by module and name: they lie in C++, in no container."""
    kinds = {kind for kind in set(map(type, modules)) if issubclass(kind, torch.jit.ScriptModule)}
    scripted: list[Any] = [module for module in modules if type(module) in kinds] if kinds else []
    return [
        (module, name, tensor) for module in scripted for registered in registered_on(module)[:2]
        for name, tensor in registered.items()
    ]  # fmt: skip


class _Contents:
    """What dictionaries, lists and sets hold, to be restored where they hold something else later."""

    def __init__(self, holders: list[Any]) -> None:
        self.holders = holders
        self._filled = list(compress(holders, holders))  # few of a module's containers
        self._sizes = list(map(len, self._filled))
        self._dictionaries = [holder for holder in self._filled if isinstance(holder, dict)]
        self._others = [holder for holder in self._filled if not isinstance(holder, dict)]
        self._keys, self._values = self._now()

    def containers(self) -> list[Any]:
        """The dictionaries, lists and sets among what they hold."""
        return [value for value in self._values if type(value) in _CONTAINERS]

    def restore(self) -> None:
        """Restores what has changed."""
        if list(map(len, compress(self.holders, self.holders))) == self._sizes:
            keys, values = self._now()
            # By identity: comparing tensors for equality would compute. Order counts, a Sequential runs in it.
            if keys == self._keys and _are_same(values, self._values):
                return
        size_of = {id(holder): size for holder, size in zip(self._filled, self._sizes, strict=True)}
        keys_left, values_left = iter(self._keys), iter(self._values)
        for holder in self._dictionaries:
            before = dict(islice(zip(keys_left, values_left, strict=False), size_of[id(holder)]))
            if [*holder] != [*before] or not _are_same(holder.values(), before.values()):
                holder.clear()
                holder.update(before)
        for holder in self._others:
            items = list(islice(values_left, size_of[id(holder)]))
            holder.clear()
            (holder.update if isinstance(holder, set) else holder.extend)(items)
        for holder in self.holders:
            if id(holder) not in size_of:
                holder.clear()

    def _now(self) -> tuple[list[Any], list[Any]]:
        # One long list of all, as the comparison of two such lists is quick, and nearly always all that is needed.
        values = map(_VALUES, self._dictionaries)
        return list(chain.from_iterable(self._dictionaries)), list(chain.from_iterable(chain(values, self._others)))


_VALUES = methodcaller("values")
_GRAD = attrgetter("grad")


def _are_same(some: Iterable[Any], others: Iterable[Any]) -> bool:
    """Whether two equally long iterables hold the same objects."""
    return all(map(is_, some, others))


def _flags(tensors: Iterable[torch.Tensor]) -> list[tuple[torch.dtype, bool]]:
    return list(map(attrgetter("dtype", "requires_grad"), tensors))


def _is_on(tensors: Iterable[torch.Tensor], data: Iterable[torch.Tensor]) -> bool:
    """Whether each tensor has the memory and the layout of the other; unknown, so no, on meta and of sparse tensors."""
    try:
        return all(map(torch.Tensor.is_set_to, tensors, data))
    except RuntimeError:  # not implemented on meta; or one is on another device now
        return False


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
                else:  # torch.jit's modules have theirs where ``model_restored`` does not look
                    module.training = was


def _has_plain_mode(modules: Sequence[nn.Module]) -> bool:
    """Whether ``train`` would only set a flag in each, for which torch's own takes ten times as long."""
    methods = attrgetter("train", "__setattr__")
    inherited = {methods(kind) for kind in set(map(type, modules))} <= {methods(nn.Module)}
    return inherited and not any("train" in module.__dict__ for module in modules)


@contextmanager
def rng_restored(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Restores the random generators of torch, Python and NumPy at the end.

    Copying NumPy's takes longer than tracing a small network, so Python's and NumPy's are saved only for models whose
    own source files have the generator in a global variable.
    """
    numpy: Any = sys.modules.get("numpy")
    sources = {kind.__module__ for kind in set(map(type, modules))}
    python_state = random.getstate() if _any_uses(sources, random) else None
    numpy_state = numpy.random.get_state() if numpy is not None and _any_uses(sources, numpy) else None
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


def _any_uses(sources: Iterable[str], generator: ModuleType) -> bool:
    """Whether a global variable of any of these modules is ``generator`` or something out of it."""
    return any(_module_uses(source, generator) for source in sources)


@cache
def _module_uses(source: str, generator: ModuleType) -> bool:
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
    """Runs modules op by op: without attention's fused inference path, which hides its matmuls, and not compiled."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        if may_compile():
            with torch.compiler.set_stance("force_eager"), _without_warning(modules):
                yield
        else:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _without_warning(modules: Sequence[nn.Module]) -> Iterator[None]:
    """torch warns that compiled code ignores our hooks, also where it is told to compile nothing."""
    if any(kind.__name__ == "OptimizedModule" for kind in set(map(type, modules))):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Using `torch\.compile\(module\)` when there are global hooks")
            yield
    else:
        yield


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pauses garbage collection.

    A tensor in a reference cycle is freed with the cycle: when that is must not depend on how many records were made.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            if not gc.get_freeze_count():
                # The trace's many records all live on. As old objects they are not visited by the next collection of
                # young ones, which would take a tenth of the trace's time.
                gc.freeze()
                gc.unfreeze()
            gc.enable()
