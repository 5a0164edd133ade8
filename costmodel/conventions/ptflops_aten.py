"""ptflops with its aten backend: six kernels below autograd.

Source: ptflops/aten_engine.py and ptflops/aten_ops.py of ptflops 0.7.5.
"""

from __future__ import annotations

from math import prod

from costmodel.conventions import shapes
from costmodel.conventions.kernels import (
    BY_VECTOR,
    CELLS,
    RECURRENT,
    is_by_vector,
    is_fused_attention,
    is_fused_lstm,
    kernel_counts,
    linear_adds_bias,
    recurrent_biases,
)
from costmodel.conventions.tool import Counted, OpEntry, Tool, trainable_parameters
from costmodel.graph import TensorSpec
from costmodel.reading import ReadOp


def _convolution(op: ReadOp) -> int:
    return shapes.convolution(op) + (prod(op.outputs[0].shape) if isinstance(op.args["bias"], TensorSpec) else 0)


def _linear(op: ReadOp) -> Counted:
    if is_by_vector(op):
        return 0, BY_VECTOR
    return shapes.linear(op) + (prod(op.outputs[0].shape) if linear_adds_bias(op) else 0)


def _addmm(op: ReadOp) -> int:
    return shapes.addmm(op) + prod(op.outputs[0].shape)


def _attention(op: ReadOp) -> Counted:
    if is_fused_attention(op):
        return 0, "fault: attention's fused kernel is not among the kernels that it knows, and counts 0"
    return shapes.attention(op)


def _cell(op: ReadOp) -> int:
    gates = prod(op.shape("input")[:-1]) * op.shape("w_ih")[0]
    return shapes.cell(op) + sum(gates for name in ("b_ih", "b_hh") if isinstance(op.args[name], TensorSpec))


def _recurrent(op: ReadOp) -> Counted:
    if is_fused_lstm(op):
        return 0, "fault: oneDNN's LSTM is not among the kernels that it knows, and counts 0"
    return shapes.recurrent(op) + recurrent_biases(op)


_BIAS = "the product's multiply-accumulates, and 1 an output for a bias that the same kernel adds"
_PRODUCT = "the product's multiply-accumulates"

_OPS = {
    "convolution": OpEntry(_convolution, _BIAS),
    "linear": OpEntry(_linear, _BIAS),
    "addmm": OpEntry(_addmm, _BIAS),
    "mm": OpEntry(shapes.mm, _PRODUCT),
    "bmm": OpEntry(shapes.bmm, _PRODUCT),
    "scaled_dot_product_attention": OpEntry(_attention, _PRODUCT),
    **dict.fromkeys(CELLS, OpEntry(_cell, _BIAS)),
    **dict.fromkeys(RECURRENT, OpEntry(_recurrent, _BIAS)),
}
"""By the op's name in the trace, which has a linear layer, an attention or a cell whole, and not its kernels."""


PTFLOPS_ATEN = Tool(
    name="ptflops-aten",
    package="ptflops",
    version="0.7.5",
    unit="MACs",
    calls_it="MACs",
    counts=kernel_counts,
    params=trainable_parameters,
    not_counted=lambda op: f"{op} runs none of the kernels that it knows, and counts 0",
    ops=_OPS,
    mode="eval",
    remarks=(
        "It sees kernels, so its number depends on the device: these are the CPU's.",
        "Under torch.no_grad() torch runs a whole nn.MultiheadAttention as one op, which counts 0.",
        "Under torch.inference_mode() it sees a linear layer whole, which is none of the six kernels and counts 0.",
    ),
)
