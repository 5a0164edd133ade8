"""Sparse tensors element by element: functions of the stored values, sums, softmax, conversions, and views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from costmodel.errors import NeedsValuesError
from costmodel.graph import Arguments, OpCall, Sparse, TensorSpec
from costmodel.ops.complex_numbers import as_counted
from costmodel.ops.rule import (
    RULES,
    Outputs,
    Rule,
    Torch,
    every_argument,
    moved,
    no_work,
    nothing_moves,
    register_sparse,
)
from costmodel.ops.sorting import sort_compares
from costmodel.ops.sparse import how_stored, sparse_rule
from costmodel.quantities import Traffic, Work


def _stored_like(x: TensorSpec, dtype: str | None = None, shape: tuple[int, ...] | None = None) -> TensorSpec:
    """A tensor that stores as many elements as another, at the same positions."""
    return TensorSpec(x.shape if shape is None else shape, dtype or x.dtype, sparse=x.sparse)


def _depends(args: Arguments) -> Outputs:
    raise NeedsValuesError("how many elements of a sparse tensor are stored depends on values")


def _coalesced(x: TensorSpec) -> TensorSpec:
    """The tensor, where no position is stored twice: else it is coalesced first."""
    if not how_stored(x).is_coalesced:
        raise NeedsValuesError("how many positions a sparse tensor stores twice depends on values")
    return x


def _unless_coalesced(call: OpCall) -> str | None:
    if any(t.sparse is not None and not t.sparse.is_coalesced for _, t in call.tensors()):
        return f"{call.op} coalesces a sparse tensor, whose cost depends on values and is not counted"
    return None


# -- functions of the stored values ----------------------------------------------------------------------------------


def _values(t: Any) -> Any:
    """The stored values in the place of a sparse tensor."""
    return TensorSpec((t.size,), t.dtype) if isinstance(t, TensorSpec) and t.sparse is not None else t


def _on_values(call: OpCall) -> OpCall:
    args = {name: _values(value) for name, value in call.args.items()}
    return OpCall(call.op, args, tuple(map(_values, call.outputs)), call.module, call.index, call.inplace)


def _function(*targets: str) -> list[Rule]:
    """Rules of functions that leave 0 as it is, and so are applied to the values that are stored."""

    def rule(target: str, dense: Rule) -> Rule:
        outputs_of = dense.outputs
        assert not isinstance(outputs_of, Torch)

        def outputs(args: Arguments) -> TensorSpec:
            x = _coalesced(args["self"])
            y = outputs_of({name: _values(value) for name, value in args.items()})
            assert isinstance(y, TensorSpec)
            return _stored_like(x, y.dtype)

        made = sparse_rule(
            target, kind="other", outputs=outputs, work=as_counted(lambda call: dense.work(_on_values(call))),
            bound_because=_unless_coalesced,
        )  # fmt: skip
        return replace(made, kind=lambda call: dense.kind(_on_values(call)))

    return [rule(target, RULES[target]) for target in targets]


_FUNCTIONS = (
    "abs", "asin", "asinh", "atan", "atanh", "ceil", "deg2rad", "erf", "erfinv", "expm1", "floor", "log1p", "neg",
    "rad2deg", "relu", "round", "sgn", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
"""Functions of one number that are 0 at 0, which torch has for sparse tensors."""


def _two(call_args: Arguments) -> tuple[TensorSpec | None, TensorSpec | None]:
    """The operands of a binary op that are tensors of more than one number."""
    a, b = (call_args[name] for name in ("self", "other"))
    found = [t if isinstance(t, TensorSpec) and (t.shape or t.sparse is not None) else None for t in (a, b)]
    return found[0], found[1]


def _multiplied(args: Arguments) -> TensorSpec:
    a, b = _two(args)
    if a is not None and b is not None and a.sparse is not None and b.sparse is not None:
        raise NeedsValuesError("at how many positions two sparse tensors both store an element depends on values")
    x = next(t for t in (a, b) if t is not None and t.sparse is not None)
    other = b if x is a else a
    if other is not None and (len(other.shape) > len(x.shape) or _widened(x.shape, other.shape)):
        raise NeedsValuesError("how many elements of a sparse tensor that is expanded are stored depends on values")
    return _stored_like(_coalesced(x))


def _widened(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return any(n != 1 and m == 1 for n, m in zip(other[::-1], shape[::-1], strict=False))


def _multiplied_work(call: OpCall) -> Work:
    return Work(multiplies=call.outputs[0].size)


def _multiplied_traffic(call: OpCall) -> Traffic:
    # Of a dense factor, one element is read for each that is stored.
    (y,) = call.outputs
    traffic = moved((t for t in _two(call.args) if t is not None and t.sparse is not None), call.outputs)
    for t in _two(call.args):
        if t is not None and t.sparse is None:
            n = min(y.size, t.distinct)
            traffic += Traffic(read=n, read_bytes=n * t.itemsize)
    return traffic


def _added(args: Arguments) -> TensorSpec:
    a, b = _two(args)
    assert a is not None
    assert b is not None
    if a.sparse is not None and b.sparse is not None:
        raise NeedsValuesError("how many elements of a sum of sparse tensors are stored depends on values")
    return TensorSpec(a.shape if a.sparse is None else b.shape, a.dtype)


def _added_work(call: OpCall) -> Work:
    # What is stored is added to a copy of a dense tensor, or to what the other tensor stores at the same position.
    a, b = _two(call.args)
    (y,) = call.outputs
    tensors = [t for t in (a, b) if t is not None]
    scaled = b.size if b is not None and call.args.get("alpha", 1) != 1 else 0
    if y.sparse is None:
        return Work(adds=sum(t.size for t in tensors if t.sparse is not None), multiplies=scaled)
    return Work(adds=max(sum(t.size for t in tensors) - y.size, 0), multiplies=scaled)


def _added_traffic(call: OpCall) -> Traffic:
    if not call.inplace or call.outputs[0].sparse is not None:
        return every_argument(call)
    # Of a dense tensor that is written in place, only those positions.
    stored = next(t for t in _two(call.args) if t is not None and t.sparse is not None)
    n, size = stored.size, call.outputs[0].itemsize
    return moved((stored,), ()) + Traffic(read=n, written=n, read_bytes=n * size, written_bytes=n * size)


# -- sums and softmax ------------------------------------------------------------------------------------------------


def _summed(args: Arguments) -> TensorSpec:
    return TensorSpec((), args["dtype"] or args["self"].dtype)


def _summed_work(call: OpCall) -> Work:
    # n - 1 additions join n numbers, for each result.
    return Work(adds=max(call.args["self"].size - call.outputs[0].size, 0))


def _summed_bound(call: OpCall) -> str | None:
    (y,) = call.outputs
    if y.sparse is None and y.size > 1:
        return f"how many rows store elements that {call.op} sums depends on values; each is taken to store one"
    return None


def _softmax(args: Arguments) -> TensorSpec:
    return _stored_like(_coalesced(args["self"]))


def _softmax_rows(args: Mapping[str, Any]) -> dict[str, int]:
    """How many rows along the softmax's dimension store an element."""
    x, dim = args["self"], args["dim"]
    indices = x._indices()
    kept = [d for d in range(indices.shape[0]) if d != dim % x.dim()]
    return {"rows": int(indices[kept].unique(dim=1).shape[1]) if kept and indices.numel() else min(indices.numel(), 1)}


def _softmax_work(log: bool) -> Callable[[OpCall], Work]:
    # What a row does not store is no part of it. Of n numbers: n - 1 compares find the greatest, n - 1 adds the sum.
    def work(call: OpCall) -> Work:
        n = call.outputs[0].size
        rows = call.args["observed"]["rows"] if "observed" in call.args else n
        if log:
            return Work(compares=n - rows, adds=3 * n - rows, transcendentals=n + rows)
        return Work(compares=n - rows, adds=2 * n - rows, transcendentals=n, divides=n)

    return work


def _softmax_bound(call: OpCall) -> str | None:
    if "observed" in call.args:
        return _unless_coalesced(call)
    return f"in how many rows {call.op} finds elements depends on values; each is taken to have a row of its own"


# -- conversions, copies and views -------------------------------------------------------------------------------------


def _dense(args: Arguments) -> TensorSpec:
    return TensorSpec(args["self"].shape, args["dtype"] or args["self"].dtype)


def _coalesce_work(call: OpCall) -> Work:
    # The positions are sorted, and the values of equal ones added.
    x, (y,) = call.args["self"], call.outputs
    return Work(compares=sort_compares(how_stored(x).nnz or 0), adds=x.size - y.size)


def _converted(layout: str) -> Callable[[Arguments], Outputs]:
    def outputs(args: Arguments) -> Outputs:
        x = args["self"]
        plain = ("coo", "csr", "csc")
        sparse = x.sparse
        if sparse is None or sparse.layout not in plain or layout not in plain or len(x.shape) != 2 + sparse.dense_dims:
            return _depends(args)
        _coalesced(x)
        return TensorSpec(x.shape, x.dtype, sparse=Sparse(layout, sparse.nnz, sparse.dense_dims))  # type: ignore[arg-type]  # one of the layouts above

    return outputs


def _found_work(call: OpCall) -> Work:
    # Every element of a dense tensor is compared with 0.
    x = call.args["self"]
    return Work(compares=x.size) if x.sparse is None else Work()


def _copied(args: Arguments) -> TensorSpec:
    return _stored_like(args["self"], args.get("dtype"))


def _transposed(args: Arguments) -> TensorSpec:
    x = args["self"]
    dims = args.get("dim0", 0), args.get("dim1", 1)
    shape = list(x.shape)
    i, j = (d % len(shape) for d in dims)
    shape[i], shape[j] = shape[j], shape[i]
    return TensorSpec(tuple(shape), x.dtype, sparse=replace(how_stored(x), is_coalesced=False))


def _joined(args: Arguments) -> TensorSpec:
    first, *_ = tensors = args["tensors"]
    counts = [how_stored(t).nnz for t in tensors]
    nnz = None if None in counts else sum(n for n in counts if n is not None)
    shape = list(first.shape)
    shape[args["dim"]] = sum(t.shape[args["dim"]] for t in tensors)
    sparse = replace(how_stored(first), nnz=nnz, is_coalesced=False)
    return TensorSpec(tuple(shape), first.dtype, sparse=sparse)


def _masked(args: Arguments) -> TensorSpec:
    return _stored_like(_coalesced(args["mask"]), args["self"].dtype)


def _masked_traffic(call: OpCall) -> Traffic:
    (y,), n = call.outputs, call.outputs[0].size
    indices = Traffic(read=y.index_size, read_bytes=y.nbytes - n * y.itemsize)
    return indices + Traffic(read=n, read_bytes=n * y.itemsize) + moved((), call.outputs)


def _free(*targets: str, outputs: Torch, because: str) -> Rule:
    return sparse_rule(
        *targets, kind="view", outputs=outputs, work=no_work, traffic=nothing_moves, free_because=because
    )


def _each(names: tuple[str, ...], *overloads: str) -> list[str]:
    return [target for name in names for o in overloads if (target := f"aten.{name}.{o}") in RULES]


register_sparse(
    *_function(*_each(_FUNCTIONS, "default"), *_each(tuple(f"{name}_" for name in _FUNCTIONS), "default")),
    *_function("aten.div.Tensor", "aten.div_.Tensor", "aten.pow.Tensor_Scalar", "aten.mul.Scalar"),
    sparse_rule("aten.mul.Tensor", "aten.mul_.Tensor", kind="multiply", outputs=_multiplied, work=_multiplied_work,
                traffic=_multiplied_traffic, bound_because=_unless_coalesced),
    sparse_rule("aten.add.Tensor", "aten.add_.Tensor", "aten.sub.Tensor", "aten.sub_.Tensor", kind="add",
                outputs=_added, work=_added_work, traffic=_added_traffic),
    sparse_rule("aten.sum.default", kind="other", outputs=_summed, work=_summed_work),
    sparse_rule("aten.sum.dim_IntList", "aten._sparse_sum.dim", kind="other", outputs=_depends, work=_summed_work,
                bound_because=_summed_bound),
    sparse_rule("aten._sparse_softmax.default", kind="activation", outputs=_softmax, work=_softmax_work(log=False),
                bound_because=_softmax_bound, observe=_softmax_rows),
    sparse_rule("aten._sparse_log_softmax.default", kind="activation", outputs=_softmax, work=_softmax_work(log=True),
                bound_because=_softmax_bound, observe=_softmax_rows),
    sparse_rule("aten._to_dense.default", kind="other", outputs=_dense, work=no_work, bound_because=_unless_coalesced),
    sparse_rule("aten._coalesce.default", kind="other", outputs=_depends, work=_coalesce_work),
    sparse_rule("aten._to_sparse.default", kind="other", outputs=_converted("coo"), work=_found_work),
    sparse_rule("aten._to_sparse_csr.default", kind="other", outputs=_converted("csr"), work=_found_work),
    sparse_rule("aten._to_sparse_csc.default", kind="other", outputs=_converted("csc"), work=_found_work),
    sparse_rule("aten._to_sparse_bsr.default", "aten._to_sparse_bsc.default", "aten._to_sparse.sparse_dim",
                kind="other", outputs=_depends, work=_found_work),
    sparse_rule("aten.clone.default", "aten._to_copy.default", kind="other", outputs=_copied, work=no_work),
    sparse_rule("aten.t.default@coo", "aten.transpose.int@coo", kind="other", outputs=_transposed, work=no_work),
    sparse_rule("aten.cat.default@coo", kind="concat", outputs=_joined, work=no_work),
    sparse_rule("aten.sparse_mask.default", kind="other", outputs=_masked, work=no_work, traffic=_masked_traffic),
    _free("aten.t.default", "aten.transpose.int", "aten.detach.default", "aten.alias.default", "aten.values.default",
          "aten._values.default", "aten.indices.default", "aten._indices.default", "aten.crow_indices.default",
          "aten.col_indices.default", "aten.ccol_indices.default", "aten.row_indices.default", outputs=Torch.VIEW,
          because="a view: the same values and indices"),
    _free("aten.is_coalesced.default", "aten._nnz.default", "aten.sparse_dim.default", "aten.dense_dim.default",
          outputs=Torch.META, because="a number that is known of the tensor"),
    _free("aten._sparse_coo_tensor_with_dims_and_tensors.default", "aten._sparse_coo_tensor_with_dims.default",
          "aten.sparse_coo_tensor.size", "aten.sparse_compressed_tensor.comp_plain_value_size",
          "aten.sparse_compressed_tensor.comp_plain_value", outputs=Torch.META,
          because="values and indices that are there, under one name"),
)  # fmt: skip
