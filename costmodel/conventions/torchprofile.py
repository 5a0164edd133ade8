"""torchprofile: handlers for operators of the graph that ``torch.jit.trace`` records.

Source: torchprofile/profile.py, torchprofile/handlers.py and torchprofile/trace.py of torchprofile 0.1.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from costmodel.conventions import shapes
from costmodel.conventions.tool import Count, Counted, OpEntry, Tool, ToolFailsError, op_count
from costmodel.graph import TensorSpec, tensors_in
from costmodel.reading import Reading, ReadOp


def _outputs(per_element: int = 1) -> OpEntry:
    return OpEntry(lambda op: per_element * prod(op.outputs[0].shape), f"{per_element} an element of the output")


def _convolution(op: ReadOp) -> Counted:
    y, w = op.outputs[0].shape, op.shape("weight")
    channels = w[1] if y[1] == w[0] else w[0]
    counted = prod(y) * channels * prod(w[2:])
    if not shapes.is_transposed(op):
        return counted
    return counted, (
        "fault: each output by a whole kernel and by all channels of the input, groups or not, where a transposed "
        "convolution multiplies each input so; as many channels out as in, and it is taken for a convolution"
    )


def _matmul(op: ReadOp) -> int:
    return prod(op.outputs[0].shape) * op.shape("self")[-1]


def _baddbmm(op: ReadOp) -> int:
    added, y = op.shape("self"), op.outputs[0].shape
    if len(added) != 3 or added[1:] != y[1:]:
        raise ToolFailsError(f"baddbmm to {list(added)}: it asserts that what is added has the product's sizes")
    return shapes.baddbmm(op)


def _addmv(op: ReadOp) -> int:
    return prod(op.shape("mat"))


def _mul(op: ReadOp) -> Counted:
    elements = prod(op.outputs[0].shape)
    return elements if op.outputs[0].shape else (elements, _MUL_OF_SIZES)


def _norm(op: ReadOp) -> int:
    return prod(op.outputs[0].shape) if isinstance(op.args["weight"], TensorSpec) else 0


def _lstm(op: ReadOp) -> Counted:
    x, y, states = op.shape("input" if "input" in op.args else "data"), *(spec.shape for spec in op.outputs[:2])
    hidden = states[-1]
    directions = y[-1] // hidden
    layers = states[0] // directions
    weights = sum(4 * hidden * ((x[-1] if i == 0 else hidden * directions) + hidden) for i in range(layers))
    counted = y[0] * y[1] * directions * weights
    if len(y) == 2:
        return counted, "fault: of packed sequences the width is taken for a size of the batch"
    if counted != shapes.recurrent(op):
        return counted, "fault: a cell is taken to be as wide as its projection"
    return counted


def _einsum(op: ReadOp) -> Counted:
    equation = op.args["equation"]
    if "..." in equation:
        return 0, "fault: an einsum whose equation has an ellipsis counts 0"
    terms = equation.split("->")[0].replace(" ", "").split(",")
    sizes: dict[str, int] = {}
    for term, spec in zip(terms, tensors_in(op.args["tensors"]), strict=True):
        sizes.update(zip(term, spec.shape, strict=False))
    counted = prod(sizes.values())
    return (counted, "fault: the product of the sizes of all labels, as if by one loop") if len(terms) > 2 else counted


def _grid_sampler(op: ReadOp) -> int:
    return {1: 0, 2: 16}.get(op.args["interpolation_mode"], 4) * prod(op.outputs[0].shape)


def _attention(op: ReadOp) -> int:
    q, k, v = op.shape("query"), op.shape("key"), op.shape("value")
    if len({(x[0], prod(x[1:-2])) for x in (q, k, v)}) > 1:
        raise ToolFailsError(f"attention of {list(q)} and {list(k)}: it asserts as many heads of keys as of queries")
    return q[0] * prod(q[1:-2]) * q[-2] * k[-2] * (q[-1] + v[-1])


_PRODUCT = OpEntry(_matmul, "the product's multiply-accumulates")
_MUL_OF_SIZES = "a multiplication of one element, such as that of two sizes, is an operator of the graph: 1"
_MUL = OpEntry(_mul, "1 an element of the output")
_NORM = OpEntry(_norm, "1 an element; without weights nothing")
_POOLS = ("avg_pool1d", "avg_pool2d", "avg_pool3d")

_OPS = {
    "scaled_dot_product_attention": OpEntry(_attention, "both products, masked or not"),
    "lstm": OpEntry(_lstm, "the products' multiply-accumulates; biases are not counted"),
    "einsum": OpEntry(_einsum, "the product of the sizes of all labels"),
    "grid_sampler": OpEntry(_grid_sampler, "4 an element of the output; 16 bicubic, none of the nearest"),
    "addmm": OpEntry(shapes.addmm, "the product's multiply-accumulates"),
    "addmv": OpEntry(_addmv, "the product's multiply-accumulates"),
    "bmm": OpEntry(shapes.bmm, "the product's multiply-accumulates"),
    "baddbmm": OpEntry(_baddbmm, "the product's multiply-accumulates"),
    "linear": OpEntry(shapes.linear, "the product's multiply-accumulates; biases are not counted"),
    "matmul": _PRODUCT,
    **dict.fromkeys(("mul", "mul_", "multiply", "multiply_"), _MUL),
    "convolution": OpEntry(_convolution, "one multiply-accumulate a weight and position; biases are not counted"),
    **dict.fromkeys(("batch_norm", "instance_norm", "layer_norm", "group_norm"), _NORM),
    **dict.fromkeys((*_POOLS, *(f"adaptive_{name}" for name in _POOLS), "mean", "leaky_relu"), _outputs()),
    "upsample_bilinear2d": _outputs(4),
}
"""By the operator's name in the graph; in that, ``convolution`` has an underscore before it."""


def _counts(tool: Tool, reading: Reading) -> Iterator[Count]:
    for op in reading.kept:
        entry = tool.ops.get(op.base)
        if entry is not None:
            yield op_count(reading, op, entry)


def _not_counted(op: str) -> str:
    if op in _OPS:
        return f"the output does not depend on this {op}, and torch eliminates it from the graph: 0"
    return f"{op} has no handler: a warning names it, and it counts 0"


TORCHPROFILE = Tool(
    name="torchprofile",
    package="torchprofile",
    version="0.1.0",
    unit="MACs",
    calls_it="MACs",
    counts=_counts,
    params=None,
    not_counted=_not_counted,
    ops=_OPS,
    reads_graph=True,
    remarks=(
        "An op that the output does not depend on is eliminated from the graph, and not counted.",
        "It fails where the tracer does, and on attention with fewer heads of keys than of queries.",
    ),
)
