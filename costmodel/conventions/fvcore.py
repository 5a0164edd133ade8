"""fvcore's ``FlopCountAnalysis``: handles for operators of the graph that ``torch.jit.trace`` records.

Source: fvcore/nn/flop_count.py and fvcore/nn/jit_handles.py of fvcore 0.1.5.post20221221.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import floor, prod

from costmodel.conventions import shapes
from costmodel.conventions.tool import Count, Counted, OpEntry, Tool, ToolFailsError, all_parameters, op_count
from costmodel.graph import TensorSpec, tensors_in
from costmodel.reading import Reading, ReadOp

_CONVOLUTION = "one multiply-accumulate a weight and position; biases are not counted"
_PRODUCT = "the product's multiply-accumulates; biases are not counted"


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


def _of_two(count: Callable[[ReadOp], Counted]) -> Callable[[ReadOp], Counted]:
    def checked(op: ReadOp) -> Counted:
        if op.name.endswith(".out"):
            raise ToolFailsError(f"{op.base} with out=: it asserts two tensors, and takes that for a third")
        return count(op)

    return checked


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
    "convolution": OpEntry(shapes.convolution, _CONVOLUTION),
    "linear": OpEntry(lambda op: prod(op.shape("input")) * op.shape("weight")[0], _PRODUCT),
    "addmm": OpEntry(shapes.addmm, _PRODUCT),
    "mm": OpEntry(_of_two(shapes.mm), _PRODUCT),
    "bmm": OpEntry(_of_two(shapes.bmm), _PRODUCT),
    "matmul": OpEntry(_of_two(shapes.matmul), _PRODUCT),
    "einsum": OpEntry(
        _einsum,
        "fault: half of the count that numpy.einsum_path prints, which has four digits, and counts a sum as well as a "
        "product",
    ),
    "batch_norm": OpEntry(_batch_norm, "2 an element, its shift and scale; 1 without weights"),
    "group_norm": OpEntry(_norm("weight"), _NORM),
    "layer_norm": OpEntry(_norm("weight"), _NORM),
    "instance_norm": OpEntry(_norm("weight"), _NORM),
    "upsample_nearest2d": OpEntry(_upsampled(1), "1 an element of the output"),
    "upsample_bilinear2d": OpEntry(_upsampled(4), "4 an element of the output, one a neighbour"),
    "grid_sampler": OpEntry(_upsampled(4), "4 an element of the output, taken to be bilinear"),
    "adaptive_avg_pool2d": OpEntry(lambda op: prod(op.shape("self")), "1 an element of the input"),
}
"""By the operator's name in the graph; in that, ``convolution`` has an underscore before it."""


def _counts(tool: Tool, reading: Reading) -> Iterator[Count]:
    for op in reading.kept:
        entry = tool.ops.get(op.base)
        if entry is not None:
            yield op_count(reading, op, entry, "conv" if op.base == "convolution" else op.base)


def activations(reading: Reading) -> int:
    """What its ``ActivationCountAnalysis`` counts: output elements of the operators that have a handle there.

    Source: fvcore/nn/activation_count.py of the same version.
    """
    return sum(op.outputs[0].size for op in reading.kept if op.base in _ACTIVATIONS)


_ACTIVATIONS = frozenset({"convolution", "addmm", "bmm", "einsum", "matmul", "linear"})


def _not_counted(op: str) -> str:
    if op in _OPS:
        return f"the output does not depend on this {op}, and torch eliminates it from the graph: 0"
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
    reads_graph=True,
    remarks=_REMARKS,
)
