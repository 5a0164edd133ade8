"""The model, and the process's random state, exactly as they were before, whatever a forward does to them."""

from __future__ import annotations

import gc
import random
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain, filterfalse
from operator import attrgetter, is_, itemgetter
from types import ModuleType
from typing import Any

import torch
from torch import nn

_CONTAINERS = frozenset({dict, OrderedDict, list, set})


@contextmanager
def model_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Every attribute, parameter, buffer, hook and flag of every module is put back at the end.

    Dictionaries, lists and sets are copied, also those within others, and not tensors: a trace writes into none of the
    model's. But a forward may give a parameter or buffer other ``data``: it has its own again at the end.
    """
    own = [module.__dict__ for module in modules]
    held = _containers(_values_of(own))
    before = _contents(own, filter(None, held))
    within = _containers(before[2][sum(map(len, own)) :])
    if within:
        held += _reached(within)
        before = _contents(own, filter(None, held))
    filled, empty = list(filter(None, held)), list(filterfalse(None, held))
    tensors = _tensors(own)
    wants_grad, dtypes, data = _flags(tensors), _dtypes(tensors), [t.data for t in tensors]
    try:
        yield
    finally:
        for holder in filter(None, empty):
            holder.clear()
        now = _contents(own, filled)
        # By identity: tensors must not be asked whether they are equal. Order counts, a Sequential runs in it.
        if now[:2] != before[:2] or not all(map(is_, now[2], before[2])):
            _restore([*own, *filled], *before)
        if _dtypes(tensors) != dtypes or not _is_on(tensors, data):
            for tensor, its_own in zip(tensors, data, strict=True):
                tensor.data = its_own
        if _flags(tensors) != wants_grad:
            for tensor, flag in zip(tensors, wants_grad, strict=True):
                tensor.requires_grad_(flag)


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if type(value) in _CONTAINERS]


def _reached(containers: list[Any]) -> list[Any]:
    """Containers and all containers within them, each once."""
    found: dict[int, Any] = {}
    while containers:
        holder = containers.pop()
        if id(holder) not in found:
            found[id(holder)] = holder
            containers += _containers(holder.values() if isinstance(holder, dict) else holder)
    return list(found.values())


def _tensors(own: Iterable[dict[str, Any]]) -> list[torch.Tensor]:
    """Parameters and buffers, but for those that are made of other tensors and have no data of their own."""
    registered = chain.from_iterable(map(itemgetter("_parameters", "_buffers"), own))
    tensors = [t for t in _values_of(filter(None, registered)) if t is not None]
    wrappers = {kind for kind in set(map(type, tensors)) if hasattr(kind, "__tensor_flatten__")}
    return [t for t in tensors if type(t) not in wrappers] if wrappers else tensors


def _flags(tensors: Iterable[torch.Tensor]) -> list[bool]:
    return [t.requires_grad for t in tensors]


def _dtypes(tensors: Iterable[torch.Tensor]) -> list[torch.dtype]:
    return [t.dtype for t in tensors]


def _is_on(tensors: Iterable[torch.Tensor], data: Iterable[torch.Tensor]) -> bool:
    """Whether each tensor has the memory, and the layout in it, of the other: on meta, and of sparse ones, unknown."""
    try:
        return all(map(torch.Tensor.is_set_to, tensors, data))
    except (NotImplementedError, RuntimeError):  # the second where one is on another device now
        return False


def _values_of(dictionaries: Iterable[dict[str, Any]]) -> list[Any]:
    return list(chain.from_iterable(map(dict.values, dictionaries)))


def _contents(own: list[dict[str, Any]], filled: Iterable[Any]) -> tuple[list[int], list[Any], list[Any]]:
    """How much each dictionary, list or set holds; all their keys, or their values' identities; their values.

    One long list of all, as the comparison of two such lists is quick, and nearly always all that is needed.
    """
    sizes, values = list(map(len, own)), _values_of(own)
    keys: list[Any] = list(chain.from_iterable(own))
    for holder in filled:
        sizes.append(len(holder))
        if isinstance(holder, dict):
            keys += holder
            values += holder.values()
        else:
            keys += map(id, holder)
            values += holder
    return sizes, keys, values


def _restore(holders: Iterable[Any], sizes: Iterable[int], keys: Sequence[Any], values: Sequence[Any]) -> None:
    end = 0
    for holder, size in zip(holders, sizes, strict=True):
        begin, end = end, end + size
        if isinstance(holder, list):
            holder[:] = values[begin:end]
        elif isinstance(holder, set):
            holder.clear()
            holder.update(values[begin:end])
        elif not (
            len(holder) == size and all(map(is_, holder.values(), values[begin:end])) and [*holder] == keys[begin:end]
        ):
            holder.clear()
            holder.update(zip(keys[begin:end], values[begin:end], strict=True))


@contextmanager
def mode_set(model: nn.Module, modules: Sequence[nn.Module], training: bool) -> Iterator[None]:
    """The whole model in training or evaluation mode, by its own ``train`` where it has one.

    Setting it back is the business of ``model_kept``.
    """
    if (not training) in [module.training for module in modules]:
        model.train(training)
    yield


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


@contextmanager
def plain_eager(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Modules run op by op: no fused inference paths of attention, which hide its matmuls, and nothing compiled."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    wrapped = any(kind.__name__ == "OptimizedModule" for kind in set(map(type, modules)))
    compiled = wrapped or any(map(attrgetter("_compiled_call_impl"), modules))
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
