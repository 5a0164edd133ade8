"""The live tensors of a trace: maps each to its record, and records how long each storage lives."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from costmodel.graph import Role, TensorSpec, tensors_in
from costmodel.torch_private import refuse_data_pointers
from costmodel.trace.events import EventLog
from costmodel.trace.origin import is_made_elsewhere, note_on
from costmodel.trace.packed import Packed, scale_bytes, unpacked
from costmodel.trace.specs import DTYPE_NAME, map_tensors, spec_of, strides_of, tensors_inside
from costmodel.trace.tensor_meta import TENSOR_METAS, TensorMeta
from costmodel.trace.traced_tensor import TracedTensor, as_traced, is_on_meta
from costmodel.trace.wrapped import is_wrapper, plain_tensors

if TYPE_CHECKING:
    from costmodel.trace.deferred import Constants

ON_META: frozenset[Role] = frozenset({"activation", "input"})
"""Roles of tensors that have no values: the trace holds them on the meta device."""

PLAIN_TENSORS = frozenset({torch.Tensor, torch.nn.Parameter})
"""Types of nearly all parameters and buffers."""

_STRIDED = torch.strided

LAZY = (UninitializedParameter, UninitializedBuffer)
"""Types of the tensors of lazy modules, which have no shape before the first forward."""


class _TensorRef(weakref.ref):  # type: ignore[type-arg]  # weakref.ref is generic in stubs only
    """A weak reference to a tensor, with its ``id()`` and its record."""

    __slots__ = ("key", "spec")
    key: int
    spec: TensorSpec


class TensorTable:
    """Every tensor that is alive during a trace."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.modules: Sequence[torch.nn.Module] = ()
        """Every module of the model."""
        self.specs: dict[int, TensorSpec] = {}
        """The record of every live tensor, by ``id()``. Where any are ``collected``, drop those before a look-up."""
        self.collected: list[_TensorRef] = []
        """Tensors that Python has collected and that still have a record."""
        self._on_collected = self.collected.append
        self._refs: list[_TensorRef] = []
        """A weak reference to every tensor that an op made."""
        self._users: dict[int, int] = {}
        """How many of those are alive on each storage, where it ever was more than one.

        A tensor from before the first op is never taken off: something outside the trace holds it.
        """
        self.has_lazy = False
        """Whether parameters or buffers have no shape yet."""
        self.copied_inputs: set[int] = set()
        """Storages of inputs with values: copies of what the user gave."""
        self.lifted: set[int] = set()
        """Storages of tensors that torch has made of Python's numbers, such as an optimizer's counters of its steps."""
        self.stale: set[int] = set()
        """Storages of tensors with values that an op has written, which was recorded and not carried out."""
        self.constants: Constants | None = None
        """Constants that are not computed before a value is asked for."""
        self.may_defer = True
        """Whether there may be such."""
        self._held: dict[int, Any] = {}
        """Tensors and packed weights from outside, held so that nothing else takes their place in memory before the
        trace ends."""

    def drop_collected(self) -> None:
        """Drops the records of collected tensors, before another tensor reuses their ``id()``.

        That may wait until the next op or module call, as no op runs before it.
        """
        specs, users, log = self.specs, self._users, self.log
        while self.collected:
            ref = self.collected.pop()
            spec = ref.spec
            if specs.get(ref.key) is spec:
                del specs[ref.key]
            left = users.get(spec.storage, 1) - 1
            if left:
                users[spec.storage] = left
            else:
                log.freed_after[spec.storage] = len(log.events) - 1

    def forget(self) -> None:
        """Lets go of every tensor; the records stay."""
        self.drop_collected()
        self._refs.clear()
        self._held.clear()
        self.specs.clear()

    # -- tensors from before the first op ---------------------------------------------------------------------------

    def spec(self, tensor: torch.Tensor, is_lifted: bool = False) -> TensorSpec:
        """The record of a tensor; ``is_lifted`` where torch has just made it of Python's numbers or of an array."""
        if self.collected:
            self.drop_collected()
        spec = self.specs.get(id(tensor))
        if spec is None:
            role: Role = "activation" if is_on_meta(tensor) else "constant"
            if id(tensor) in self._attributes:
                return self.add(tensor, role)
            # Made by torch without an op, as ``torch.from_numpy`` and ``torch.tensor`` do.
            spec = _spec_with_role(tensor, role)
            self.log.add_storage(spec, -1)
            self.log.first_seen_at[spec.storage] = len(self.log.events)
            if is_lifted:
                self.lifted.add(spec.storage)
            if is_made_elsewhere(tensor, self.modules, is_lifted=is_lifted):
                self.log.add_note(note_on(tensor))
            self._watch(tensor, spec)
        return spec

    @cached_property
    def _attributes(self) -> frozenset[int]:
        """The ``id()`` of tensors that are plain attributes of modules, or in a list, tuple or dict that is one."""
        found = []
        for module in self.modules:
            for value in vars(module).values():
                held = value if isinstance(value, (list, tuple)) else value.values() if type(value) is dict else [value]
                found += [id(item) for item in held if isinstance(item, torch.Tensor)]
        return frozenset(found)

    def add(self, tensor: torch.Tensor, role: Role, name: str = "") -> TensorSpec:
        """Adds a tensor that exists before the first op, and holds it until the trace ends."""
        spec = _spec_with_role(tensor, role, name)
        self.log.add_storage(spec, -1)
        return self.bind(tensor, spec)

    def add_registered(
        self, tensors: Mapping[str, torch.Tensor | None], prefix: str, role: Role
    ) -> tuple[TensorSpec, ...]:
        """Adds the parameters or the buffers of a module. ``restored`` holds them."""
        known, storage_specs, allocated_at = self.specs, self.log.storage_specs, self.log.allocated_at
        is_parameter, specs = role == "parameter", []
        for name, tensor in tensors.items():
            if tensor is None:
                continue
            spec = known.get(id(tensor))
            if spec is None:
                kind = type(tensor)
                if kind in LAZY:
                    self.has_lazy = True
                    continue
                if tensor.layout is _STRIDED:
                    shape = tensor.shape  # nearly all are contiguous, and in no other order as well
                    strides = None if 1 not in shape and tensor.is_contiguous() else strides_of(tensor)
                    meta = TENSOR_METAS[shape, DTYPE_NAME[tensor.dtype], strides, role]
                    spec = TensorSpec(meta.shape, meta.dtype, strides, len(storage_specs), role, prefix + name, meta)
                    if is_parameter and not tensor.requires_grad:
                        spec.trainable = False
                    storage_specs.append(spec)
                    allocated_at.append(-1)
                    known[id(tensor)] = spec
                    if kind not in PLAIN_TENSORS and is_wrapper(kind):
                        self.add_inside(tensor, spec)
                else:
                    spec = self.add(tensor, role, prefix + name)
                    spec.trainable = not is_parameter or tensor.requires_grad
            specs.append(spec)
        return tuple(specs)

    def add_packed(self, packed: Any, role: Role, name: str = "") -> tuple[TensorSpec, ...]:
        """Adds packed weights under the hash of their object, and holds that until the trace ends."""
        records = cast(dict[int, Any], self.specs)
        known = records.get(hash(packed))
        if isinstance(known, Packed):
            return known.tensors
        found, geometry = unpacked(packed)
        specs = []
        for each in found:
            spec = self.specs.get(id(each.tensor))
            if spec is None:  # a bias may be a tensor that the model has elsewhere too
                spec = _spec_with_role(each.tensor, role, f"{name}.{each.name}" if name else "")
                if each.is_half:
                    spec.dtype = "float16"
                    spec.meta = _meta_of(spec, role)
                spec.trainable, spec.scale_bytes = False, scale_bytes(each.tensor)
                self.log.add_storage(spec, -1)
            specs.append(spec)
        records[hash(packed)] = Packed(tuple(specs), geometry)
        self._held[hash(packed)] = packed
        return tuple(specs)

    def add_inside(self, wrapper: torch.Tensor, spec: TensorSpec) -> None:
        """Adds the tensors that a parameter or buffer is made of: ops read them in its place."""
        spec.stored_bytes = 0
        for tensor in plain_tensors(wrapper):
            inner = _spec_with_role(tensor, spec.role, spec.name)
            inner.storage = spec.storage
            spec.stored_bytes += inner.nbytes
            self.bind(tensor, inner)

    def add_input(self, tensor: torch.Tensor, copies: Collection[int]) -> TensorSpec:
        """Adds one of the model's inputs, which may be given twice; ``copies`` of what the user gave have values."""
        known = self.specs.get(id(tensor))
        if known is not None:
            return known
        spec = self.add(tensor, "input")
        if id(tensor) in copies:
            spec.meta = _meta_of(spec, "constant")
            self.copied_inputs.add(spec.storage)
        if tensor.is_nested:
            for inner in tensors_inside(tensor):
                if inner.shape == spec.shape:
                    self.bind(inner, spec)
                else:
                    self.add(inner, "input")
        return spec

    def bind(self, tensor: torch.Tensor, spec: TensorSpec) -> TensorSpec:
        """Maps a tensor to a record, and holds the tensor until the trace ends."""
        self.specs[id(tensor)] = spec
        self._held[id(tensor)] = tensor
        return spec

    # -- tensors that an op makes -------------------------------------------------------------------------------

    def make(self, meta: TensorMeta) -> tuple[torch.Tensor, TensorSpec]:
        """A new tensor on a storage of its own, and its record."""
        log, template = self.log, meta.template
        assert template is not None
        storage_specs = log.storage_specs
        spec = TensorSpec(meta.shape, meta.dtype, meta.strides, len(storage_specs), meta.role, "", meta)
        if meta.sparse is not None:
            spec.sparse, log.holds_sparse = meta.sparse, True
        storage_specs.append(spec)
        log.allocated_at.append(len(log.events))
        tensor = template.data
        tensor.__class__ = TracedTensor
        self._watch(tensor, spec)
        return tensor, spec

    def record_temporary(self, meta: TensorMeta) -> TensorSpec:
        """A tensor that an op allocates and frees before it returns."""
        spec, log = TensorSpec(meta.shape, meta.dtype, meta.strides), self.log
        if 0 not in meta.shape:
            log.add_storage(spec, len(log.events))
            log.freed_after[spec.storage] = len(log.events)
        return spec

    def record_unused(self, metas: tuple[TensorMeta, ...], is_allocated: bool) -> list[TensorSpec]:
        """Outputs of an op that nobody receives."""
        if is_allocated:
            return [self.record_temporary(meta) for meta in metas]
        return [TensorSpec(meta.shape, meta.dtype, meta.strides) for meta in metas]

    def adopt(self, result: Any, base: TensorSpec | None = None) -> tuple[TensorSpec, ...]:
        """Records for what a kernel of torch's returned: on the storage of ``base``, or on new ones."""

        def record(tensor: torch.Tensor) -> TensorSpec:
            known = self.specs.get(id(tensor))
            if known is not None and known.shape == tensor.shape:  # not, where the kernel resized what it was given
                return known
            if base is not None:
                return self.alias(tensor, base)
            on_meta = is_on_meta(tensor)
            if on_meta:
                refuse_data_pointers(as_traced(tensor))
            spec = _spec_with_role(tensor, "activation" if on_meta else "constant")
            self.log.add_storage(spec, len(self.log.events))
            self._watch(tensor, spec)
            return spec

        if self.collected:
            self.drop_collected()
        return tuple(tensors_in(map_tensors(result, record)))

    def alias(self, tensor: torch.Tensor, base: TensorSpec, meta: TensorMeta | None = None) -> TensorSpec:
        """A new record for a tensor on the storage of another, or for that other under a new shape.

        ``meta`` is its metadata, where that is known.
        """
        if meta is None:
            spec = _spec_with_role(tensor, base.role, base.name)
            assert isinstance(base.meta, TensorMeta)
            spec.meta = _meta_of(spec, base.meta.role if lies_on_meta(base) else "constant")
            spec.storage = base.storage
        else:
            spec = TensorSpec(meta.shape, meta.dtype, meta.strides, base.storage, base.role, base.name, meta)
        self._users[spec.storage] = self._users.get(spec.storage, 1) + 1
        self._watch(as_traced(tensor), spec)
        return spec

    def _watch(self, tensor: torch.Tensor, spec: TensorSpec) -> None:
        # Weak: the model decides how long a tensor lives, and so when its storage is freed.
        ref = _TensorRef(tensor, self._on_collected)
        key = ref.key = id(tensor)
        ref.spec = self.specs[key] = spec
        self._refs.append(ref)


def _spec_with_role(tensor: torch.Tensor, role: Role, name: str = "") -> TensorSpec:
    spec = spec_of(tensor)
    spec.role, spec.name, spec.meta = role, name, _meta_of(spec, role)
    return spec


def _meta_of(spec: TensorSpec, role: Role) -> TensorMeta:
    return TENSOR_METAS[spec.shape, spec.dtype, spec.sparse or spec.strides, role]


def lies_on_meta(spec: TensorSpec) -> bool:
    """Whether a tensor of the trace has no values: inputs may have them."""
    assert isinstance(spec.meta, TensorMeta)
    return spec.meta.role in ON_META
