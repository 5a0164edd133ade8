"""The dispatch cache: an op on tensors of known metadata is answered as it was before.

A rule is evaluated once for each key. Networks repeat themselves, within a forward and from one to the next, so nearly
every op of a second profile is answered without binding its arguments by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import repeat
from typing import Any, ClassVar, TypeAlias, cast

import torch

from costmodel.graph import Arguments, TensorSpec, tensors_in
from costmodel.ops import RULES
from costmodel.ops.defaults import default_float
from costmodel.records import dataclass
from costmodel.torch_private import OpOverload
from costmodel.trace.events import OpTemplate
from costmodel.trace.tensor_meta import TensorMeta
from costmodel.trace.tensor_table import TensorTable, lies_on_meta


@dataclass(slots=True, eq=False)
class Dispatch:
    """One call of an op, as torch dispatched it."""

    func: OpOverload
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    given: list[Any]
    """``args`` with records in the place of tensors."""
    named: Mapping[str, Any]
    """``kwargs``, likewise."""
    key: tuple[Any, ...]
    """The op and its arguments, with metadata in the place of tensors: what a cached answer depends on."""

    @property
    def invocation(self) -> Invocation:
        """What a cached answer takes."""
        return self.func, self.args, self.kwargs, self.given, self.named


Invocation: TypeAlias = tuple[OpOverload, Sequence[Any], Mapping[str, Any], list[Any], Mapping[str, Any]]
"""The fields of a ``Dispatch`` that an answer needs, as a bare tuple: it is built for every op."""


@dataclass(slots=True, eq=False)
class CachedOutput(OpTemplate):
    """How all calls with one key are answered."""

    @abstractmethod
    def answer(self, table: TensorTable, invocation: Invocation) -> Any:
        """What the op returns; the call is recorded."""


@dataclass(slots=True, eq=False)
class NewTensor(CachedOutput):
    """Of an op that returns one new tensor."""

    temporaries: tuple[TensorMeta, ...]
    """What it allocates and frees before it returns."""
    result: TensorMeta
    unused: tuple[TensorMeta, ...] = ()
    """Further outputs, of the core op that is recorded for a composite op of one output."""
    allocates_unused: bool = True

    def answer(self, table: TensorTable, invocation: Invocation) -> Any:
        """A new tensor."""
        _, _, _, given, named = invocation
        for meta in self.temporaries:
            table.record_temporary(meta)
        result, spec = table.make(self.result)
        outputs = (spec, *table.record_unused(self.unused, self.allocates_unused)) if self.unused else (spec,)
        log = table.log
        log.events.append((self, given, named, outputs, log.module))
        return result


_NOT_ASKED_FOR = None, None


@dataclass(slots=True, eq=False)
class NewTensors(CachedOutput):
    """Of an op that returns several new tensors, or none."""

    temporaries: tuple[TensorMeta, ...]
    results: tuple[TensorMeta | None, ...]
    """``None``: an output that was not asked for."""
    container: Callable[[list[torch.Tensor | None]], Any]

    def answer(self, table: TensorTable, invocation: Invocation) -> Any:
        """New tensors, in a tuple or list."""
        _, _, _, given, named = invocation
        for meta in self.temporaries:
            table.record_temporary(meta)
        made = [table.make(meta) if meta is not None else _NOT_ASKED_FOR for meta in self.results]
        log = table.log
        outputs = tuple([spec for _, spec in made if spec is not None])
        log.events.append((self, given, named, outputs, log.module))
        return self.container([tensor for tensor, _ in made])


@dataclass(slots=True, eq=False)
class Written(CachedOutput):
    """Of an op that writes into its first argument, which has no values."""

    inplace: ClassVar[bool] = True
    temporaries: tuple[TensorMeta, ...]
    returns_nothing: bool

    def answer(self, table: TensorTable, invocation: Invocation) -> Any:
        """That argument, or nothing."""
        _, args, _, given, named = invocation
        for meta in self.temporaries:
            table.record_temporary(meta)
        log = table.log
        log.events.append((self, given, named, (given[0],), log.module))
        return None if self.returns_nothing else args[0]


@dataclass(slots=True, eq=False)
class WrittenLists(CachedOutput):
    """Of an op that writes into lists of tensors, which have no values."""

    inplace: ClassVar[bool] = True
    temporaries: tuple[TensorMeta, ...]
    written: Callable[[Arguments], tuple[TensorSpec, ...]]

    def answer(self, table: TensorTable, invocation: Invocation) -> Any:
        """Nothing."""
        _, _, _, given, named = invocation
        for meta in self.temporaries:
            table.record_temporary(meta)
        log = table.log
        log.events.append((self, given, named, self.written(self.bind(given, named)), log.module))


@dataclass(slots=True, eq=False)
class View(CachedOutput):
    """Of a view: torch's own kernel, on whatever tensor it is; the result shares its storage."""

    _strides: tuple[int, ...] | None = None
    """Those of the tensor that was viewed last: of a dimension of length 1, a key does not have the stride."""
    _metas: tuple[TensorMeta, ...] = ()
    """Of its views. Reading them off each view takes 12 µs, this takes 5."""

    def answer(self, table: TensorTable, invocation: Invocation) -> Any:
        """What torch returns."""
        func, args, kwargs, given, named = invocation
        result = func(*args, **kwargs)
        base, viewed = given[0], args[0]
        log = table.log
        if base.sparse is not None or result is viewed:
            if result is viewed:  # an in-place change of shape, or a view that changes nothing
                table.alias(result, base)
            outputs = table.adopt(result, base)
        else:
            views, strides = result if isinstance(result, (list, tuple)) else (result,), viewed.stride()
            if strides == self._strides:
                outputs = tuple(map(table.alias, views, repeat(base), self._metas))
            else:
                outputs = tuple([table.alias(view, base) for view in views])
                self._strides, self._metas = strides, tuple([cast(TensorMeta, view.meta) for view in outputs])
        if table.constants:
            table.constants.add_views(outputs, viewed, func, args, kwargs)
        log.events.append((self, given, named, outputs, log.module))
        return result


@dataclass(slots=True, eq=False)
class Identity(CachedOutput):
    """Of a call that does nothing, such as dropout in evaluation mode."""

    def answer(self, table: TensorTable, invocation: Invocation) -> Any:
        """Its first argument. Nothing is recorded."""
        return invocation[1][0]


class DispatchCache(dict[tuple[Any, ...], CachedOutput]):
    """Answers by key, valid as long as the rules stay as they are; at most ``capacity``."""

    capacity = 1 << 14

    def __init__(self) -> None:
        self.changes = RULES.changes
        self.updates: dict[tuple[object, ...], Any] = {}
        """What samples show of optimizers (``update_loop.py``), by class, settings and metadata."""
        self.layers: dict[Any, Any] = {}
        """How layers were answered (``layer_cache.py``), by their states and metadata."""

    def clear(self) -> None:
        """Forgets all."""
        super().clear()
        self.updates.clear()
        self.layers.clear()

    def add(self, call: Dispatch, answer: CachedOutput) -> None:
        """Keeps the answer, where it depends on the key alone.

        An op on tensors that all have values may be computed, which depends on those; a view is one in any case. And a
        key may not be hashable.
        """
        if not isinstance(answer, View) and not any(map(lies_on_meta, tensors_in((call.given, call.named)))):
            return
        if len(self) >= self.capacity:
            self.clear()
        with suppress(TypeError):
            self[call.key] = answer


_caches: dict[tuple[str, str], DispatchCache] = {}
"""By what answers depend on besides the call: the default dtype, and the type of the model's device."""


def dispatch_cache(model_device: str) -> DispatchCache:
    """The cache that is valid now: an empty one where rules were added, removed or replaced since."""
    state = default_float(), model_device
    cache = _caches.get(state)
    if cache is None or cache.changes != RULES.changes:
        cache = _caches[state] = DispatchCache()
    return cache
