"""torch's ``FlopCounterMode``: formulas for kernels below autograd, after torch has taken composite ops apart.

Source: torch/utils/flop_counter.py of the versions of torch in ``_READ``. As it is a part of torch, this counts as the
installed torch does.
"""

from __future__ import annotations

from collections.abc import Callable
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
)
from costmodel.conventions.tool import Counted, OpEntry, Tool
from costmodel.machine import torch_release, torch_version
from costmodel.reading import ReadOp


def _twice(count: Callable[[ReadOp], int]) -> Callable[[ReadOp], int]:
    return lambda op: 2 * count(op)


def _linear(op: ReadOp) -> Counted:
    return (0, BY_VECTOR) if is_by_vector(op) else 2 * shapes.linear(op)


def _attention(op: ReadOp) -> Counted:
    return _fused(2 * shapes.attention(op)) if is_fused_attention(op) else 2 * shapes.attention(op)


def _attention_backward(op: ReadOp) -> Counted:
    q, k, v = op.shape("query"), op.shape("key"), op.shape("value")
    return _fused(2 * prod(q[:-1]) * k[-2] * (3 * q[-1] + 2 * v[-1]))


def _fused(count: int) -> Counted:
    if torch_release() > _WITHOUT_ATTENTION:
        return count
    return 0, "fault: the CPU's fused kernel has no formula before torch 2.15, and counts 0 without a warning"


def _lstm(op: ReadOp) -> Counted:
    if is_fused_lstm(op):
        return 0, "fault: oneDNN's kernel has no formula, and counts 0 without a warning"
    return 2 * shapes.recurrent(op)


_WITHOUT_ATTENTION = (2, 13)
"""The last release that was read in which attention's fused kernel of the CPU has no formula; 2.15 has one."""

_READ = ("2.6.0", "2.13.0", "2.15.0")
"""The versions of torch whose source was read."""


def _convolution_backward(op: ReadOp) -> Counted:
    dy, x, w = op.shape("grad_output"), op.shape("input"), op.shape("weight")
    transposed, groups = op.args["transposed"], op.args["groups"]
    of_input, of_weight, _ = op.args["output_mask"]
    total = 0
    if of_input:
        total += 2 * dy[0] * prod(w) * prod((x if transposed else dy)[2:])
    if of_weight:
        total += 2 * prod(w[2:]) * (prod(x) * dy[1] if transposed else prod(dy) * x[1])
    if of_weight and groups > 1:
        return total, f"fault: {_GRADIENTS}; that of the weight as if there was one group and not {groups}"
    return total, _GRADIENTS


_GRADIENTS = "2 a multiply-accumulate of the gradients that are computed: of the input and of the weight"
_PRODUCT = "2 a multiply-accumulate; biases are not counted"

_ATTENTION = f"{_PRODUCT}, of both products, masked or not"

_OPS = {
    "convolution": OpEntry(_twice(shapes.convolution), _PRODUCT),
    "convolution_backward": OpEntry(_convolution_backward, _GRADIENTS),
    "linear": OpEntry(_linear, _PRODUCT),
    "addmm": OpEntry(_twice(shapes.addmm), _PRODUCT),
    "mm": OpEntry(_twice(shapes.mm), _PRODUCT),
    "bmm": OpEntry(_twice(shapes.bmm), _PRODUCT),
    "baddbmm": OpEntry(_twice(shapes.baddbmm), _PRODUCT),
    "scaled_dot_product_attention": OpEntry(_attention, _ATTENTION),
    "_scaled_dot_product_flash_attention_for_cpu": OpEntry(lambda op: _fused(2 * shapes.attention(op)), _ATTENTION),
    "_scaled_dot_product_flash_attention_for_cpu_backward": OpEntry(
        _attention_backward, "2 a multiply-accumulate of five products, as the scores are computed once more"
    ),
    "lstm": OpEntry(_lstm, _PRODUCT),
    **dict.fromkeys(RECURRENT - {"lstm"}, OpEntry(_twice(shapes.recurrent), _PRODUCT)),
    **dict.fromkeys(CELLS, OpEntry(_twice(shapes.cell), _PRODUCT)),
}
"""By the op's name in the trace, which has a linear layer, an attention or a cell whole, and not its products."""


FLOP_COUNTER = Tool(
    name="FlopCounterMode",
    package="torch",
    version=torch_version() or _READ[-1],
    unit="FLOPs",
    calls_it="FLOPs",
    counts=kernel_counts,
    params=None,
    not_counted=lambda op: f"fault: {op} runs no kernel that has a formula, and counts 0 without a warning",
    ops=_OPS,
    around="torch.utils.module_tracker.ModuleTracker",
    remarks=(
        "It fails where a forward calls torch.autograd.grad, and a module was given a leaf that requires a gradient.",
        f"It is a part of torch, and counts as the installed torch does; its source was read of {', '.join(_READ)}.",
        "It sees kernels, so its number depends on the device: these are the CPU's. cuDNN's recurrent layers count 0.",
        "Under torch.no_grad() torch runs a whole nn.MultiheadAttention as one op, which counts 0.",
    ),
)
