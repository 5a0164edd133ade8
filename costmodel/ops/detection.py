"""torchvision's own operators: region pooling, non-maximum suppression, deformable convolution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.errors import NeedsValuesError
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.rule import Outputs, Rule, always, every_argument, example, register
from costmodel.ops.sorting import sort_compares
from costmodel.ops.temporaries import contiguous
from costmodel.quantities import Work

_IMAGE = TensorSpec((2, 8, 9, 7))
_BOXES = TensorSpec((3, 5))
BILINEAR = Work(multiplies=4, adds=3)


def _kept(args: Arguments) -> Outputs:
    raise NeedsValuesError("how many boxes are kept depends on how they overlap")


def _nms_work(call: OpCall) -> Work:
    # At worst every pair is compared: the corners of the overlap (4 compares), its sides (2 adds, 2 compares) and
    # area (1 multiply), the union (2 adds), their ratio (1 divide) against the threshold (1 compare).
    n = call.args["dets"].shape[0]
    pair = Work(compares=7, adds=4, multiplies=1, divides=1)
    area = Work(adds=2, multiplies=1)
    return area.times(n) + pair.times(n * (n - 1) // 2) + Work(compares=sort_compares(n) if n else 0)


def _corners_and_order(args: Arguments) -> list[TensorSpec]:
    """Each coordinate by itself, the areas, and the order of the scores."""
    boxes = args["dets"]
    n = boxes.shape[0]
    return [*[TensorSpec((n,), boxes.dtype)] * 5, TensorSpec((n,), "int64")]


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


# -- what boxes say, by torchvision's CPU kernels: a run on real tensors reads it --------------------------------------


def _pixels_say(what: str) -> Callable[[OpCall], str | None]:
    def because(call: OpCall) -> str | None:
        if "observed" in call.args or call.args.get("sampling_ratio", 0) > 0:
            return None
        return f"how many {what} a bin of {call.op} has depends on the boxes' values; each is taken to have one"

    return because


def _observed_samples(args: Mapping[str, Any]) -> dict[str, int]:
    """Samples of one bin of each box together, and how many boxes have any."""
    if args["sampling_ratio"] > 0:
        return {}
    rois = args["rois"]
    # A box is moved by half a pixel, and may then be empty; else it is a pixel wide at least.
    aligned = args.get("aligned", True)
    corners = rois[:, 1:] * args["spatial_scale"] - (0.5 if aligned else 0)
    sides = corners[:, 2:] - corners[:, :2]
    sides = sides if aligned else sides.clamp(min=1)
    bins = rois.new_tensor([args["pooled_width"], args["pooled_height"]])
    samples = (sides / bins).ceil().clamp(min=0).long().prod(1)
    return {"samples": int(samples.sum()), "boxes": int((samples > 0).sum())}


def _samples(call: OpCall) -> tuple[int, int]:
    """Samples of one bin of each box together, and how many boxes have any."""
    if "observed" in call.args:
        return call.args["observed"]["samples"], call.args["observed"]["boxes"]
    boxes = call.args["rois"].shape[0]
    return boxes * max(call.args["sampling_ratio"], 1) ** 2, boxes


def _align_work(call: OpCall) -> Work:
    # Each bin is the mean of its samples, each one a bilinear interpolation.
    samples, boxes = _samples(call)
    of_one_bin = BILINEAR.times(samples) + Work(adds=samples - boxes, divides=call.args["rois"].shape[0])
    return of_one_bin.times(prod(call.outputs[0].shape[1:]))


def _observed_pixels(inclusive: bool) -> Callable[[Mapping[str, Any]], dict[str, int]]:
    """Pixels of all bins of one channel, and how many bins have any; a box may include its last pixel."""

    def observe(args: Mapping[str, Any]) -> dict[str, int]:
        scaled = args["rois"][:, 1:] * args["spatial_scale"]
        corners = scaled.sign() * (scaled.abs() + 0.5).floor()  # halves are rounded away from zero
        sides = (corners[:, 2:] - corners[:, :2] + inclusive).clamp(min=1)
        # Per box: the pixels of each row of bins, and of each column.
        counts = []
        for axis, bins in ((1, args["pooled_height"]), (0, args["pooled_width"])):
            n = args["input"].shape[3 - axis]
            side, first = (sides[:, axis, None] / bins), corners[:, axis, None]
            ends = scaled.new_tensor(range(bins + 1))
            start = ((ends[:-1] * side).floor() + first).clamp(0, n)
            end = ((ends[1:] * side).ceil() + first).clamp(0, n)
            counts.append((end - start).clamp(min=0).long())
        rows, columns = counts
        of_boxes = rows.sum(1) * columns.sum(1), (rows > 0).sum(1) * (columns > 0).sum(1)
        return {"pixels": int(of_boxes[0].sum()), "bins": int(of_boxes[1].sum())}

    return observe


def _pixels(call: OpCall) -> tuple[int, int]:
    """Pixels of all bins of one channel together, and how many bins have any."""
    if "observed" in call.args:
        return call.args["observed"]["pixels"], call.args["observed"]["bins"]
    n, _, height, width = call.outputs[0].shape
    return n * height * width, n * height * width


def _pool_work(call: OpCall) -> Work:
    # The maximum of n pixels takes n - 1 comparisons.
    pixels, bins = _pixels(call)
    return Work(compares=(pixels - bins) * call.outputs[0].shape[1])


def _average_work(call: OpCall) -> Work:
    # The mean of n pixels takes n - 1 additions and a division.
    pixels, bins = _pixels(call)
    return Work(adds=pixels - bins, divides=bins).times(call.outputs[0].shape[1])


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
    return Work(macs=y.size * prod(w.shape[1:]), adds=y.size) + BILINEAR.times(taps) + masked


def _deformable_kind(call: OpCall) -> str:
    return "grouped conv" if call.args["groups"] > 1 else "standard conv"


def _deformable_access(call: OpCall, output: int) -> AccessMap:
    # The offsets may point anywhere; they themselves follow the output.
    axis_maps: tuple[AxisMap, ...] = (Affine(0), All(), Affine(2), Affine(3))
    access = {"input": (Affine(0), All(), All(), All()), "offset": axis_maps}
    return {**access, "mask": axis_maps} if call.args["use_mask"] else access


_CONTIGUOUS = contiguous("input", "rois")
_ALIGN = "He et al., Mask R-CNN, arXiv:1703.06870, section 3"

register(
    Rule(targets=("torchvision.nms.default",), kind=always("other"), outputs=_kept, work=_nms_work,
         traffic=every_argument, access=everything, temporaries=_corners_and_order, fusible=False,
         source="greedy non-maximum suppression, its worst case",
         free_because=None, examples=(example(TensorSpec((4, 4)), TensorSpec((4,)), 0.5),)),
    Rule(targets=("torchvision.roi_align.default",), kind=always("pool"), outputs=_align, work=_align_work,
         traffic=every_argument, access=_region_access,
         temporaries=_CONTIGUOUS, fusible=False, source=_ALIGN, free_because=None,
         bound_because=_pixels_say("samples"), observe=_observed_samples,
         examples=(example(_IMAGE, _BOXES, 1.0, 2, 2, 2, False), example(_IMAGE, _BOXES, 0.5, 3, 2, -1, True))),
    Rule(targets=("torchvision.roi_pool.default",), kind=always("pool"), outputs=_pool, work=_pool_work,
         traffic=every_argument, access=_region_access, temporaries=_CONTIGUOUS, fusible=False, free_because=None,
         source="Girshick, Fast R-CNN, arXiv:1504.08083, section 2.1",
         bound_because=_pixels_say("pixels"), observe=_observed_pixels(inclusive=True),
         examples=(example(_IMAGE, _BOXES, 1.0, 2, 2),)),
    Rule(targets=("torchvision.ps_roi_align.default",), kind=always("pool"), outputs=_position_sensitive,
         work=_align_work, traffic=every_argument, access=_region_access,
         temporaries=_CONTIGUOUS, fusible=False, source=_ALIGN,
         bound_because=_pixels_say("samples"), observe=_observed_samples,
         free_because=None, examples=(example(_IMAGE, _BOXES, 1.0, 2, 2, 2),)),
    Rule(targets=("torchvision.ps_roi_pool.default",), kind=always("pool"), outputs=_position_sensitive,
         work=_average_work, traffic=every_argument, access=_region_access,
         temporaries=_CONTIGUOUS, fusible=False, free_because=None,
         source="Dai et al., R-FCN, arXiv:1605.06409",
         bound_because=_pixels_say("pixels"), observe=_observed_pixels(inclusive=False),
         examples=(example(_IMAGE, _BOXES, 1.0, 2, 2),)),
    Rule(targets=("torchvision.deform_conv2d.default",), kind=_deformable_kind, outputs=_deformable,
         work=_deformable_work, traffic=every_argument, access=_deformable_access,
         temporaries=contiguous("input", "weight", "offset", "mask", "bias"), fusible=False,
         source="Dai et al., Deformable Convolutional Networks, arXiv:1703.06211", free_because=None,
         examples=(
             example(_IMAGE, TensorSpec((4, 8, 3, 3)), TensorSpec((2, 18, 9, 7)), TensorSpec((2, 9, 9, 7)),
                     TensorSpec((4,)), 1, 1, 1, 1, 1, 1, 1, 1, True),
             example(_IMAGE, TensorSpec((4, 4, 3, 3)), TensorSpec((2, 18, 4, 3)), TensorSpec((2, 0, 4, 3)),
                     TensorSpec((4,)), 2, 2, 0, 0, 1, 1, 2, 1, False),
         )),
)  # fmt: skip
