"""Which kernels torch runs below autograd on a CPU, where the trace has one op: what counters of kernels see."""

from __future__ import annotations

from collections.abc import Iterator

from costmodel.graph import TensorSpec, tensors_in
from costmodel.ops.attention import fits_fused_kernel
from costmodel.reading import Reading, ReadOp

RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})

CELLS = frozenset({"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"})


def kernels(reading: Reading) -> Iterator[ReadOp]:
    """The ops that are left when torch has taken composite ops apart, as far as the trace does, too."""
    return (leaf for op in reading.ops for leaf in op.leaves())


def is_fused_attention(op: ReadOp) -> bool:
    """Whether attention is one kernel, and not two products with a softmax between them."""
    return fits_fused_kernel(op.args)


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
