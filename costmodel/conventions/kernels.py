"""Which kernels torch runs below autograd on a CPU, where the trace has one op: what counters of kernels see."""

from __future__ import annotations

from collections.abc import Iterator

from costmodel.conventions.tool import Count, Tool, op_count
from costmodel.graph import TensorSpec, tensors_in
from costmodel.ops.attention import fits_fused_kernel
from costmodel.reading import Reading, ReadOp

RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})

CELLS = frozenset({"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"})


_CONVOLUTIONS = frozenset({f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)})


def kernels(reading: Reading) -> Iterator[ReadOp]:
    """The ops that are left when torch has taken composite ops apart, as far as the trace does, too."""
    return (leaf for op in reading.ops for leaf in op.leaves())


def is_fused_attention(op: ReadOp) -> bool:
    """Whether attention is one kernel, and not two products with a softmax between them: that has no gradient of masks.

    Source: ``use_flash_attention_cpp`` in aten/src/ATen/native/transformers/sdp_utils_cpp.cpp.
    """
    return fits_fused_kernel(op.args) and "attn_mask" not in op.differentiated


def is_fused_lstm(op: ReadOp) -> bool:
    """Whether oneDNN runs a whole LSTM: one of float32 without projections, of sequences that are not packed."""
    if op.name != "aten.lstm.input":
        return False
    per_layer = sum(len(p.shape) == 2 for p in tensors_in(op.args["params"])) / (
        op.args["num_layers"] * (2 if op.args["bidirectional"] else 1)
    )
    x = op.args["input"]
    assert isinstance(x, TensorSpec)
    return per_layer == 2 and x.dtype == "float32" and x.size > 0


BY_VECTOR = "fault: a matrix by a vector is a kernel without a formula, and counts 0 without a warning"


def is_by_vector(op: ReadOp) -> bool:
    """Whether a linear layer's weight is one vector."""
    return len(op.shape("weight")) < 2


def linear_adds_bias(op: ReadOp) -> bool:
    """Whether a linear layer is a kernel that adds the bias, too, and not a product and an addition."""
    x = op.args["input"]
    assert isinstance(x, TensorSpec)
    return isinstance(op.args["bias"], TensorSpec) and (len(x.shape) == 2 or x.is_contiguous)


def recurrent_biases(op: ReadOp) -> int:
    """Outputs to which kernels add a bias in a recurrent layer that runs step by step.

    The inputs' products of all steps are one, with its bias where the input lies in order of steps; the states' are one
    for each step, with its bias.
    """
    if not op.args["has_biases"]:
        return 0
    x = op.args["input" if "input" in op.args else "data"]
    assert isinstance(x, TensorSpec)
    rows = x.size // x.shape[-1]
    biases = [p.shape[0] for p in tensors_in(op.args["params"]) if len(p.shape) == 1]
    directions = 2 if op.args["bidirectional"] else 1
    in_order = len(x.shape) == 2 or (x.is_contiguous and not (op.args.get("batch_first") and 1 not in x.shape[:2]))
    first = 0 if in_order else sum(biases[: 2 * directions : 2])
    return rows * (sum(biases) - first)


def kernel_counts(tool: Tool, reading: Reading) -> Iterator[Count]:
    """What a tool counts that sees kernels, by the op's name; convolutions of all kinds are one kernel."""
    for op in kernels(reading):
        entry = tool.ops.get("convolution" if op.base in _CONVOLUTIONS else op.base)
        if entry is not None:
            yield op_count(reading, op, entry)
