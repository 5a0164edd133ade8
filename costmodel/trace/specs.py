"""Between torch's tensors and the library's records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch

from costmodel.attributes import attribute_of
from costmodel.errors import InputError
from costmodel.graph import Sparse, TensorSpec
from costmodel.ops.layout import normal
from costmodel.torch_private import without_modes
from costmodel.trace.traced_tensor import is_on_meta

DTYPE_NAME: dict[torch.dtype, str] = {
    value: str(value).removeprefix("torch.") for value in vars(torch).values() if isinstance(value, torch.dtype)
}
"""``torch.float32`` is ``"float32"`` in the records."""

DTYPE: dict[str, torch.dtype] = {name: dtype for dtype, name in DTYPE_NAME.items()}

META, CPU = torch.device("meta"), torch.device("cpu")

PLAIN = frozenset({bool, int, float, complex, str, type(None)})
"""Types of arguments that are their own record."""


def spec_of(tensor: torch.Tensor) -> TensorSpec:
    """The record of a tensor: its shape, dtype and layout, nothing of its values."""
    if tensor.is_nested:  # its sizes only its values tell
        return spec_of(max(tensors_inside(tensor), key=torch.numel))
    shape = tuple(tensor.shape)
    if tensor.layout is not torch.strided:
        return TensorSpec(shape, DTYPE_NAME[tensor.dtype], sparse=_sparse(tensor))
    return TensorSpec(shape, DTYPE_NAME[tensor.dtype], strides_of(tensor))


def tensors_inside(nested: torch.Tensor) -> list[torch.Tensor]:
    """Those that a nested tensor is made of: its elements, and where its rows begin and end."""
    refuse_strided_nested(nested)
    names, _ = nested.__tensor_flatten__()  # type: ignore[attr-defined]  # of torch.nested's class
    return [inner for name in names if isinstance(inner := getattr(nested, name, None), torch.Tensor)]


def refuse_strided_nested(tensor: torch.Tensor) -> None:
    """Raises ``InputError`` for a nested tensor that is none of torch's jagged ones."""
    if tensor.is_nested and tensor.layout is torch.strided:
        raise InputError(
            "a nested tensor of strided layout has no sizes that torch tells: build it with "
            "torch.nested.nested_tensor(..., layout=torch.jagged); pad it to a dense tensor for attention, which makes "
            "strided ones of jagged ones on a CPU"
        )


def strides_of(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """Its strides as they are recorded: ``None`` where it is contiguous."""
    if not tensor.is_contiguous():
        return tuple(tensor.stride())
    if 2 < tensor.dim() < 6:
        strides = tensor.stride()
        if strides[1] <= strides[-1] and strides[1] * tensor.shape[1] <= strides[-1]:
            return normal(tuple(strides), tuple(tensor.shape))  # it may be in the order of channels last as well
    return None


_SPARSE: dict[torch.layout, Literal["coo", "csr", "csc", "bsr", "bsc"]] = {
    torch.sparse_coo: "coo", torch.sparse_csr: "csr", torch.sparse_csc: "csc", torch.sparse_bsr: "bsr",
    torch.sparse_bsc: "bsc",
}  # fmt: skip
_LAYOUT = {name: layout for layout, name in _SPARSE.items()}


def _sparse(tensor: torch.Tensor) -> Sparse | None:
    layout = _SPARSE.get(tensor.layout)
    if layout is None:
        return None  # of another library: its layout is private to its kernels
    with without_modes():  # what is asked here is no op of the model's
        # torch's own copies to the meta device have nothing stored, whatever they are copies of.
        nnz = None if is_on_meta(tensor) and not tensor._nnz() and not hasattr(tensor, _EMPTY) else tensor._nnz()
        dense = tensor.dense_dim()
        if layout == "coo":
            return Sparse(layout, nnz, dense, is_coalesced=tensor.is_coalesced())
        values = tensor.values()
        block = tuple(values.shape[values.dim() - dense - 2 : values.dim() - dense]) if layout[0] == "b" else ()
        indices = tensor.crow_indices() if layout in ("csr", "bsr") else tensor.ccol_indices()
        return Sparse(layout, nnz, dense, block, DTYPE_NAME[indices.dtype])


_EMPTY = "_costmodel_empty"
"""An attribute of sparse meta tensors that stand for one of which nothing is stored."""


def empty_meta(spec: TensorSpec) -> torch.Tensor:
    """A tensor without memory that has the record's shape, dtype and layout."""
    if spec.sparse is not None:
        return _empty_sparse(spec.shape, DTYPE[spec.dtype], spec.sparse)
    if spec.strides is None:
        return torch.empty(spec.shape, dtype=DTYPE[spec.dtype], device=META)
    return torch.empty_strided(spec.shape, spec.strides, dtype=DTYPE[spec.dtype], device=META)


def _empty_sparse(shape: tuple[int, ...], dtype: torch.dtype, sparse: Sparse) -> torch.Tensor:
    values = torch.empty(sparse.values_shape(shape), dtype=dtype, device=META)
    index_dtype = DTYPE[sparse.index_dtype]
    indices = [torch.empty(size, dtype=index_dtype, device=META) for size in sparse.indices_shapes(shape)]
    if sparse.layout == "coo":
        coalesced = sparse.is_coalesced
        return torch.sparse_coo_tensor(indices[0], values, shape, is_coalesced=coalesced, check_invariants=False)
    compressed, plain = indices
    layout = _LAYOUT[sparse.layout]
    return torch.sparse_compressed_tensor(compressed, plain, values, shape, layout=layout, check_invariants=False)


def twin_on_meta(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor without memory that is laid out as the given one; ``Tensor.to`` would lay it out anew."""
    if tensor.layout in _SPARSE:
        spec = spec_of(tensor)
        twin = empty_meta(spec)
        if spec.sparse is not None and spec.sparse.nnz == 0:
            setattr(twin, _EMPTY, True)
        return twin
    if tensor.layout is not torch.strided:
        return tensor.detach().to(META)
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)


def copy_as_laid_out(tensor: torch.Tensor) -> torch.Tensor:
    """A copy with the same strides; ``Tensor.clone`` lays a tensor with gaps or with expanded dimensions out anew."""
    tensor = tensor.detach()
    if tensor.is_quantized:  # whose clones are contiguous, unless asked not to be
        return tensor.clone(memory_format=torch.preserve_format)
    if type(tensor) is not torch.Tensor or tensor.layout is not torch.strided or not tensor.numel():
        return tensor.clone()
    span = 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    if span == tensor.numel() and span * tensor.element_size() == tensor.untyped_storage().nbytes():
        return tensor.clone()
    storage, start = tensor.untyped_storage().nbytes() // tensor.element_size(), tensor.storage_offset()
    if storage - span > _MOST_AROUND:
        memory, start = torch.as_strided(tensor, (span,), (1,)), 0
    else:
        memory = torch.as_strided(tensor, (storage,), (1,), 0)
    return torch.as_strided(memory.clone(), tensor.shape, tensor.stride(), start)


_MOST_AROUND = 1 << 18
"""The most elements that are copied around those of a view: ``as_strided`` may reach them, and a data set is larger."""


def map_tensors(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """The same nest of tuples, lists and mappings with every tensor changed, and no hold on other objects.

    >>> map_tensors({"a": (torch.zeros(2), 3)}, lambda t: tuple(t.shape))
    {'a': ((2,), 3)}
    """
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) in PLAIN:
        return value
    if isinstance(value, tuple):
        return tuple([map_tensors(item, change) for item in value])
    if isinstance(value, list):
        return [map_tensors(item, change) for item in value]
    if isinstance(value, Mapping):
        return {key: map_tensors(item, change) for key, item in value.items()}
    fields = attribute_of(type(value), "__dataclass_fields__")
    if fields is not None:
        return {name: map_tensors(attribute_of(value, name), change) for name in fields}
    return f"<{type(value).__name__}>"
