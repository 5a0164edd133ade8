"""Blocks, diagonals, segments and rotations: tensors assembled and split by position."""

from __future__ import annotations

from math import prod

from costmodel.access import AccessMap, Affine, All
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything
from costmodel.ops.movement import copy
from costmodel.ops.reduction import reduced_shape, reduction
from costmodel.ops.rule import Rule, always, every_argument, example, no_temporaries, register
from costmodel.quantities import Traffic, Work

_X = TensorSpec((2, 3, 4))
_MATRIX = TensorSpec((3, 4))


def _block_diagonal(args: Arguments) -> TensorSpec:
    tensors = args["tensors"]
    matrices = [(1,) * (2 - len(t.shape)) + t.shape for t in tensors]
    shape = sum(m[0] for m in matrices), sum(m[1] for m in matrices)
    return TensorSpec(shape, layout.result_dtype([TensorSpec((1,), t.dtype) for t in tensors]))


def _embedded(args: Arguments) -> TensorSpec:
    x, offset = args["self"], abs(args["offset"])
    rank = len(x.shape) + 1
    dims = {args["dim1"] % rank, args["dim2"] % rank}
    rest = iter(x.shape[:-1])
    n = x.shape[-1] + offset
    return TensorSpec(tuple(n if d in dims else next(rest) for d in range(rank)), x.dtype)


def _embedded_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.outputs[0].shape)
    dims = {call.args["dim1"] % rank, call.args["dim2"] % rank}
    rest = [Affine(d) for d in range(rank) if d not in dims]
    return {"self": (*rest, All())}


def _rotated(args: Arguments) -> TensorSpec:
    # A flip of both dimensions for half a turn; for a quarter turn, a flip of one and a transposed view.
    x, turns = args["self"], args["k"] % 4
    if turns == 0:
        return TensorSpec(x.shape, x.dtype)
    shape = x.shape
    strides = layout.preserved_strides(shape, [x])
    if turns == 2:
        return TensorSpec(shape, x.dtype, strides)
    a, b = (d % len(shape) for d in args["dims"])
    order = list(range(len(shape)))
    order[a], order[b] = b, a
    full = TensorSpec(shape, x.dtype, strides).full_strides
    turned = tuple(shape[d] for d in order)
    return TensorSpec(turned, x.dtype, layout.normal(tuple(full[d] for d in order), turned))


def _rotated_access(call: OpCall, output: int) -> AccessMap:
    shape, turns = call.args["self"].shape, call.args["k"] % 4
    a, b = (d % len(shape) for d in call.args["dims"])
    forward = {d: Affine(d) for d in range(len(shape))}

    def backward(d: int, along: int) -> Affine:
        return Affine(along, -1, shape[d] - 1, shape[d] - 1)

    if turns == 2:
        forward |= {a: backward(a, a), b: backward(b, b)}
    elif turns == 1:  # y[i, j] = x[j, n - 1 - i]
        forward |= {a: Affine(b), b: backward(b, a)}
    elif turns == 3:
        forward |= {a: backward(a, b), b: Affine(a)}
    return {"self": tuple(forward[d] for d in range(len(shape)))}


def _chunked(args: Arguments) -> TensorSpec:
    tensors, dim, chunks = args["tensors"], args["dim"], args["num_chunks"]
    dim %= len(tensors[0].shape)
    wide = sum(-(-t.shape[dim] // chunks) * prod(t.shape[dim + 1 :]) for t in tensors)
    return TensorSpec((*tensors[0].shape[:dim], chunks, wide), tensors[0].dtype)


def _outer(args: Arguments) -> TensorSpec:
    x, rows, columns = args["self"], args["vec1"], args["vec2"]
    column = TensorSpec((*rows.shape, 1), rows.dtype, (*rows.full_strides, 1))
    return layout.elementwise({"self": x, "vec1": column, "vec2": columns})


def _outer_work(call: OpCall) -> Work:
    n = call.outputs[0].size
    alpha, beta = call.args["alpha"], call.args["beta"]
    scaled = (alpha != 1) + (beta not in (0, 1))
    return Work(multiplies=n * (1 + scaled), adds=n if beta != 0 else 0)


def _outer_access(call: OpCall, output: int) -> AccessMap:
    x = call.args["self"]
    own = tuple(All() if n == 1 else Affine(d + 2 - len(x.shape)) for d, n in enumerate(x.shape))
    return {"self": own, "vec1": (Affine(0),), "vec2": (Affine(1),)}


def _trace(args: Arguments) -> TensorSpec:
    dtype = args["self"].dtype
    return TensorSpec((), dtype if layout.category(dtype) >= 2 else "int64")


def _on_diagonal(call: OpCall) -> int:
    return int(min(call.args["self"].shape))


def _trace_work(call: OpCall) -> Work:
    return Work(adds=max(_on_diagonal(call) - 1, 0))


def _trace_traffic(call: OpCall) -> Traffic:
    n, x = _on_diagonal(call), call.args["self"]
    return Traffic(read=n, read_bytes=n * x.itemsize, written=1, written_bytes=call.outputs[0].itemsize)


def _segments(args: Arguments) -> int:
    lengths = args["lengths"]
    return int(lengths.shape[-1] if lengths is not None else args["offsets"].shape[-1] - 1)


def _segmented(args: Arguments) -> TensorSpec:
    x, axis = args["data"], args["axis"]
    return TensorSpec((*x.shape[:axis], _segments(args), *x.shape[axis + 1 :]), x.dtype)


_JOINS = {
    "sum": Work(adds=1), "mean": Work(adds=1), "prod": Work(multiplies=1), "max": Work(compares=1),
    "min": Work(compares=1),
}  # fmt: skip


def _segmented_work(call: OpCall) -> Work:
    # n - 1 operations join a segment's n elements, and one more a given first value. No segment is taken to be empty.
    results, reduce = call.outputs[0].size, call.args["reduce"]
    given = results if call.args["initial"] is None else 0
    work = _JOINS[reduce].times(max(call.args["data"].size - given, 0))
    return work + Work(divides=results) if reduce == "mean" else work


def _segmented_access(call: OpCall, output: int) -> AccessMap:
    axis = call.args["axis"]
    return {
        name: tuple(All() if d >= axis and (name != "data" or d == axis) else Affine(d) for d in range(len(t.shape)))
        for name, t in call.tensors()
    }


def _hashed(args: Arguments) -> TensorSpec:
    return TensorSpec(reduced_shape(args), "uint64")


register(
    copy("aten.block_diag.default", outputs=_block_diagonal, access=everything,
         examples=(example([_MATRIX, TensorSpec((2, 2))]), example([_MATRIX, TensorSpec((3,), "int64")])),
         source="each matrix is copied, zeros between them are written"),
    copy("aten.diag_embed.default", outputs=_embedded, access=_embedded_access,
         examples=(example(_X), example(_X, -1, 0, 2)),
         source="the diagonal is copied, zeros beside it are written"),
    copy("aten.rot90.default", outputs=_rotated, access=_rotated_access,
         examples=(example(_X, 1, [0, 1]), example(_X, 2, [1, 2]), example(_X, 3, [2, 0]), example(_X, 0, [0, 1]))),
    copy("aten._chunk_cat.default", kind="concat", outputs=_chunked, access=everything,
         examples=(example([_X, TensorSpec((2, 5))], 1, 2),)),
    Rule(
        targets=("aten.addr.default", "aten.addr_.default"), kind=always("add"), outputs=_outer, work=_outer_work,
        traffic=every_argument, access=_outer_access, temporaries=no_temporaries, fusible=False,
        source="torch.addr: beta self + alpha (vec1 x vec2)", free_because=None,
        examples=(example(_MATRIX, TensorSpec((3,)), TensorSpec((4,))),
                  example(_MATRIX, TensorSpec((3,)), TensorSpec((4,)), beta=2, alpha=0.5)),
    ),
    Rule(
        targets=("aten.trace.default",), kind=always("other"), outputs=_trace, work=_trace_work,
        traffic=_trace_traffic, access=everything, temporaries=no_temporaries, fusible=False,
        source="the sum of the diagonal", free_because=None, examples=(example(_MATRIX),),
    ),
    Rule(
        targets=("aten.segment_reduce.default",), kind=always("other"), outputs=_segmented, work=_segmented_work,
        traffic=every_argument, access=_segmented_access, temporaries=no_temporaries, fusible=False,
        source="the definition, joined from left to right", free_because=None,
        examples=(example(TensorSpec((0, 3)), "sum", lengths=TensorSpec((2,), "int64")),),
    ),
    reduction("aten.hash_tensor.default", work=lambda call: Work(), outputs=_hashed, access=everything,
              examples=(example(_X), example(_X, [1])), source="bit operations, not arithmetic"),
)  # fmt: skip
