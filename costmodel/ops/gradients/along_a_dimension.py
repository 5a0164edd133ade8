"""Gradients of the softmax family, of dropout, of overlapping windows and of segments."""

from __future__ import annotations

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything
from costmodel.ops.elementwise import each, elementwise
from costmodel.ops.rule import Rule, always, every_argument, example, register
from costmodel.ops.temporaries import contiguous
from costmodel.quantities import Work

_X = TensorSpec((2, 3, 4))


def _scaled(args: Arguments) -> TensorSpec:
    scaled = [args["grad_output"], args["scale"]]
    return layout.elementwise(args, layout.result_dtype(scaled))


def _softmax(args: Arguments) -> TensorSpec:
    y = args["output"]
    dtype = args["input_dtype"]
    return TensorSpec(y.shape, dtype if isinstance(dtype, str) else y.dtype)


def _softmax_work(call: OpCall) -> Work:
    # y (g - sum(g y)) along each row.
    y = call.outputs[0]
    n = y.shape[call.args["dim"]] if y.shape else 1
    rows = y.size // n if n else 0
    return Work(multiplies=2 * n, adds=n - 1 + n).times(rows) if rows else Work()


def _log_softmax_work(call: OpCall) -> Work:
    # g - exp(y) sum(g) along each row.
    y = call.outputs[0]
    n = y.shape[call.args["dim"]] if y.shape else 1
    rows = y.size // n if n else 0
    return Work(transcendentals=n, multiplies=n, adds=n - 1 + n).times(rows) if rows else Work()


def _along_dim(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["output"].shape)
    mixed = call.args["dim"] % rank if rank else 0
    seen: tuple[AxisMap, ...] = tuple(All() if d == mixed else Affine(d) for d in range(rank))
    return {"grad_output": seen, "output": seen}


def _windows(args: Arguments) -> TensorSpec:
    return TensorSpec(tuple(args["input_sizes"]), args["grad_in"].dtype)


def _positions(args: Arguments) -> list[TensorSpec]:
    """The positions along the dimension that windows reach, where windows overlap."""
    n = args["grad_in"].shape[args["dim"]]
    if args["step"] >= args["size"]:
        return []
    return [TensorSpec(((n - 1) * args["step"] + args["size"],), "int64")] if n else []


def _windows_work(call: OpCall) -> Work:
    # Windows that do not overlap are copied to where they were.
    return Work(adds=call.args["grad_in"].size) if call.args["step"] < call.args["size"] else Work()


def _segments(args: Arguments) -> TensorSpec:
    return TensorSpec(args["data"].shape, args["grad"].dtype)


def _segments_work(call: OpCall) -> Work:
    # A sum's gradient is copied to each element; a mean's is divided first. A product's is multiplied by the product,
    # over each element that is not 0. An extreme's goes to the elements that equal it.
    results, elements, reduce = call.args["output"].size, call.args["data"].size, call.args["reduce"]
    if reduce == "mean":
        return Work(divides=results)
    if reduce == "prod":
        return Work(multiplies=results, compares=elements, divides=elements)
    return Work(compares=elements) if reduce in ("max", "min") else Work()


def _segments_temporaries(args: Arguments) -> list[TensorSpec]:
    names = ("grad", "output", "data", "lengths", "offsets")
    return list(contiguous(*(name for name in names if args[name] is not None))(args))


register(
    *(
        Rule(
            targets=(f"aten._{name}_backward_data.default",), kind=always("activation"), outputs=_softmax, work=work,
            traffic=every_argument, access=_along_dim, temporaries=contiguous("grad_output", "output"), fusible=False,
            source=source, free_because=None, examples=(example(_X, _X, 1, "float32"),),
        )
        for name, work, source in (
            ("softmax", _softmax_work, "y (g - sum(g y))"),
            ("log_softmax", _log_softmax_work, "g - exp(y) sum(g)"),
        )
    ),
    elementwise(
        "aten.native_dropout_backward.default", work=each(multiplies=2), kind="other",
        outputs=_scaled,
        examples=(example(_X, TensorSpec((2, 3, 4), "bool"), 2.0),),
        source="Srivastava et al., Dropout, JMLR 15 (2014): times the mask, times 1 / (1 - p)",
    ),
    Rule(
        targets=("aten.unfold_backward.default",), kind=always("other"), outputs=_windows, work=_windows_work,
        traffic=every_argument, access=everything, temporaries=_positions, fusible=False,
        source="where windows overlap, each element is added to what is there", free_because=None,
        examples=(
            example(TensorSpec((2, 3, 3)), [2, 7], 1, 3, 2),
            example(TensorSpec((2, 3, 2)), [2, 8], 1, 2, 3),
        ),
    ),
    Rule(
        targets=("aten._segment_reduce_backward.default",), kind=always("other"), outputs=_segments,
        work=_segments_work, traffic=every_argument, access=everything, temporaries=_segments_temporaries,
        fusible=False, source="torch.segment_reduce: the derivative in each segment", free_because=None,
        examples=tuple(
            example(TensorSpec((2, 3)), TensorSpec((2, 3)), TensorSpec((0, 3)), reduce,
                    lengths=TensorSpec((2,), "int64"))
            for reduce in ("sum", "mean", "prod", "max", "min")
        ),
    ),
)  # fmt: skip
