"""Bilinear layers: below autograd one op; above it, and in the backward, products of three tensors."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.graph import Arguments, OpCall, TensorSpec, contiguous_strides
from costmodel.ops import layout
from costmodel.ops.matmul import batch_copies, rows_copied
from costmodel.ops.rule import Rule, always, every_argument, example, register
from costmodel.ops.temporaries import are_one, bytes_besides
from costmodel.quantities import Work


def _bilinear(args: Arguments) -> TensorSpec:
    a, b, w = args["input1"], args["input2"], args["weight"]
    if a.shape[:-1] != b.shape[:-1] or (a.shape[-1], b.shape[-1]) != w.shape[1:]:
        raise ValueError(f"the bilinear weight {w.shape} does not fit the inputs {a.shape} and {b.shape}")
    return TensorSpec((*a.shape[:-1], w.shape[0]), a.dtype)


def _bilinear_work(call: OpCall) -> Work:
    # y_o = sum_j (sum_i x1_i W_oij) x2_j: the inner product for every j, then one over j, as torch does it.
    (y,) = call.outputs
    _, n1, n2 = call.args["weight"].shape
    return Work(macs=y.size * (n1 * n2 + n2), adds=y.size if call.args["bias"] is not None else 0)


def _bilinear_temporaries(args: Arguments) -> list[TensorSpec]:
    """One output feature at a time: both products, and the weights' slice if it is copied; then the sum with a bias."""
    y, w = _bilinear(args), args["weight"]
    rows = y.size // y.shape[-1] if y.size else 0
    _, n1, n2 = w.shape
    copied = n1 * n2 if 1 not in w.full_strides[1:] else 0
    step = (rows * n2 + max(copied, rows)) * y.itemsize
    inputs = [{"input": args[name]} for name in ("input1", "input2")]
    return [
        *(t for x in inputs for t in rows_copied(x)),
        *bytes_besides(y.nbytes, y.nbytes + step, 2 * y.nbytes if args["bias"] is not None else 0),
    ]


def _bilinear_access(call: OpCall, output: int) -> AccessMap:
    axis_maps: tuple[AxisMap, ...] = (*(Affine(d) for d in range(len(call.args["input1"].shape) - 1)), All())
    return {"input1": axis_maps, "input2": axis_maps}


# Products of three tensors ---------------------------------------------------------------------------------------


def _aligned(args: Arguments) -> list[TensorSpec]:
    """The three tensors, each with dimensions of length 1 where ``expand`` says so."""
    found = []
    for n in "123":
        t: TensorSpec = args[f"i{n}"]
        dims = iter(zip(t.shape, t.full_strides, strict=True))
        expanded = args[f"expand{n}"]
        rank = len(t.shape) + len(expanded)
        both = [(1, 0) if d in expanded else next(dims) for d in range(rank)]
        shape, strides = tuple(n for n, _ in both), tuple(s for _, s in both)
        found.append(TensorSpec(shape, t.dtype, strides))
    return found


def _slices(args: Arguments) -> tuple[list[TensorSpec], list[set[int]], int]:
    """What is multiplied at one position of ``unroll_dim``, the dimensions that each product sums, and positions."""
    tensors, unrolled = _aligned(args), args["unroll_dim"]
    positions = max(t.shape[unrolled] for t in tensors)
    ones = [
        TensorSpec((*t.shape[:unrolled], 1, *t.shape[unrolled + 1 :]), t.dtype, t.full_strides) for t in tensors
    ]  # fmt: skip
    summed = set(args["sumdim"]) - {unrolled}
    first = summed & set(args["expand3"])
    return ones, [first, summed - first], positions


def _broadcast(a: TensorSpec, b: TensorSpec) -> tuple[int, ...]:
    return tuple(m if n == 1 else n for n, m in zip(a.shape, b.shape, strict=True))


def _matrices(t: TensorSpec, *groups: Sequence[int]) -> TensorSpec:
    """A tensor as a batch of matrices, each dimension made of several; without strides where that takes a copy."""
    shape = tuple(prod(t.shape[d] for d in group) for group in groups)
    strides = [[t.full_strides[d] for d in group] for group in groups]
    if all(are_one([t.shape[d] for d in g], s) for g, s in zip(groups, strides, strict=True)):
        return TensorSpec(shape, t.dtype, tuple(s[-1] if s else 1 for s in strides))
    return TensorSpec(shape, t.dtype)


def _pair(a: TensorSpec, b: TensorSpec, summed: set[int]) -> tuple[Work, TensorSpec, int]:
    """The product of two tensors: its work, its result, and the bytes of copies that live while it is made.

    Source: ``sumproduct_pair`` in aten/src/ATen/native/Linear.cpp, a batched product of matrices.
    """
    full = _broadcast(a, b)
    if not summed:
        return Work(multiplies=prod(full)), TensorSpec(full, a.dtype, layout.elementwise_strides(full, [a, b])), 0
    dims = [d for d in range(len(full)) if d not in summed]
    both = [d for d in dims if a.shape[d] != 1 and b.shape[d] != 1]
    of_a = [d for d in dims if a.shape[d] != 1 and d not in both]
    of_b = [d for d in dims if d not in both and d not in of_a]
    joined = sorted(summed)
    factors = _matrices(a, both, of_a, joined), _matrices(b, both, joined, of_b)
    copies = sum(t.nbytes for t in factors if t.strides is None) + sum(t.nbytes for t in batch_copies(*factors))
    order = [*both, *of_a, *joined, *of_b]
    shape = tuple(1 if d in summed else n for d, n in enumerate(full))
    stored = contiguous_strides(tuple(shape[d] for d in order))
    result = TensorSpec(shape, a.dtype, tuple(stored[order.index(d)] for d in range(len(full))))
    return Work(macs=prod(full)), result, copies


def _trilinear(args: Arguments) -> TensorSpec:
    a, b, c = _aligned(args)
    full = _broadcast(TensorSpec(_broadcast(a, b)), c)
    return TensorSpec(tuple(n for d, n in enumerate(full) if d not in args["sumdim"]), a.dtype)


def _trilinear_work(call: OpCall) -> Work:
    # At each position along one dimension, two products; where that dimension is summed, their results are added up.
    (a, b, c), (first, second), positions = _slices(call.args)
    left, middle, _ = _pair(a, b, first)
    right, _, _ = _pair(middle, c, second)
    adds = (positions - 1) * call.outputs[0].size if call.args["unroll_dim"] in call.args["sumdim"] else 0
    return (left + right).times(positions) + Work(adds=max(adds, 0))


def _trilinear_access(call: OpCall, output: int) -> AccessMap:
    args = call.args
    kept = [d for d in range(len(args["i1"].shape) + len(args["expand1"])) if d not in args["sumdim"]]
    access: dict[str, tuple[AxisMap, ...]] = {}
    for n in "123":
        t: TensorSpec = args[f"i{n}"]
        dims = [d for d in range(len(t.shape) + len(args[f"expand{n}"])) if d not in args[f"expand{n}"]]
        own = zip(dims, t.shape, strict=True)
        access[f"i{n}"] = tuple(Affine(kept.index(d)) if d in kept and size > 1 else All() for d, size in own)
    return access


def _trilinear_temporaries(args: Arguments) -> list[TensorSpec]:
    """At one position: the first product with its copies, then both products."""
    if any(0 in args[name].shape for name in ("i1", "i2", "i3")):
        return []
    (a, b, c), (first, second), _ = _slices(args)
    _, middle, copies = _pair(a, b, first)
    _, result, further = _pair(middle, c, second)
    return bytes_besides(0, middle.nbytes + copies, middle.nbytes + result.nbytes + further)


_ROWS, _FEATURES, _WEIGHT = TensorSpec((3, 4)), TensorSpec((3, 2)), TensorSpec((5, 4, 2))
_OUT = TensorSpec((3, 5))

register(
    Rule(
        targets=("aten.bilinear.default",), kind=always("linear"), outputs=_bilinear, work=_bilinear_work,
        traffic=every_argument, access=_bilinear_access,
        temporaries=_bilinear_temporaries, fusible=False, source="torch.nn.Bilinear: y = x1^T A x2 + b",
        free_because=None, examples=(example(_ROWS, _FEATURES, _WEIGHT, TensorSpec((5,))),),
    ),
    Rule(
        targets=("aten._trilinear.default",), kind=always("linear"), outputs=_trilinear, work=_trilinear_work,
        traffic=every_argument, access=_trilinear_access, temporaries=_trilinear_temporaries, fusible=False,
        source="torch.nn.Bilinear, y_bo = sum_ij x1_bi A_oij x2_bj, and its three gradients", free_because=None,
        examples=(
            example(_ROWS, _WEIGHT, _FEATURES, [1, 3], [0], [1, 2], [2, 3]),
            example(_OUT, _WEIGHT, _FEATURES, [2, 3], [0], [1, 2], [1, 3]),
            example(_ROWS, _OUT, _FEATURES, [1, 3], [2, 3], [1, 2], [0]),
            example(_ROWS, _WEIGHT, _OUT, [1, 3], [0], [2, 3], [1, 2]),
        ),
    ),
)  # fmt: skip
