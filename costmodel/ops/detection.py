"""torchvision's own operators: region pooling, non-maximum suppression, deformable convolution."""

from __future__ import annotations

from math import prod

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.errors import NeedsValuesError
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.rule import Outputs, Rule, always, every_argument, example, no_temporaries, register
from costmodel.ops.sorting import sort_compares
from costmodel.quantities import Work

_IMAGE = TensorSpec((2, 8, 9, 7))
_BOXES = TensorSpec((3, 5))
_BILINEAR = Work(multiplies=4, adds=3)


def _kept(args: Arguments) -> Outputs:
    raise NeedsValuesError("how many boxes are kept depends on how they overlap")


def _nms_work(call: OpCall) -> Work:
    # At worst every pair is compared: the corners of the overlap (4 compares), its sides (2 adds, 2 compares) and
    # area (1 multiply), the union (2 adds), their ratio (1 divide) against the threshold (1 compare).
    n = call.args["dets"].shape[0]
    pair = Work(compares=7, adds=4, multiplies=1, divides=1)
    area = Work(adds=2, multiplies=1)
    return area.times(n) + pair.times(n * (n - 1) // 2) + Work(compares=sort_compares(n) if n else 0)


def _regions(args: Arguments) -> tuple[int, int, int, int]:
    x = args["input"]
    return args["rois"].shape[0], x.shape[1], args["pooled_height"], args["pooled_width"]


def _align(args: Arguments) -> TensorSpec:
    return TensorSpec(_regions(args), args["input"].dtype)


def _pool(args: Arguments) -> Outputs:
    shape = _regions(args)
    return TensorSpec(shape, args["input"].dtype), TensorSpec(shape, "int32")


def _position_sensitive(args: Arguments) -> Outputs:
    n, channels, height, width = _regions(args)
    if channels % (height * width):
        raise ValueError(f"{channels} channels are not a multiple of the {height} x {width} bins")
    shape = (n, channels // (height * width), height, width)
    return TensorSpec(shape, args["input"].dtype), TensorSpec(shape, "int32")


def _samples(call: OpCall) -> int:
    # With sampling_ratio <= 0 a bin has as many samples per side as its box has pixels per bin. That depends on values;
    # one is the least.
    side: int = max(call.args["sampling_ratio"], 1)
    return side * side


def _align_work(call: OpCall) -> Work:
    # Each bin is the mean of its samples, each one a bilinear interpolation.
    n = _samples(call)
    return (_BILINEAR.times(n) + Work(adds=n - 1, divides=1)).times(call.outputs[0].size)


def _pool_work(call: OpCall) -> Work:
    # A bin covers at least one pixel; how many more stands in the boxes: each output compares at least once.
    return Work(compares=call.outputs[0].size)


def _average_work(call: OpCall) -> Work:
    return Work(adds=call.outputs[0].size, divides=call.outputs[0].size)


def _region_access(call: OpCall, output: int) -> AccessMap:
    # Which image, and where in it, stands in the box.
    channel = Affine(1) if call.outputs[0].shape[1] == call.args["input"].shape[1] else All()
    return {"input": (All(), channel, All(), All()), "rois": (Affine(0), All())}


def _deformable(args: Arguments) -> TensorSpec:
    x, w = args["input"], args["weight"]
    axes = zip(
        x.shape[2:], w.shape[2:], (args["stride_h"], args["stride_w"]), (args["pad_h"], args["pad_w"]),
        (args["dilation_h"], args["dilation_w"]), strict=True,
    )  # fmt: skip
    return TensorSpec(
        (x.shape[0], w.shape[0], *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)), x.dtype
    )


def _deformable_work(call: OpCall) -> Work:
    x, w = call.args["input"], call.args["weight"]
    (y,) = call.outputs
    # One bilinear sample for every tap of every input channel at every position, then an ordinary convolution.
    taps = x.shape[0] * x.shape[1] * prod(w.shape[2:]) * prod(y.shape[2:])
    masked = Work(multiplies=taps) if call.args["use_mask"] else Work()
    return Work(macs=y.size * prod(w.shape[1:]), adds=y.size) + _BILINEAR.times(taps) + masked


def _deformable_kind(call: OpCall) -> str:
    return "grouped conv" if call.args["groups"] > 1 else "standard conv"


def _deformable_access(call: OpCall, output: int) -> AccessMap:
    # The offsets may point anywhere; they themselves follow the output.
    axis_maps: tuple[AxisMap, ...] = (Affine(0), All(), Affine(2), Affine(3))
    access = {"input": (Affine(0), All(), All(), All()), "offset": axis_maps}
    return {**access, "mask": axis_maps} if call.args["use_mask"] else access


_ALIGN = "He et al., Mask R-CNN, arXiv:1703.06870, section 3"

register(
    Rule(targets=("torchvision.nms.default",), kind=always("other"), outputs=_kept, work=_nms_work,
         traffic=every_argument, access=everything, temporaries=no_temporaries, fusible=False,
         source="greedy non-maximum suppression, its worst case",
         free_because=None, examples=(example(TensorSpec((4, 4)), TensorSpec((4,)), 0.5),)),
    Rule(targets=("torchvision.roi_align.default",), kind=always("pool"), outputs=_align, work=_align_work,
         traffic=every_argument, access=_region_access,
         temporaries=no_temporaries, fusible=False, source=_ALIGN, free_because=None,
         examples=(example(_IMAGE, _BOXES, 1.0, 2, 2, 2, False), example(_IMAGE, _BOXES, 0.5, 3, 2, -1, True))),
    Rule(targets=("torchvision.roi_pool.default",), kind=always("pool"), outputs=_pool, work=_pool_work,
         traffic=every_argument, access=_region_access, temporaries=no_temporaries, fusible=False, free_because=None,
         source="Girshick, Fast R-CNN, arXiv:1504.08083, section 2.1; a lower bound, boxes tell the bins' sizes",
         examples=(example(_IMAGE, _BOXES, 1.0, 2, 2),)),
    Rule(targets=("torchvision.ps_roi_align.default",), kind=always("pool"), outputs=_position_sensitive,
         work=_align_work, traffic=every_argument, access=_region_access,
         temporaries=no_temporaries, fusible=False, source=_ALIGN,
         free_because=None, examples=(example(_IMAGE, _BOXES, 1.0, 2, 2, 2),)),
    Rule(targets=("torchvision.ps_roi_pool.default",), kind=always("pool"), outputs=_position_sensitive,
         work=_average_work, traffic=every_argument, access=_region_access,
         temporaries=no_temporaries, fusible=False, free_because=None,
         source="Dai et al., R-FCN, arXiv:1605.06409; a lower bound, boxes tell the bins' sizes",
         examples=(example(_IMAGE, _BOXES, 1.0, 2, 2),)),
    Rule(targets=("torchvision.deform_conv2d.default",), kind=_deformable_kind, outputs=_deformable,
         work=_deformable_work, traffic=every_argument, access=_deformable_access,
         temporaries=no_temporaries, fusible=False,
         source="Dai et al., Deformable Convolutional Networks, arXiv:1703.06211", free_because=None,
         examples=(
             example(_IMAGE, TensorSpec((4, 8, 3, 3)), TensorSpec((2, 18, 9, 7)), TensorSpec((2, 9, 9, 7)),
                     TensorSpec((4,)), 1, 1, 1, 1, 1, 1, 1, 1, True),
             example(_IMAGE, TensorSpec((4, 4, 3, 3)), TensorSpec((2, 18, 4, 3)), TensorSpec((2, 0, 4, 3)),
                     TensorSpec((4,)), 2, 2, 0, 0, 1, 1, 2, 1, False),
         )),
)  # fmt: skip
