"""Products with a factor of which two of every four numbers are zero, and not stored (2:4 sparsity, on GPUs)."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.rule import Outputs, Rule, Torch, always, every_argument, example, no_temporaries, no_work, register
from costmodel.quantities import Work

_SOURCE = "Mishra et al., Accelerating Sparse Deep Neural Networks, arXiv:2104.08378: numbers stored are multiplied"


def _linear(args: Arguments) -> TensorSpec:
    x, w = args["input"], args["weight"]
    # The product is made with the weight on the left, and returned transposed.
    return TensorSpec((x.shape[0], w.shape[0]), args["out_dtype"] or x.dtype, (1, x.shape[0]))


_ACTIVATION = {"relu": Work(compares=1), "silu": Work(transcendentals=1, adds=1, divides=1, multiplies=1)}


def _linear_work(call: OpCall) -> Work:
    (y,), args = call.outputs, call.args
    each = Work(macs=args["weight"].shape[1], adds=int(args["bias"] is not None))
    return (each + _ACTIVATION.get(args["activation"], Work())).times(y.size)


def _product(args: Arguments) -> TensorSpec:
    a, b = args["mat1"], args["mat2"]
    return TensorSpec((a.shape[0], b.shape[1]), args["out_dtype"] or b.dtype)


def _product_work(call: OpCall) -> Work:
    (y,), args = call.outputs, call.args
    alpha, beta = args.get("alpha", 1), args.get("beta", 0)
    scalings = (alpha != 1) + (beta not in (0, 1))
    return Work(macs=args["mat1"].shape[1], multiplies=scalings, adds=int(beta != 0)).times(y.size)


def _rows(args: Arguments) -> int:
    a: TensorSpec = args["compressed_A"]
    b: TensorSpec = args["dense_B"]
    if len(a.shape) == 2:
        return a.shape[0]
    # In one piece: half of the numbers, and their places by 2 bits each.
    halves = 10 if a.itemsize == 1 else 9
    return 16 * a.size // (halves * b.shape[0])


def _compressed(args: Arguments) -> TensorSpec:
    b, rows = args["dense_B"], _rows(args)
    shape = (b.shape[1], rows) if args["transpose_result"] else (rows, b.shape[1])
    return TensorSpec(shape, args["out_dtype"] or b.dtype)


def _compressed_work(call: OpCall) -> Work:
    (y,), args = call.outputs, call.args
    scaled, biased = args["alpha"] is not None, args["bias"] is not None
    return Work(macs=args["dense_B"].shape[0] // 2, multiplies=int(scaled), adds=int(biased)).times(y.size)


_HALF = TensorSpec((32, 32), "float16")
_PLACES = TensorSpec((32, 4), "int16")
_DENSE = TensorSpec((64, 16), "float16")


def _rule(
    target: str,
    kind: str,
    outputs: Callable[[Arguments], Outputs] | Torch,
    work: Callable[[OpCall], Work],
    *case: object,
) -> Rule:
    return Rule(
        targets=(f"aten.{target}.default",), kind=always(kind), outputs=outputs, work=work, traffic=every_argument,
        access=everything, temporaries=no_temporaries, fusible=False, source=_SOURCE, free_because=None,
        examples=(example(*case),),
    )  # fmt: skip


register(
    _rule("_sparse_semi_structured_linear", "linear", _linear, _linear_work, TensorSpec((16, 64), "float16"), _HALF,
          _PLACES),
    _rule("_sparse_semi_structured_mm", "matmul", _product, _product_work, _HALF, _PLACES, _DENSE),
    _rule("_sparse_semi_structured_addmm", "matmul", _product, _product_work, TensorSpec((32,), "float16"), _HALF,
          _PLACES, _DENSE),
    _rule("_cslt_sparse_mm", "matmul", _compressed, _compressed_work, TensorSpec((32, 36), "float16"), _DENSE),
    _rule("_to_sparse_semi_structured", "other", Torch.META, no_work, TensorSpec((32, 64), "float16")),
    _rule("_cslt_compress", "other", Torch.META, no_work, TensorSpec((32, 64), "float16")),
)  # fmt: skip
