"""Matrix products: mm, bmm, linear, and their variants that add a further term."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import aligned
from costmodel.ops.layout import of_one_dtype
from costmodel.ops.rule import Example, Rule, always, every_argument, example, moved, no_temporaries, register
from costmodel.ops.temporaries import are_one, copy
from costmodel.quantities import Traffic, Work

_ROWS, _COLUMNS = (Affine(0), All()), (All(), Affine(1))


def _contracted(a: TensorSpec, b: TensorSpec, k_a: int, k_b: int) -> None:
    if k_a != k_b:
        raise ValueError(f"a product of {a.shape} and {b.shape} does not fit: it would contract {k_a} with {k_b}")
    of_one_dtype("a product of matrices", a, b)


def _mm(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise ValueError(f"a product of matrices takes two tensors of 2 dimensions, got {a.shape} and {b.shape}")
    _contracted(a, b, a.shape[1], b.shape[0])
    return TensorSpec((a.shape[0], b.shape[1]), a.dtype)


def _bmm(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    if len(a.shape) != 3 or len(b.shape) != 3 or a.shape[0] != b.shape[0]:
        raise ValueError(f"a batched product takes (b, m, k) and (b, k, n), got {a.shape} and {b.shape}")
    _contracted(a, b, a.shape[2], b.shape[1])
    return TensorSpec((a.shape[0], a.shape[1], b.shape[2]), a.dtype)


def _addbmm(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    return TensorSpec(_bmm(a, b).shape[1:], a.dtype)


def _mv(a: TensorSpec, v: TensorSpec) -> TensorSpec:
    if len(a.shape) != 2 or len(v.shape) != 1:
        raise ValueError(f"a matrix times a vector takes (m, k) and (k,), got {a.shape} and {v.shape}")
    _contracted(a, v, a.shape[1], v.shape[0])
    return TensorSpec(a.shape[:1], a.dtype)


def _dot(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    if len(a.shape) != 1 or len(b.shape) != 1:
        raise ValueError(f"a dot product takes two vectors, got {a.shape} and {b.shape}")
    _contracted(a, b, a.shape[0], b.shape[0])
    return TensorSpec((), a.dtype)


def _product(
    *targets: str,
    factors: tuple[str, str],
    output: Callable[[TensorSpec, TensorSpec], TensorSpec],
    contracted: tuple[int, ...],
    axis_maps: tuple[tuple[AxisMap, ...], tuple[AxisMap, ...]],
    examples: tuple[Example, ...],
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
) -> Rule:
    """The rule of ``y = a @ b`` or ``y = beta * self + alpha * (a @ b)``.

    ``contracted`` are the dimensions of ``a`` over which each output element is summed.
    """
    left, right = factors

    def outputs(args: Arguments) -> TensorSpec:
        return output(args[left], args[right])

    def adds_self(call: OpCall) -> bool:
        # torch does not read ``self`` where beta is 0.
        return bool(call.args.get("beta", 0) != 0)

    def work(call: OpCall) -> Work:
        # Every output element is one dot product over the contracted dimensions.
        (y,), args = call.outputs, call.args
        macs = y.size
        for d in contracted:
            macs *= args[left].shape[d]
        if "beta" not in args:
            return Work(macs=macs)
        alpha, beta = args["alpha"], args["beta"]
        scalings = (alpha != 1) + (beta not in (0, 1))
        return Work(macs=macs, multiplies=scalings * y.size, adds=y.size if adds_self(call) else 0)

    def traffic(call: OpCall) -> Traffic:
        read = [call.args[left], call.args[right]]
        return moved([*read, call.args["self"]] if adds_self(call) else read, call.outputs)

    def access(call: OpCall, index: int) -> AccessMap:
        access = dict(zip(factors, axis_maps, strict=True))
        if adds_self(call):
            access["self"] = aligned(call.args["self"], call.outputs[index])
        return access

    return Rule(
        targets=targets, kind=always("matmul"), outputs=outputs, work=work, traffic=traffic, access=access,
        temporaries=temporaries, fusible=False, source="torch.Tensor.matmul and torch.addmm",
        free_because=None, examples=examples,
    )  # fmt: skip


def _linear(args: Arguments) -> TensorSpec:
    x, w = args["input"], args["weight"]
    if not x.shape or x.shape[-1] != w.shape[-1]:
        raise ValueError(f"the linear layer's weight {w.shape} takes {w.shape[-1]} features, the input has {x.shape}")
    of_one_dtype("a linear layer", x, w, args["bias"])
    return TensorSpec(x.shape[:-1] + w.shape[:-1], x.dtype)


_SMALL_PRODUCT = 400
"""Batches of smaller products are done in a loop of torch's own (``bmm_out_or_baddbmm_`` in LinearAlgebra.cpp)."""
_SMALL_FOR_ONEDNN = 16**3
"""Products of bfloat16 that are no larger are left to the BLAS (``mkldnn_gemm_min_size`` in mkldnn/Matmul.cpp)."""


def _blas_takes(t: TensorSpec) -> bool:
    """Whether rows or columns lie side by side, at least as far apart as they are long: an expanded matrix has none."""
    (rows, columns), (down, right) = t.shape[-2:], t.full_strides[-2:]
    return t.is_contiguous or (right == 1 and down >= max(columns, 1)) or (down == 1 and right >= max(rows, 1))


def _onednn_takes(t: TensorSpec) -> bool:
    """Whether it, or its transpose, is contiguous."""
    _, rows, columns = t.shape
    return t.is_contiguous or t.full_strides == (rows * columns, 1, rows)


def _copied_factors(a: TensorSpec, b: TensorSpec) -> list[TensorSpec] | None:
    """Copies that oneDNN is given of batches in bfloat16; ``None`` where the BLAS does the products."""
    if a.dtype != "bfloat16" or prod(a.shape) * b.shape[-1] <= _SMALL_FOR_ONEDNN:
        return None
    return [copy(t) for t in (a, b) if not _onednn_takes(t)]


def _unless_blas_takes(*names: str) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """A copy of each matrix that the BLAS cannot take as it is stored.

    Source: ``addmm_impl_cpu_`` and ``addmv_out_cpu`` in aten/src/ATen/native.
    """

    def temporaries(args: Arguments) -> list[TensorSpec]:
        given: list[TensorSpec] = [args[name] for name in names]
        if all(t.strides is None for t in given) or any(0 in t.shape for t in given):
            return []
        return [copy(t) for t in given if not _blas_takes(t)]

    return temporaries


def batch_copies(a: TensorSpec, b: TensorSpec, *written: TensorSpec) -> list[TensorSpec]:
    """A copy of one matrix at a time, where the BLAS cannot take the strides of a batch; for oneDNN, a copy of all."""
    batches = (a, b, *written)
    if all(t.strides is None for t in batches):
        return []
    copied = _copied_factors(a, b)
    if copied is not None:
        return copied
    if a.shape[-2] * prod(b.shape[-2:]) < _SMALL_PRODUCT:
        return []
    return [TensorSpec(t.shape[-2:], t.dtype) for t in batches if not _blas_takes(t)]


def _one_pair(*names: str) -> Callable[[Arguments], Iterable[TensorSpec]]:
    return lambda args: batch_copies(*(args[name] for name in names))


def rows_copied(args: Arguments) -> Iterable[TensorSpec]:
    """A copy as a matrix of rows, where the leading dimensions cannot be merged into one."""
    x: TensorSpec = args["input"]
    if x.strides is not None and not are_one(x.shape[:-1], x.strides[:-1]):
        yield copy(x)


def _linear_work(call: OpCall) -> Work:
    # Every output element is one dot product with one row of the weight.
    (y,) = call.outputs
    return Work(macs=y.size * call.args["weight"].shape[-1], adds=y.size if call.args["bias"] is not None else 0)


def _linear_access(call: OpCall, output: int) -> AccessMap:
    x = call.args["input"]
    return {"input": (*(Affine(d) for d in range(len(x.shape) - 1)), All())}


_A, _B = TensorSpec((3, 4)), TensorSpec((4, 5))
_BATCH_A, _BATCH_B = TensorSpec((2, 3, 4)), TensorSpec((2, 4, 5))
_V = TensorSpec((4,))

register(
    _product("aten.mm.default", factors=("self", "mat2"), output=_mm, contracted=(1,), axis_maps=(_ROWS, _COLUMNS),
             temporaries=_unless_blas_takes("self", "mat2"), examples=(example(_A, _B),)),
    _product("aten.bmm.default", factors=("self", "mat2"), output=_bmm, contracted=(2,),
             axis_maps=((Affine(0), Affine(1), All()), (Affine(0), All(), Affine(2))),
             temporaries=_one_pair("self", "mat2"), examples=(example(_BATCH_A, _BATCH_B),)),
    _product("aten.mv.default", factors=("self", "vec"), output=_mv, contracted=(1,), axis_maps=(_ROWS, (All(),)),
             temporaries=_unless_blas_takes("self"), examples=(example(_A, _V),)),
    _product("aten.dot.default", factors=("self", "tensor"), output=_dot, contracted=(0,),
             axis_maps=((All(),), (All(),)), examples=(example(_V, _V),)),
    _product("aten.vdot.default", factors=("self", "other"), output=_dot, contracted=(0,),
             axis_maps=((All(),), (All(),)), examples=(example(_V, _V),)),
    _product("aten.addmm.default", "aten.addmm_.default", factors=("mat1", "mat2"), output=_mm, contracted=(1,),
             axis_maps=(_ROWS, _COLUMNS), temporaries=_unless_blas_takes("mat1", "mat2"),
             examples=(example(TensorSpec((3, 5)), _A, _B), example(TensorSpec((3, 5)), _A, _B, beta=0, alpha=2),
                       example(TensorSpec((3, 5)), _A, _B, beta=0.5))),
    *(
        _product(target, factors=("batch1", "batch2"), output=_bmm, contracted=(2,),
                 axis_maps=((Affine(0), Affine(1), All()), (Affine(0), All(), Affine(2))),
                 temporaries=_one_pair("batch1", "batch2", *written),
                 examples=(example(TensorSpec((2, 3, 5)), _BATCH_A, _BATCH_B, alpha=0.5),))
        for target, written in (("aten.baddbmm.default", ()), ("aten.baddbmm_.default", ("self",)))
    ),
    _product("aten.addbmm.default", "aten.addbmm_.default", factors=("batch1", "batch2"), output=_addbmm,
             contracted=(0, 2), axis_maps=((All(), Affine(0), All()), (All(), All(), Affine(1))),
             temporaries=_one_pair("batch1", "batch2"),
             examples=(example(TensorSpec((3, 5)), _BATCH_A, _BATCH_B),)),
    _product("aten.addmv.default", "aten.addmv_.default", factors=("mat", "vec"), output=_mv, contracted=(1,),
             axis_maps=(_ROWS, (All(),)), temporaries=_unless_blas_takes("mat"),
             examples=(example(TensorSpec((3,)), _A, _V),)),
    Rule(
        targets=("aten.linear.default",), kind=always("linear"), outputs=_linear, work=_linear_work,
        traffic=every_argument, access=_linear_access,
        temporaries=rows_copied, fusible=False, source="torch.nn.Linear: y = x A^T + b",
        free_because=None,
        examples=(example(_BATCH_A, TensorSpec((5, 4)), TensorSpec((5,))), example(_A, TensorSpec((5, 4)))),
    ),
)  # fmt: skip
