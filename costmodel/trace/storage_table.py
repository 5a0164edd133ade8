"""The live tensors of a trace with autograd, which keeps tensors by their storage, in objects that Python never saw."""

from __future__ import annotations

import weakref

import torch

from costmodel.graph import TensorSpec
from costmodel.trace.events import EventLog
from costmodel.trace.tensor_meta import TensorMeta
from costmodel.trace.tensor_table import TensorTable
from costmodel.trace.traced_tensor import TracedTensor


class _StorageRef(weakref.ref):  # type: ignore[type-arg]  # weakref.ref is generic in stubs only
    """A weak reference to a storage, with its ``id()`` and its index."""

    __slots__ = ("index", "key")
    key: int
    index: int


class StorageTable(TensorTable):
    """Storages are real ones, of no memory: each lives as long as torch has any tensor on it."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(log)
        self._by_storage: dict[int, TensorSpec] = {}
        """By ``id()`` of a storage's Python object, which lives as long as the storage, a record of a tensor on it."""
        self._storage_refs: list[_StorageRef] = []

    def make(self, meta: TensorMeta) -> tuple[torch.Tensor, TensorSpec]:
        """A new tensor on a storage of its own, and its record."""
        template = meta.template
        assert template is not None
        if meta.sparse is not None:
            return super().make(meta)
        log = self.log
        spec = TensorSpec(meta.shape, meta.dtype, meta.strides, len(log.storage_specs), meta.role, "", meta)
        log.storage_specs.append(spec)
        log.allocated_at.append(len(log.events))
        tensor = torch.empty_strided(meta.shape, template.stride(), dtype=template.dtype, device="meta")
        tensor.__class__ = TracedTensor
        self._watch(tensor, spec)
        return tensor, spec

    def spec(self, tensor: torch.Tensor, is_lifted: bool = False) -> TensorSpec:
        """The record of a tensor: a new one, where autograd has it from a storage that is known."""
        if self.collected:
            self.drop_collected()
        if id(tensor) not in self.specs and tensor.layout is torch.strided:
            base = self._by_storage.get(id(tensor.untyped_storage()))
            if base is not None:
                return self.alias(tensor, base)
        return super().spec(tensor, is_lifted)

    def bind(self, tensor: torch.Tensor, spec: TensorSpec) -> TensorSpec:
        """Maps a tensor to a record, and holds the tensor until the trace ends."""
        if tensor.layout is torch.strided and not tensor.is_nested:
            self._watch_storage(tensor, spec)
        return super().bind(tensor, spec)

    def drop_collected(self) -> None:
        """Drops the records of collected tensors, before another tensor reuses their ``id()``."""
        while self.collected:
            ref = self.collected.pop()
            if self.specs.get(ref.key) is ref.spec:
                del self.specs[ref.key]
            if ref.spec.sparse is not None:
                self.log.freed_after[ref.spec.storage] = len(self.log.events) - 1

    def forget(self) -> None:
        """Lets go of every tensor; the records stay."""
        self._by_storage.clear()
        self._storage_refs.clear()
        super().forget()

    def is_alive(self, storage: int) -> bool:
        """Whether anything refers to a storage still."""
        return storage not in self.log.freed_after

    def _watch(self, tensor: torch.Tensor, spec: TensorSpec) -> None:
        super()._watch(tensor, spec)
        if tensor.layout is torch.strided and not tensor.is_nested:
            self._watch_storage(tensor, spec)

    def _watch_storage(self, tensor: torch.Tensor, spec: TensorSpec) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key not in self._by_storage:
            ref = _StorageRef(storage, self._ended)
            ref.key, ref.index = key, spec.storage
            self._by_storage[key] = spec
            self._storage_refs.append(ref)

    def _ended(self, ref: _StorageRef) -> None:
        self._by_storage.pop(ref.key, None)
        self.log.freed_after[ref.index] = len(self.log.events) - 1
