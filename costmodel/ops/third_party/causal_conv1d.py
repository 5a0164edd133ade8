"""causal_conv1d: a depthwise convolution over a sequence that is padded on the left, with an optional SiLU.

Source: the signatures of causal_conv1d 1.6 (``causal_conv1d_interface.py``, ``cpp_functions.py``).
"""

from __future__ import annotations

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.custom import register_op
from costmodel.ops.functions import register_function
from costmodel.ops.rule import Outputs, moved
from costmodel.quantities import Traffic, Work

_SILU = Work(transcendentals=1, adds=1, divides=1, multiplies=1)


def convolution(batch: int, channels: int, length: int, width: int, *, bias: bool, padded: bool = True) -> Work:
    """Each position is a dot product with the last ``width`` ones, of which the first positions lack some."""
    rows = batch * channels
    missing = sum(width - 1 - i for i in range(min(length, width - 1))) if padded else 0
    return Work(
        macs=rows * length * width, adds=rows * length if bias else 0, macs_on_padding=rows * missing
    )  # fmt: skip


def _work(call: OpCall, *, silu: bool, padded: bool) -> Work:
    x, weight = call.args["x"], call.args["weight"]
    length = x.shape[2] if len(x.shape) == 3 else 1
    work = convolution(
        x.shape[0], x.shape[1], length, weight.shape[-1], bias=call.args.get("bias") is not None, padded=padded
    )
    return work + _SILU.times(x.size) if silu else work


def _outputs(args: Arguments) -> Outputs:
    x = args["x"]
    y = TensorSpec(x.shape, x.dtype, x.strides)
    state = TensorSpec((*x.shape[:2], args["weight"].shape[-1] - 1), x.dtype)
    return (y, state) if args.get("return_final_states") else y


@register_function(
    "causal_conv1d.causal_conv1d_interface:CausalConv1dFn", outputs=_outputs, kind="depthwise conv"
)  # fmt: skip
def _function(call: OpCall) -> Work:
    return _work(call, silu=call.args.get("activation") is not None, padded=call.args.get("initial_states") is None)


@register_function(
    "causal_conv1d_cuda:causal_conv1d_update", kind="depthwise conv",
    outputs=lambda args: TensorSpec(args["x"].shape, args["x"].dtype),
    arguments="x conv_state weight bias silu_activation cache_seqlens conv_state_indices",
)  # fmt: skip
def _update(call: OpCall) -> Work:
    return _work(call, silu=bool(call.args["silu_activation"]), padded=False)


def _written(call: OpCall) -> Traffic:
    """Of an op that writes into an argument, ``out``."""
    read = (t for name, t in call.tensors() if name not in ("out", "final_states_out"))
    written = (call.args[name] for name in ("out", "final_states_out") if call.args.get(name) is not None)
    return moved(read, written)


@register_op("DaoAILab::_causal_conv1d_fwd_cpp", kind="depthwise conv", outputs=lambda args: (), traffic=_written)
def _op(call: OpCall) -> Work:
    return _work(call, silu=call.args["silu_activation"], padded=call.args["initial_states"] is None)


@register_op("DaoAILab::_causal_conv1d_update_cpp", kind="depthwise conv", outputs=lambda args: (), traffic=_written)
def _update_op(call: OpCall) -> Work:
    return _work(call, silu=call.args["silu_activation"], padded=False)
