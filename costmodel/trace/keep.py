"""The model, and the process's random state, exactly as they were before, whatever a forward does to them."""

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

_CONTAINERS = frozenset({dict, OrderedDict, defaultdict, Counter, list, deque, set})
_ORDINARY = frozenset({torch.Tensor, nn.Parameter})


_LOCK = RLock()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Other threads wait: two that change one model for a while would put back what the other had changed."""
    with _LOCK:
        yield


@contextmanager
def model_kept(modules: Sequence[nn.Module], tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """Every attribute, parameter, buffer, hook and flag of every module is put back at the end.

    ``tensors`` are all its parameters and buffers: their flags, their ``grad`` and their ``data``, which a forward may
    replace, are put back too. Their values need not be, for a trace writes into none of them.
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
            level.put_back()
        for module, name, tensor in scripted:
            if getattr(module, name) is not tensor:
                module._c.setattr(name, tensor)
        if _flags(tensors) != flags or not _is_on(tensors, data):
            for tensor, its_own, (_, wants_grad) in zip(tensors, data, flags, strict=True):
                tensor.data = its_own
                tensor.requires_grad_(wants_grad)
        if not _are(map(_GRAD, learning), grads):
            for tensor, grad in zip(learning, grads, strict=True):
                tensor.grad = grad


def _contents_of(modules: Iterable[nn.Module]) -> list[_Contents]:
    """Those of the modules, of the containers in them, of the containers in these, and so on."""
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
        (module, name, tensor) for module in scripted for held in (module._parameters, module._buffers)
        for name, tensor in held.items()
    ]  # fmt: skip


class _Contents:
    """What dictionaries, lists and sets hold: to see later whether they still do, and to put it back where not."""

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

    def put_back(self) -> None:
        """Leaves all as it was."""
        if list(map(len, compress(self.holders, self.holders))) == self._sizes:
            keys, values = self._now()
            # By identity: tensors must not be asked whether they are equal. Order counts, a Sequential runs in it.
            if keys == self._keys and _are(values, self._values):
                return
        size_of = {id(holder): size for holder, size in zip(self._filled, self._sizes, strict=True)}
        keys_left, values_left = iter(self._keys), iter(self._values)
        for holder in self._dictionaries:
            before = dict(islice(zip(keys_left, values_left, strict=False), size_of[id(holder)]))
            if [*holder] != [*before] or not _are(holder.values(), before.values()):
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


def _are(some: Iterable[Any], others: Iterable[Any]) -> bool:
    """Whether they are the same objects; of as many."""
    return all(map(is_, some, others))


def _flags(tensors: Iterable[torch.Tensor]) -> list[tuple[torch.dtype, bool]]:
    return list(map(attrgetter("dtype", "requires_grad"), tensors))


def _is_on(tensors: Iterable[torch.Tensor], data: Iterable[torch.Tensor]) -> bool:
    """Whether each tensor has the memory, and the layout in it, of the other: on meta, and of sparse ones, unknown."""
    try:
        return all(map(torch.Tensor.is_set_to, tensors, data))
    except RuntimeError:  # not implemented on meta; or one is on another device now
        return False


@contextmanager
def mode_set(model: nn.Module, modules: Sequence[nn.Module], training: bool) -> Iterator[None]:
    """The whole model in training or evaluation mode, by its own ``train`` where it has one."""
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
                else:  # torch.jit's modules have theirs elsewhere than ``model_kept`` looks
                    module.training = was


def _has_plain_mode(modules: Sequence[nn.Module]) -> bool:
    """Whether ``train`` would only set a flag in each: torch's own takes ten times as long to do it."""
    ways = attrgetter("train", "__setattr__")
    torchs_own = {ways(kind) for kind in set(map(type, modules))} <= {ways(nn.Module)}
    return torchs_own and not any("train" in module.__dict__ for module in modules)


@contextmanager
def randomness_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """The random generators of torch, Python and NumPy are put back at the end.

    Copying NumPy's takes longer than tracing a small network, so Python's and NumPy's are kept only for models whose
    own source files know the generator by name.
    """
    numpy: Any = sys.modules.get("numpy")
    sources = {kind.__module__ for kind in set(map(type, modules))}
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


_COMPILE = "torch._dynamo", "torch.nn.attention.flex_attention"


@contextmanager
def plain_eager(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Modules run op by op: no fused inference paths of attention, which hide its matmuls, and nothing compiled."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        if any(name in sys.modules for name in _COMPILE):  # only then anything is, be it a function out of sight
            with torch.compiler.set_stance("force_eager"), _without_complaint(modules):
                yield
        else:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _without_complaint(modules: Sequence[nn.Module]) -> Iterator[None]:
    """torch warns that it will not see our hooks when it compiles a model that it will not compile."""
    if any(kind.__name__ == "OptimizedModule" for kind in set(map(type, modules))):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Using `torch\.compile\(module\)` when there are global hooks")
            yield
    else:
        yield


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Garbage collection waits.

    A tensor in a reference cycle ends when the cycle is collected, which must not depend on how many records were made.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            if not gc.get_freeze_count():
                # The trace's many records all live on. Counted among the old objects they are not gone through at
                # once, which would take a tenth of the trace's time.
                gc.freeze()
                gc.unfreeze()
            gc.enable()
