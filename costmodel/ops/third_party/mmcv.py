"""mmcv: deformable convolutions, with and without a mask. Source: the signatures of mmcv 2.2 (``mmcv/ops``)."""

from __future__ import annotations

from math import prod

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.detection import BILINEAR
from costmodel.ops.functions import register_function
from costmodel.quantities import Work


def _pair(value: object) -> tuple[int, int]:
    if isinstance(value, (list, tuple)):
        first, second = value if len(value) == 2 else (value[0], value[0])
        return int(first), int(second)
    assert isinstance(value, int)
    return value, value


def _outputs(args: Arguments) -> TensorSpec:
    x, w = args["input"], args["weight"]
    stride, padding, dilation = (_pair(args[name]) for name in ("stride", "padding", "dilation"))
    size = [(x.shape[2 + d] + 2 * padding[d] - dilation[d] * (w.shape[2 + d] - 1) - 1) // stride[d] + 1 for d in (0, 1)]
    return TensorSpec((x.shape[0], w.shape[0], *size), x.dtype)


def _kind(call: OpCall) -> str:
    return "grouped conv" if call.args["groups"] > 1 else "standard conv"


def _work(call: OpCall, *, is_masked: bool) -> Work:
    # A bilinear sample for every tap of every input channel at every position, then an ordinary convolution.
    x, w = call.args["input"], call.args["weight"]
    (y,) = call.outputs
    taps = x.shape[0] * x.shape[1] * prod(w.shape[2:]) * prod(y.shape[2:])
    bias = isinstance(call.args.get("bias"), TensorSpec)
    samples = BILINEAR + Work(multiplies=1) if is_masked else BILINEAR
    return Work(macs=y.size * prod(w.shape[1:]), adds=y.size if bias else 0) + samples.times(taps)


@register_function("mmcv.ops.modulated_deform_conv:ModulatedDeformConv2dFunction", outputs=_outputs, kind=_kind)
def _modulated(call: OpCall) -> Work:
    return _work(call, is_masked=True)


@register_function("mmcv.ops.deform_conv:DeformConv2dFunction", outputs=_outputs, kind=_kind)
def _deformable(call: OpCall) -> Work:
    return _work(call, is_masked=False)
