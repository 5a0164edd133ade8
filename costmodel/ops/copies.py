"""Copies of views (``view_copy`` and others), and views written back into a copy (``diagonal_scatter``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from costmodel.access import AccessMap, Affine
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything
from costmodel.ops.movement import copy
from costmodel.ops.rule import RULES, Outputs, example, no_temporaries, register
from costmodel.ops.temporaries import contiguous
from costmodel.quantities import Traffic

Shape = tuple[int, ...]

_X = TensorSpec((2, 3, 4))
_SQUEEZABLE = TensorSpec((2, 1, 3, 1))
_COMPLEX = TensorSpec((2, 3), "complex64")


def _contiguous(shape_of: Callable[[Arguments], Shape]) -> Callable[[Arguments], Outputs]:
    return lambda args: TensorSpec(shape_of(args), args["self"].dtype)


def _pieces(shapes_of: Callable[[Arguments], Sequence[Shape]]) -> Callable[[Arguments], Outputs]:
    return lambda args: tuple(TensorSpec(shape, args["self"].dtype) for shape in shapes_of(args))


def _as_viewed(view: str) -> Callable[[OpCall, int], AccessMap]:
    """The copy depends on what the view depends on."""
    return RULES[view].access


def _along(shape: Shape, dim: int, *lengths: int) -> Shape:
    dim %= len(shape)
    return (*shape[:dim], *lengths, *shape[dim + 1 :])


def _t(args: Arguments) -> Shape:
    shape: Shape = args["self"].shape
    return shape[::-1]


def _transposed(args: Arguments) -> Shape:
    shape = list(args["self"].shape)
    if shape:
        a, b = args["dim0"], args["dim1"]
        shape[a], shape[b] = shape[b], shape[a]
    return tuple(shape)


def _permuted(args: Arguments) -> Shape:
    return tuple(args["self"].shape[d] for d in args["dims"])


def _viewed(args: Arguments) -> Shape:
    shape = tuple(args["size"])
    elements = args["self"].size
    known = prod(n for n in shape if n != -1)
    if known and elements % known == 0:
        shape = tuple(elements // known if n == -1 else n for n in shape)
    if prod(shape) != elements:
        raise ValueError(
            f"a view of shape {tuple(args['size'])} has not the {elements} elements of {args['self'].shape}"
        )
    return shape


def _expanded(args: Arguments) -> Shape:
    shape, size = args["self"].shape, args["size"]
    missing = len(size) - len(shape)
    return tuple(shape[d - missing] if n == -1 else n for d, n in enumerate(size))


def _squeezed(args: Arguments) -> Shape:
    shape: Shape = args["self"].shape
    dims: Any = args.get("dim", range(len(shape)))
    dims = {d % len(shape) for d in ([dims] if isinstance(dims, int) else dims) if shape}
    return tuple(n for d, n in enumerate(shape) if d not in dims or n != 1)


def _unsqueezed(args: Arguments) -> Shape:
    shape = args["self"].shape
    dim = args["dim"] % (len(shape) + 1)
    return (*shape[:dim], 1, *shape[dim:])


def _narrowed(args: Arguments) -> Shape:
    return _along(args["self"].shape, args["dim"], args["length"])


def _selected(args: Arguments) -> Shape:
    return _along(args["self"].shape, args["dim"])


def _sliced(args: Arguments) -> Shape:
    shape, dim = args["self"].shape, args["dim"]
    return _along(shape, dim, len(range(*slice(args["start"], args["end"], args["step"]).indices(shape[dim]))))


def diagonal_shape(shape: Shape, offset: int, dim1: int, dim2: int) -> Shape:
    """The shape of a diagonal: the two dimensions are gone, their common one is the last.

    >>> diagonal_shape((2, 3, 4), offset=1, dim1=1, dim2=2)
    (2, 3)
    """
    dim1, dim2 = dim1 % len(shape), dim2 % len(shape)
    rows, columns = shape[dim1] - max(-offset, 0), shape[dim2] - max(offset, 0)
    return (*(n for d, n in enumerate(shape) if d not in (dim1, dim2)), max(min(rows, columns), 0))


def _diagonal(args: Arguments) -> Shape:
    return diagonal_shape(args["self"].shape, args["offset"], args["dim1"], args["dim2"])


def _unbound(args: Arguments) -> Sequence[Shape]:
    shape, dim = args["self"].shape, args["dim"]
    return [_along(shape, dim)] * shape[dim]


def _split(args: Arguments) -> Sequence[Shape]:
    return [_along(args["self"].shape, args["dim"], n) for n in args["split_sizes"]]


def _evenly_split(args: Arguments) -> Sequence[Shape]:
    shape, dim, size = args["self"].shape, args["dim"], args["split_size"]
    n = shape[dim]
    return [_along(shape, dim, min(size, n - start)) for start in range(0, n, size)] if size else [shape]


def _as_real(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec((*x.shape, 2), {"complex32": "float16", "complex64": "float32"}.get(x.dtype, "float64"))


def _as_complex(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(x.shape[:-1], {"float16": "complex32", "float32": "complex64"}.get(x.dtype, "complex128"))


def _same(args: Arguments) -> TensorSpec:
    return TensorSpec(args["self"].shape, args["self"].dtype)


def _strided(args: Arguments) -> Shape:
    return tuple(args["size"])


def _looked_at(call: OpCall) -> Traffic:
    """Of the tensor, as many elements are read as are written."""
    x = call.args["self"]
    written = sum(y.size for y in call.outputs)
    bytes_ = written * x.itemsize
    return Traffic(read=min(written, x.distinct), written=written, read_bytes=min(bytes_, x.distinct * x.itemsize),
                   written_bytes=sum(y.nbytes for y in call.outputs))  # fmt: skip


def _written_back(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    return {**everything(call, output), "self": tuple(map(Affine, range(rank)))}


def _preserved(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(x.shape, x.dtype, layout.preserved_strides(x.shape, [x]))


_SHAPES: dict[str, tuple[str, Callable[[Arguments], Outputs], tuple[Any, ...]]] = {
    "aten.view_copy.default": (
        "aten.view.default", _contiguous(_viewed), (example(_X, [6, -1]), example(_X, [2, 3, 2, 2]))
    ),
    "aten._reshape_alias_copy.default": (
        "aten.view.default", _contiguous(_viewed), (example(_X, [6, 4], [4, 1]),)
    ),
    "aten.t_copy.default": ("aten.t.default", _contiguous(_t), (example(TensorSpec((2, 3))),)),
    "aten.transpose_copy.int": ("aten.transpose.int", _contiguous(_transposed), (example(_X, 1, -1),)),
    "aten.permute_copy.default": ("aten.permute.default", _contiguous(_permuted), (example(_X, [2, 0, 1]),)),
    "aten.expand_copy.default": (
        "aten.expand.default", _contiguous(_expanded), (example(TensorSpec((3, 1)), [2, -1, 4]),)
    ),
    "aten.squeeze_copy.default": ("aten.squeeze.default", _contiguous(_squeezed), (example(_SQUEEZABLE),)),
    "aten.squeeze_copy.dim": ("aten.squeeze.dim", _contiguous(_squeezed), (example(_SQUEEZABLE, -1),)),
    "aten.squeeze_copy.dims": ("aten.squeeze.dims", _contiguous(_squeezed), (example(_SQUEEZABLE, [1, -1]),)),
    "aten.unsqueeze_copy.default": ("aten.unsqueeze.default", _contiguous(_unsqueezed), (example(_X, -1),)),
    "aten.narrow_copy.default": ("aten.narrow.default", _contiguous(_narrowed), (example(_X, 2, 1, 2),)),
    "aten.select_copy.int": ("aten.select.int", _contiguous(_selected), (example(_X, 1, -1),)),
    "aten.slice_copy.Tensor": (
        "aten.slice.Tensor", _contiguous(_sliced), (example(_X, 1, 1), example(_X, -1, -3, 9, 2))
    ),
    "aten.diagonal_copy.default": ("aten.diagonal.default", _contiguous(_diagonal), (example(_X, 1, 1, 2),)),
    "aten.as_strided_copy.default": (
        "aten.as_strided.default", _contiguous(_strided), (example(_X, [3, 2], [1, 3], 2),)
    ),
    "aten.unbind_copy.int": ("aten.unbind.int", _pieces(_unbound), (example(_X, 1), example(_X, -1))),
    "aten.split_copy.Tensor": ("aten.split.Tensor", _pieces(_evenly_split), (example(_X, 3, 2),)),
    "aten.split_with_sizes_copy.default": (
        "aten.split_with_sizes.default", _pieces(_split), (example(_X, [1, 2], 1),)
    ),
    "aten.alias_copy.default": ("aten.alias.default", _same, (example(_X),)),
    "aten.detach_copy.default": ("aten.alias.default", _same, (example(_X),)),
    "aten.view_as_real_copy.default": ("aten.view_as_real.default", _as_real, (example(_COMPLEX),)),
    "aten.view_as_complex_copy.default": (
        "aten.view_as_complex.default", _as_complex, (example(TensorSpec((3, 2))),)
    ),
    "aten._conj_copy.default": ("aten._conj.default", _same, (example(_COMPLEX),)),
}  # fmt: skip
"""The copy, the view that it copies, its outputs, and examples."""

register(
    *(
        copy(target, outputs=outputs, access=_as_viewed(view), traffic=_looked_at, examples=examples,
             temporaries=contiguous("self") if "narrow" in target else no_temporaries,
             source="a view, copied: read, written, nothing computed")
        for target, (view, outputs, examples) in _SHAPES.items()
    ),
    copy("aten.diagonal_scatter.default", outputs=_preserved, access=_written_back,
         examples=(example(_X, TensorSpec((2, 3)), 1, 1, 2),)),
    copy("aten.as_strided_scatter.default", outputs=_preserved, access=_written_back,
         examples=(example(_X, TensorSpec((3, 2)), [3, 2], [1, 3], 2),)),
)  # fmt: skip
