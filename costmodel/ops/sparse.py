"""Products of sparse tensors, which multiply what is stored.

A sparse tensor is read as it is stored, values and indices. Arithmetic on indices is not counted, as in every rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from costmodel.errors import NeedsValuesError
from costmodel.graph import Arguments, OpCall, Sparse, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.rule import (
    Gradients,
    Outputs,
    Rule,
    Torch,
    always,
    every_argument,
    moved,
    no_temporaries,
    register_sparse,
)
from costmodel.quantities import Traffic, Work


def sparse_rule(
    *targets: str,
    kind: str,
    outputs: Callable[[Arguments], Outputs | Gradients] | Torch,
    work: Callable[[OpCall], Work],
    traffic: Callable[[OpCall], Traffic] = every_argument,
    bound_because: Callable[[OpCall], str | None] | None = None,
    observe: Callable[[Mapping[str, Any]], dict[str, int]] | None = None,
    free_because: str | None = None,
) -> Rule:
    """The rule of calls with sparse tensors."""
    return Rule(
        targets=targets, kind=always(kind), outputs=outputs, work=work, traffic=traffic, access=everything,
        temporaries=no_temporaries, fusible=False, source="torch.sparse", free_because=free_because, examples=(),
        bound_because=bound_because, observe=observe,
    )  # fmt: skip


def how_stored(x: TensorSpec) -> Sparse:
    """How a tensor that is sparse is stored."""
    assert x.sparse is not None
    return x.sparse


def _product(
    *targets: str,
    factors: tuple[str, str],
    output: Callable[[TensorSpec, TensorSpec], tuple[int, ...]] = lambda a, b: (*a.shape[:-1], *b.shape[-1:]),
) -> Rule:
    """The rule of ``y = a @ b`` or ``y = beta * self + alpha * (a @ b)``, where one factor or both are sparse."""
    left, right = factors

    def both(call: OpCall) -> bool:
        return call.args[left].sparse is not None and call.args[right].sparse is not None

    def outputs(args: Arguments) -> TensorSpec:
        a, b = args[left], args[right]
        if a.shape[-1] != b.shape[-2 if len(b.shape) > 1 else 0]:
            raise ValueError(f"a product of {a} and {b} does not fit")
        if a.sparse is not None and b.sparse is not None:
            raise NeedsValuesError("how many elements of a product of sparse matrices are stored depends on values")
        shape = output(a, b)
        # torch transposes both factors where the right one is COO, and the result is a transpose of theirs.
        return TensorSpec(shape, a.dtype, (1, shape[0]) if b.sparse is not None and b.sparse.layout == "coo" else None)

    def macs(call: OpCall) -> int:
        a, b = call.args[left], call.args[right]
        if both(call):
            return int(call.args.get("observed", {}).get("pairs", 0))
        # Each stored element meets each column of a dense right factor, or each row of a dense left one.
        return int(a.size * (b.shape[-1] if len(b.shape) > 1 else 1) if a.sparse is not None else b.size * a.shape[-2])

    def adds_self(call: OpCall) -> bool:
        return bool(call.args.get("beta", 0) != 0)

    def work(call: OpCall) -> Work:
        n, args = call.outputs[0].size, call.args
        scalings = (args.get("alpha", 1) != 1) + (args.get("beta", 0) not in (0, 1))
        return Work(macs=macs(call), multiplies=scalings * n, adds=n if adds_self(call) else 0)

    def traffic(call: OpCall) -> Traffic:
        read = [call.args[left], call.args[right]]
        return moved([*read, call.args["self"]] if adds_self(call) else read, call.outputs)

    def bound_because(call: OpCall) -> str | None:
        if both(call) and "observed" not in call.args:
            return f"how many elements of the sparse factors of {call.op} meet depends on values; none are counted"
        return None

    def observe(args: Mapping[str, Any]) -> dict[str, int]:
        a, b = args[left], args[right]
        return {"pairs": _pairs(a, b)} if _is_sparse(a) and _is_sparse(b) else {}

    return sparse_rule(
        *targets, kind="matmul", outputs=outputs, work=work, traffic=traffic, bound_because=bound_because,
        observe=observe,
    )  # fmt: skip


def _is_sparse(tensor: Any) -> bool:
    return "sparse" in str(tensor.layout)


def _pairs(a: Any, b: Any) -> int:
    """How many stored elements of ``a`` and ``b`` meet: those in column k of the one, and in row k of the other."""
    columns, rows = a.to_sparse_coo()._indices()[1], b.to_sparse_coo()._indices()[0]
    n = a.shape[1]
    return int((columns.bincount(minlength=n) * rows.bincount(minlength=n)).sum())


def _reduced(args: Arguments) -> Outputs:
    a, b = args["self"], args["other"]
    shape = (a.shape[0], b.shape[1])
    return TensorSpec(shape, a.dtype), TensorSpec(shape if args["reduce"] in ("amax", "amin") else (0,), "int64")


def _reduced_work(call: OpCall) -> Work:
    # Each output element is a sum, mean or extreme of products, over what a row stores.
    n = call.args["self"].size * call.args["other"].shape[1]
    if call.args["reduce"] in ("amax", "amin"):
        return Work(multiplies=n, compares=n)
    return Work(macs=n, divides=call.outputs[0].size if call.args["reduce"] == "mean" else 0)


def _reduced_gradients(args: Arguments) -> Gradients:
    a, b, (of_sparse, of_dense) = args["self"], args["weight"], args["output_mask"]
    return (
        TensorSpec(a.shape, a.dtype, sparse=a.sparse) if of_sparse else None,
        TensorSpec(b.shape, b.dtype) if of_dense else None,
    )


def _reduced_gradients_work(call: OpCall) -> Work:
    # Each stored element is multiplied by a row of what arrives: summed, that is its own gradient; scaled by it, what
    # is added to a row of the dense factor's. A mean divides first; of an extreme, one product of each row takes part.
    args = call.args
    stored, columns, wanted = args["self"].size, args["weight"].shape[1], sum(args["output_mask"])
    if args["reduce"] in ("amax", "amin"):
        return Work(macs=wanted * args["grad_out"].size)
    return Work(macs=wanted * stored * columns, divides=wanted * stored if args["reduce"] == "mean" else 0)


def _sampled(args: Arguments) -> TensorSpec:
    s = args["self"]
    return TensorSpec(s.shape, s.dtype, sparse=s.sparse)


def _sampled_work(call: OpCall) -> Work:
    # beta * self + alpha * (mat1 @ mat2), at the positions that ``self`` stores.
    args = call.args
    n, scalings = args["self"].size, (args["alpha"] != 1) + (args["beta"] not in (0, 1))
    return Work(macs=n * args["mat1"].shape[-1], multiplies=scalings * n, adds=n if args["beta"] != 0 else 0)


register_sparse(
    _product("aten.mm.default", "aten.bmm.default", factors=("self", "mat2")),
    _product("aten._sparse_sparse_matmul.default", factors=("self", "other")),
    _product("aten.mv.default", factors=("self", "vec"), output=lambda a, v: a.shape[:1]),
    _product("aten.addmv.default", factors=("mat", "vec"), output=lambda a, v: a.shape[:1]),
    _product("aten.addmm.default", "aten._sparse_addmm.default", factors=("mat1", "mat2")),
    sparse_rule("aten._sparse_mm_reduce_impl.default", kind="matmul", outputs=_reduced, work=_reduced_work),
    sparse_rule(
        "aten._sparse_mm_reduce_impl_backward.default",
        kind="matmul",
        outputs=_reduced_gradients,
        work=_reduced_gradients_work,
    ),
    sparse_rule("aten.sparse_sampled_addmm.default", kind="matmul", outputs=_sampled, work=_sampled_work),
)
