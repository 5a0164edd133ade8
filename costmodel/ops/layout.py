"""Shapes, dtypes and strides of outputs, as torch decides them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from costmodel.graph import (
    Arguments,
    TensorSpec,
    channels_last_strides,
    contiguous_strides,
    is_channels_last,
    same_where_it_matters,
)
from costmodel.ops.defaults import default_float
from costmodel.ops.versions import Change, has

Shape = tuple[int, ...]
Strides = tuple[int, ...]


def of_one_dtype(what: str, *tensors: TensorSpec | None) -> None:
    """Raises ``ValueError`` where factors of a product differ in dtype: torch multiplies no such."""
    dtypes = list(dict.fromkeys(t.dtype for t in tensors if t is not None))
    if len(dtypes) > 1:
        raise ValueError(
            f"{what} takes tensors of one dtype, got {' and '.join(dtypes)}; an input of another dtype is "
            f"costmodel.Input(shape, torch.{dtypes[-1]})"
        )


def suggested_channels_last(t: TensorSpec) -> bool:
    """torch's ``suggest_memory_format``: whether strides have the order of channels last."""
    return t.strides is not None and len(t.shape) in (4, 5) and _is_ordered_channels_last(t.strides, t.shape)


def _is_ordered_channels_last(strides: Strides, shape: Shape) -> bool:
    if strides[1] == 0:
        return False
    least = 0
    for d in (1, *range(len(shape) - 1, 1, -1), 0):
        if strides[d] < least or (d == 0 and least == strides[1]):
            return False
        least = strides[d] * shape[d]
    return True


def normal(strides: Strides, shape: Shape) -> Strides | None:
    """``None`` for strides that are contiguous where it matters, as a ``TensorSpec`` wants them.

    Of one channel, or of one position, a tensor may be contiguous and in the order of channels last at once. torch then
    takes it for channels last, as a tensor of 3 dimensions too, which some kernels see as rows of height 1.

    >>> normal((12, 12, 4, 1), (2, 1, 3, 4)), normal((12, 1, 4, 1), (2, 1, 3, 4))
    (None, (12, 1, 4, 1))
    """
    if 0 in shape:
        return None
    if same_where_it_matters(strides, contiguous_strides(shape), shape):
        return strides if 2 < len(shape) < 6 and _is_ordered_channels_last(strides, shape) else None
    return strides


def is_either_format(shape: Shape) -> bool:
    """Whether a tensor of this shape is contiguous and channels last at once, with one channel or one position."""
    return len(shape) in (4, 5) and same_where_it_matters(
        channels_last_strides(shape), contiguous_strides(shape), shape
    )  # fmt: skip


def in_format_of(t: TensorSpec, shape: Shape) -> Strides | None:
    """Strides of a fresh (batch, channels, *size) output in the memory format of ``t``."""
    return normal(channels_last_strides(shape), shape) if suggested_channels_last(t) else None


def is_dense(t: TensorSpec) -> bool:
    """Whether the tensor fills its memory without gaps or overlaps, in whatever order."""
    if t.strides is None:
        return True
    expected = 1
    for stride, n in sorted((s, n) for s, n in zip(t.strides, t.shape, strict=True) if n != 1):
        if stride != expected:
            return False
        expected *= n
    return True


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape to which shapes broadcast.

    >>> broadcast([(4, 1, 3), (2, 1)])
    (4, 2, 3)
    """
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    rank = max(len(s) for s in shapes)
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    result = []
    for lengths in zip(*padded, strict=True):
        distinct = {n for n in lengths if n != 1}
        if len(distinct) > 1:
            raise ValueError(f"shapes {', '.join(map(str, shapes))} do not broadcast")
        result.append(distinct.pop() if distinct else 1)
    return tuple(result)


def elementwise_strides(shape: Shape, tensors: Sequence[TensorSpec], number: bool = False) -> Strides | None:
    """Strides of a fresh elementwise output: it keeps the layout of its inputs.

    A Python number among them is a tensor of another shape to torch, and rules its short cuts out.
    Source: TensorIterator (aten/src/ATen/TensorIterator.cpp, ``fast_set_up`` and ``reorder_dimensions``).

    >>> x = TensorSpec((1, 16, 7, 7), strides=(16, 1, 112, 16))
    >>> elementwise_strides(x.shape, [x]), elementwise_strides(x.shape, [x], number=True)
    ((784, 1, 112, 16), (16, 1, 112, 16))
    """
    if not number and all(t.shape == shape for t in tensors):
        if all(t.is_contiguous for t in tensors):
            return None
        if len(shape) == 4 and all(
            is_channels_last(t) or (t.is_contiguous and is_either_format(shape)) for t in tensors
        ):
            return channels_last_strides(shape)
    return preserved_strides(shape, tensors)


def preserved_strides(shape: Shape, tensors: Sequence[TensorSpec]) -> Strides | None:
    """Strides of a fresh tensor made like others: theirs, where they agree and have no gaps."""
    if all(t.shape == shape for t in tensors):
        if all(t.strides is None for t in tensors):
            return None
        if all(t.strides == tensors[0].strides for t in tensors) and is_dense(tensors[0]):
            return tensors[0].strides
    return strides_of_operands(shape, tensors)


def in_memory_format(t: TensorSpec, memory_format: str | None, shape: Shape) -> Strides | None:
    """Strides of a fresh tensor made like one, in a memory format."""
    if memory_format in (None, "preserve_format"):
        return preserved_strides(shape, [t])
    if memory_format in ("channels_last", "channels_last_3d"):
        return normal(channels_last_strides(shape), shape)
    return None


def strides_of_operands(shape: Shape, tensors: Sequence[TensorSpec]) -> Strides | None:
    """Strides of a fresh output ordered as the operands' strides say, the first that decides first."""
    return normal(_by_permutation(shape, [_expanded_strides(t, shape) for t in tensors]), shape)


def _expanded_strides(t: TensorSpec, shape: Shape) -> Strides:
    missing = len(shape) - len(t.shape)
    own = tuple(
        0 if n == 1 and full != 1 else s
        for n, s, full in zip(t.shape, t.full_strides, shape[missing:], strict=True)
    )  # fmt: skip
    return (0,) * missing + own


def _by_permutation(shape: Shape, operands: Sequence[Strides]) -> Strides:
    # Dimensions are sorted from the fastest to the slowest by an insertion sort that treats a broadcast
    # dimension (stride 0) as undecided, then the output is dense in that order.
    order = list(reversed(range(len(shape))))
    for i in range(1, len(shape)):
        dim1 = i
        for dim0 in reversed(range(i)):
            verdict = _compare(order[dim0], order[dim1], shape, operands)
            if verdict > 0:
                order[dim0], order[dim1] = order[dim1], order[dim0]
                dim1 = dim0
            elif verdict < 0:
                break
    strides = [0] * len(shape)
    step = 1
    for d in order:
        strides[d] = step
        step *= max(shape[d], 1)
    return tuple(strides)


def _compare(a: int, b: int, shape: Shape, operands: Sequence[Strides]) -> int:
    for strides in operands:
        if strides[a] == 0 or strides[b] == 0:
            continue
        if strides[a] < strides[b]:
            return -1
        if strides[a] > strides[b]:
            return 1
        if shape[a] > shape[b]:
            return 1
    return 0


_CATEGORY = {"bool": 0, "complex64": 3, "complex128": 3, "complex32": 3, "bcomplex32": 3}
_ORDER = (
    "bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float8_e4m3fn", "float8_e5m2",
    "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float16", "bfloat16", "float32", "float64",
    "complex32", "bcomplex32", "complex64", "complex128",
)  # fmt: skip
_RANK = {dtype: i for i, dtype in enumerate(_ORDER)}
_REAL = {"complex32": "float16", "bcomplex32": "bfloat16", "complex64": "float32", "complex128": "float64"}
_COMPLEX = {"float16": "complex32", "float32": "complex64", "float64": "complex128"}


def _complex_of(dtype: str, otherwise: str) -> str:
    if dtype == "bfloat16":
        return "bcomplex32" if has(Change.HALF_COMPLEX_OF_BFLOAT16) else "complex64"
    return _COMPLEX.get(dtype, otherwise)


def real_dtype(dtype: str) -> str:
    """The dtype of a complex number's parts; any other is its own.

    >>> real_dtype("complex64"), real_dtype("int64")
    ('float32', 'int64')
    """
    return _REAL.get(dtype, dtype)


def complex_dtype(dtype: str) -> str:
    """The complex dtype whose parts are of this floating one.

    >>> complex_dtype("float64"), complex_dtype("complex64")
    ('complex128', 'complex64')
    """
    return _COMPLEX.get(dtype, dtype)


def category(dtype: str) -> int:
    """0 bool, 1 integer, 2 floating point, 3 complex."""
    if dtype in _CATEGORY:
        return _CATEGORY[dtype]
    return 2 if "float" in dtype else 1


def promote(a: str, b: str) -> str:
    """The dtype that two dtypes promote to.

    >>> promote("float16", "bfloat16"), promote("int64", "float16"), promote("uint8", "int8")
    ('float32', 'float16', 'int16')
    >>> promote("float64", "complex64")
    'complex128'
    """
    if a == b:
        return a
    low, high = sorted((a, b), key=category)
    if category(low) != category(high):
        return _complex_of(promote(_REAL[high], low), high) if category(low) == 2 and high in _REAL else high
    if {a, b} == {"float16", "bfloat16"}:
        return "float32"
    if {a, b} == {"complex32", "bcomplex32"}:
        return "complex64"
    if {a, b} == {"uint8", "int8"}:
        return "int16"
    return max(a, b, key=_RANK.__getitem__)


def _combined(higher: str, lower: str) -> str:
    # The operand of higher rank decides, unless the other has a higher category; the precision is that of the former.
    if not higher or not lower:
        return higher or lower
    least = category(lower)
    if category(higher) == 2 and least == 3:
        return _complex_of(higher, lower)
    if category(higher) < 2 and (higher == "bool" or least >= 2):
        return promote(higher, lower)
    return higher


def result_dtype(operands: Sequence[Any]) -> str:
    """The dtype of an elementwise result: tensors with dimensions outrank those without, tensors outrank numbers.

    Source: ``result_type`` in aten/src/ATen/native/TypeProperties.cpp.

    >>> result_dtype([TensorSpec((2,), "int64"), 0.5]), result_dtype([TensorSpec((2,), "float16"), TensorSpec(())])
    ('float32', 'float16')
    """
    ranked = ["", "", ""]
    for v in operands:
        if type(v) is TensorSpec:
            rank, dtype = (0 if v.shape else 1), v.dtype
        elif isinstance(v, (int, float, complex)):
            rank, dtype = 2, _of_number(v)
        else:
            continue
        ranked[rank] = promote(ranked[rank], dtype) if ranked[rank] else dtype
    return _combined(ranked[0], _combined(ranked[1], ranked[2]))


def _of_number(value: complex) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    return default_float() if isinstance(value, float) else _complex_of(default_float(), "complex128")


_NO_SAY = ("alpha", "value")
"""Numbers that scale an operand and leave the dtype to the operands."""


def elementwise(args: Arguments, dtype: str | None = None) -> TensorSpec:
    """The output of an elementwise op on all its tensor and number arguments."""
    tensors = [v for v in args.values() if type(v) is TensorSpec]
    first = tensors[0]
    shape = first.shape
    if dtype is None:
        dtype = first.dtype
        # Among floats of one dtype only a complex number changes anything.
        if "float" not in dtype or any(t.dtype != dtype for t in tensors) or complex in map(type, args.values()):
            dtype = result_dtype([v for name, v in args.items() if name not in _NO_SAY])
    for t in tensors:
        if t.shape != shape:
            shape = broadcast([t.shape for t in tensors])
            break
    if first.strides is None and len(tensors) == 1:
        return TensorSpec(shape, dtype)
    number = type(args.get("other")) in (int, float, complex, bool)
    return TensorSpec(shape, dtype, elementwise_strides(shape, tensors, number))
