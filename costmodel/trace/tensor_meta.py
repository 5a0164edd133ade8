"""Interned tensor metadata: one object per shape, dtype, strides and role."""

from __future__ import annotations

from dataclasses import field
from typing import TypeAlias

import torch

from costmodel.graph import Role, Sparse, TensorSpec
from costmodel.records import dataclass
from costmodel.torch_private import refuse_data_pointers
from costmodel.trace.specs import empty_meta
from costmodel.trace.traced_tensor import as_traced


@dataclass(slots=True, eq=False)
class TensorMeta:
    """A shape, dtype, strides and role, compared by identity: ``TENSOR_METAS`` has one of each."""

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] | None
    role: Role
    template: torch.Tensor | None = field(default=None, repr=False)
    """A meta tensor: its ``.data`` is several times cheaper than a fresh ``torch.empty``."""
    sparse: Sparse | None = None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # another process interns its own


_Key: TypeAlias = tuple[tuple[int, ...], str, tuple[int, ...] | Sparse | None, Role]


class _TensorMetas(dict[_Key, TensorMeta]):
    """By shape (a ``torch.Size`` is a tuple like any other), dtype, layout and role; at most ``capacity``.

    The layout of a dense tensor is its strides.
    """

    capacity = 1 << 14

    def __missing__(self, key: _Key) -> TensorMeta:
        if len(self) >= self.capacity:
            self.clear()
        shape, dtype, layout, role = key
        if isinstance(layout, Sparse):
            meta = TensorMeta(tuple(shape), dtype, None, role, None, layout)
        else:
            meta = TensorMeta(tuple(shape), dtype, layout, role)
        self[key] = meta
        return meta


TENSOR_METAS = _TensorMetas()


def meta_with_template(spec: TensorSpec) -> TensorMeta:
    """The metadata of a tensor that is to be made."""
    meta = TENSOR_METAS[spec.shape, spec.dtype, spec.sparse or spec.strides, spec.role]
    if meta.template is None:
        with torch.inference_mode(False):
            meta.template = empty_meta(spec)
            refuse_data_pointers(meta.template)
    return meta


def new_on_meta(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """A contiguous tensor without memory."""
    template = meta_with_template(TensorSpec(shape, dtype)).template
    assert template is not None
    return as_traced(template.data)
