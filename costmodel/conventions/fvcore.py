"""fvcore's ``FlopCountAnalysis``: handles for operators of the graph that ``torch.jit.trace`` records.

Source: fvcore/nn/flop_count.py and fvcore/nn/jit_handles.py of fvcore 0.1.5.post20221221.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import floor, prod

from costmodel.conventions import shapes
from costmodel.conventions.tool import Count, Counted, OpEntry, Tool, ToolFailsError, all_parameters, op_count
from costmodel.graph import TensorSpec, tensors_in
from costmodel.reading import Reading, ReadOp

_CONVOLUTION = "one multiply-accumulate a weight and position; biases are not counted"
_PRODUCT = "the product's multiply-accumulates; biases are not counted"
_CELL = "torch's tracer takes a cell apart into two linear layers, which have a handle"


def _einsum(op: ReadOp) -> Counted:
    """Two equations as products of a batch; of any other half of what ``numpy.einsum_path`` prints, rounded."""
    equation = op.args["equation"].replace(" ", "")
    sizes = [spec.shape for spec in tensors_in(op.args["tensors"])]
    letters = dict.fromkeys(letter for letter in equation if letter.isalpha())
    renamed = equation.translate({ord(letter): 97 + i for i, letter in enumerate(letters)})
    if renamed == "abc,abd->acd":
        return prod(sizes[0]) * sizes[-1][-1]
    if renamed == "abc,adc->adb":
        return prod(sizes[0]) * sizes[-1][1]
    return floor(einsum_path_flops(renamed, sizes) / 2)


def einsum_path_flops(equation: str, sizes: Sequence[tuple[int, ...]]) -> float:
    """The operations that ``numpy.einsum_path`` prints for the best order, in four digits."""
    import numpy as np

    operands = [np.broadcast_to(np.zeros(()), size) for size in sizes]
    printed = np.einsum_path(equation.replace(" ", ""), *operands, optimize="optimal")[1]
    line = next(line for line in printed.split("\n") if "optimized flop" in line.lower())
    return float(line.split(":")[-1])


def _norm(affine: str) -> Callable[[ReadOp], int]:
    def count(op: ReadOp) -> int:
        x = op.shape("input")
        if not 2 <= len(x) <= 5:
            raise ToolFailsError(f"{op.base} of {list(x)}: it asserts two to five dimensions")
        return prod(x) * (5 if isinstance(op.args[affine], TensorSpec) else 4)

    return count


def _batch_norm(op: ReadOp) -> Counted:
    if op.args["training"]:
        return _norm("weight")(op), _NORM
    return prod(op.shape("input")) * (2 if isinstance(op.args["weight"], TensorSpec) else 1)


def _upsampled(per_element: int) -> Callable[[ReadOp], int]:
    return lambda op: per_element * prod(op.outputs[0].shape)


_NORM = "5 an element of the input, 4 without weights: an estimate for its mean, variance, shift and scale"

_OPS = {
    "_convolution": OpEntry(shapes.convolution, _CONVOLUTION),
    "linear": OpEntry(shapes.linear, _PRODUCT),
    "addmm": OpEntry(shapes.addmm, _PRODUCT),
    "mm": OpEntry(shapes.mm, _PRODUCT),
    "bmm": OpEntry(shapes.bmm, _PRODUCT),
    "matmul": OpEntry(shapes.matmul, _PRODUCT),
    "einsum": OpEntry(
        _einsum,
        "fault: half of the count that numpy.einsum_path prints, which has four digits, and counts a sum as well as a "
        "product",
    ),
    "gru_cell": OpEntry(shapes.cell, _CELL),
    "lstm_cell": OpEntry(shapes.cell, _CELL),
    "rnn_tanh_cell": OpEntry(shapes.cell, _CELL),
    "rnn_relu_cell": OpEntry(shapes.cell, _CELL),
    "batch_norm": OpEntry(_batch_norm, "2 an element, its shift and scale; 1 without weights"),
    "group_norm": OpEntry(_norm("weight"), _NORM),
    "layer_norm": OpEntry(_norm("weight"), _NORM),
    "instance_norm": OpEntry(_norm("weight"), _NORM),
    "upsample_nearest2d": OpEntry(_upsampled(1), "1 an element of the output"),
    "upsample_bilinear2d": OpEntry(_upsampled(4), "4 an element of the output, one a neighbour"),
    "grid_sampler": OpEntry(_upsampled(4), "4 an element of the output, taken to be bilinear"),
    "adaptive_avg_pool2d": OpEntry(lambda op: prod(op.shape("self")), "1 an element of the input"),
}
"""By the operator's name in the graph."""

_CONVOLUTIONS = frozenset({
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution",
})  # fmt: skip


def _kind(op: ReadOp) -> str:
    """What the tracer calls an op: it takes convolutions apart into one, unless their padding is a text."""
    if op.base in _CONVOLUTIONS:
        return "_convolution_mode" if op.name.endswith(".padding") else "_convolution"
    return op.base


def _counts(tool: Tool, reading: Reading) -> Iterator[Count]:
    for op in _alive(reading):
        entry = tool.ops.get(_kind(op))
        if entry is not None:
            name = "conv" if _kind(op) == "_convolution" else op.base
            yield op_count(reading, op, entry, name)


def _alive(reading: Reading) -> list[ReadOp]:
    """The ops that the model's output depends on: torch eliminates all others from the graph."""
    needed: set[int] = set()
    storages: set[int] = set()

    def need(specs: Iterable[TensorSpec]) -> None:
        for spec in specs:
            needed.add(id(spec))
            storages.add(spec.storage)

    need(tensors_in(reading.graph.outputs))
    alive = []
    for op in reversed(reading.ops):
        if any(id(spec) in needed or (op.inplace and spec.storage in storages) for spec in op.outputs):
            alive.append(op)
            need(tensors_in(op.args))
    return alive[::-1]


def _not_counted(op: str) -> str:
    if op == "_convolution_mode" or op.endswith("padding"):
        return "padding given as a text makes the graph's operator _convolution_mode, which has no handle: 0"
    return f"{op} has no handle: it is named in a warning, and counts 0"


_REMARKS = (
    "An op that the output does not depend on is eliminated from the graph, and not counted.",
    "Under torch.no_grad() torch runs a whole nn.MultiheadAttention as one op, which has no handle.",
    "It fails on norms of other than two to five dimensions, on products with a vector, and where the tracer does.",
)

FVCORE = Tool(
    name="fvcore",
    package="fvcore",
    version="0.1.5.post20221221",
    unit="MACs",
    calls_it="flops",
    counts=_counts,
    params=all_parameters,
    not_counted=_not_counted,
    ops=_OPS,
    remarks=_REMARKS,
)
