"""The record of a tensor: shape, dtype and layout, and what it is to the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from math import prod
from typing import Any, Literal, TypeAlias

from costmodel.records import dataclass

Role: TypeAlias = Literal["activation", "input", "parameter", "buffer", "constant"]

ITEMSIZE: Mapping[str, int] = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "complex64": 8, "complex128": 16, "complex32": 4,
    "bcomplex32": 4,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8, "bool": 1,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "qint8": 1, "quint8": 1, "qint32": 4, "float4_e2m1fn_x2": 1,
}  # fmt: skip

PER_BYTE: Mapping[str, int] = {"quint4x2": 2, "quint2x4": 4}
"""Elements in a byte, of dtypes that pack several; each row begins with a byte of its own."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """How a sparse tensor is stored: the values that are not zero, and indices that say where they stand."""

    layout: Literal["coo", "csr", "csc", "bsr", "bsc"]
    nnz: int | None
    """Elements (blocks in BSR and BSC) that are stored, for each matrix of a batch; ``None`` where that is unknown."""
    dense_dims: int = 0
    """Trailing dimensions along which each stored element is a dense tensor."""
    block: tuple[int, ...] = ()
    """The shape of a block in BSR and BSC."""
    index_dtype: str = "int64"
    is_coalesced: bool = True
    """Whether no position is stored twice: only COO may."""

    def values_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the stored values of a tensor.

        >>> Sparse("bsr", 3, block=(2, 2)).values_shape((8, 8))
        (3, 2, 2)
        """
        dense = shape[len(shape) - self.dense_dims :]
        return (*self._batch(shape), self.nnz or 0, *self.block, *dense)

    def indices_shapes(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """The shapes of the stored indices.

        >>> Sparse("coo", 3).indices_shapes((8, 6)), Sparse("csr", 3).indices_shapes((8, 6))
        (((2, 3),), ((9,), (3,)))
        """
        nnz = self.nnz or 0
        if self.layout == "coo":
            return ((len(shape) - self.dense_dims, nnz),)
        batch = self._batch(shape)
        axis = 0 if self.layout in ("csr", "bsr") else 1
        compressed = shape[len(batch) + axis] // (self.block[axis] if self.block else 1)
        return (*batch, compressed + 1), (*batch, nnz)

    def _batch(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return () if self.layout == "coo" else shape[: len(shape) - self.dense_dims - 2]

    def transposed(self) -> Sparse:
        """The same tensor with rows and columns exchanged."""
        layout = _TRANSPOSED[self.layout]
        return Sparse(layout, self.nnz, self.dense_dims, self.block[::-1], self.index_dtype, self.is_coalesced)

    def __str__(self) -> str:
        return f"{self.layout.upper()}, {'unknown' if self.nnz is None else self.nnz} stored"


_TRANSPOSED: Mapping[str, Literal["coo", "csr", "csc", "bsr", "bsc"]] = {
    "coo": "coo", "csr": "csc", "csc": "csr", "bsr": "bsc", "bsc": "bsr",
}  # fmt: skip


@dataclass(slots=True, eq=False)
class TensorSpec:
    """A tensor without its values."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    strides: tuple[int, ...] | None = None
    """In elements. ``None`` is contiguous; strides that are contiguous too are given where torch reads another memory
    format off them (``costmodel.ops.layout.normal``)."""
    storage: int = -1
    """Index into ``Graph.storages``: tensors with the same one share memory."""
    role: Role = "activation"
    name: str = ""
    """The qualified name of a parameter or buffer."""
    meta: object = field(default=None, repr=False)
    """While a trace runs, the one object that all tensors of this shape, dtype, strides and role share."""
    trainable: bool = True
    """Of a parameter: whether it requires a gradient."""
    sparse: Sparse | None = None
    """How it is stored, where that is not densely."""
    zeros: int = 0
    """Of a pruned parameter: elements that its mask makes zero."""
    scale_bytes: int = 0
    """Of a quantised weight: bytes of the scales and zero points that are stored with it."""
    stored_bytes: int | None = None
    """Of a tensor that wraps others: the bytes that those take."""

    @property
    def size(self) -> int:
        """Elements; of a sparse tensor those that are stored."""
        return prod(self.shape) if self.sparse is None else prod(self.sparse.values_shape(self.shape))

    @property
    def index_size(self) -> int:
        """Elements of the indices that a sparse tensor stores."""
        return 0 if self.sparse is None else sum(map(prod, self.sparse.indices_shapes(self.shape)))

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie in memory in row-major order."""
        return self.strides is None or same_where_it_matters(self.strides, contiguous_strides(self.shape), self.shape)

    @property
    def distinct(self) -> int:
        """Elements that lie in memory: a dimension of stride 0 (an expanded one) is stored once, indices count.

        >>> TensorSpec((8, 4, 4), strides=(0, 4, 1)).distinct
        16
        """
        if self.strides is None:
            return prod(self.shape) if self.sparse is None else self.size + self.index_size
        if 0 in self.shape:
            return 0
        return prod(n for n, s in zip(self.shape, self.strides, strict=True) if s != 0)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return ITEMSIZE.get(self.dtype, 4)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, and of the indices of a sparse tensor; of a wrapper what it is made of."""
        if self.stored_bytes is not None:
            return self.stored_bytes
        if self.sparse is not None:
            return self.size * self.itemsize + self.index_size * ITEMSIZE[self.sparse.index_dtype]
        if self.dtype in PER_BYTE:
            *rows, columns = self.shape
            return prod(rows) * -(-columns // PER_BYTE[self.dtype]) + self.scale_bytes
        return prod(self.shape) * ITEMSIZE.get(self.dtype, 4) + self.scale_bytes

    @property
    def distinct_bytes(self) -> int:
        """Bytes of the elements that lie in memory."""
        if self.stored_bytes is not None or self.sparse is not None or self.scale_bytes:  # which are contiguous
            return self.nbytes
        return self.distinct * self.itemsize

    @property
    def full_strides(self) -> tuple[int, ...]:
        """The strides, spelled out where they are those of a contiguous tensor.

        >>> TensorSpec((2, 3, 4)).full_strides
        (12, 4, 1)
        """
        return contiguous_strides(self.shape) if self.strides is None else self.strides

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}{'' if self.sparse is None else f' ({self.sparse})'}"


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements, as torch gives them (a dimension of size 0 counts as 1).

    >>> contiguous_strides((2, 3, 4))
    (12, 4, 1)
    """
    strides = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def channels_last_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a (batch, channels, *size) tensor stored channels last.

    >>> channels_last_strides((2, 3, 4, 5))
    (60, 1, 15, 3)
    """
    n, c, *size = shape
    inner = contiguous_strides((n, *size, c))
    return (inner[0], inner[-1], *inner[1:-1])


def is_channels_last(t: TensorSpec) -> bool:
    """Whether a 4-d or 5-d tensor is stored channels last, and not contiguously as well."""
    return (
        t.strides is not None and len(t.shape) in (4, 5) and not t.is_contiguous
        and same_where_it_matters(t.strides, channels_last_strides(t.shape), t.shape)
    )  # fmt: skip


def same_where_it_matters(a: tuple[int, ...], b: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether two strides put every element at the same place: a dimension of length 1 may have any.

    >>> same_where_it_matters((6, 3, 1), (9, 3, 1), (1, 2, 3))
    True
    """
    return all(x == y or n == 1 for x, y, n in zip(a, b, shape, strict=True))


def tensors_in(value: Any) -> Iterator[TensorSpec]:
    """Every ``TensorSpec`` in a nest of tuples, lists and dicts, in order."""
    if isinstance(value, TensorSpec):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
