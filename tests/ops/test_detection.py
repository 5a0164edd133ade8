"""Region pooling: what boxes say, counted on real tensors; a lower bound that says so without."""

from __future__ import annotations

import pytest
import torch

from costmodel.graph import OpCall, TensorSpec
from costmodel.ops.rule import RULES
from costmodel.quantities import Work

IMAGE = TensorSpec((1, 4, 16, 16))

BOXES = ([0, 0, 12, 12], [3.4, 2.6, 9.2, 11.7], [-5, -5, 20, 30], [5, 5, 5, 5], [14, 14, 30, 30], [-6, -6, 4, 4])
"""Whole, of fractions, beyond the image, without area, and half outside, on either side."""

# How many pixels of a 16 x 16 image change each of the 2 x 2 bins, each pixel set in turn, of torchvision 0.29.2.
MAXIMA = ([49, 49, 49, 49], [20, 20, 20, 20], [104, 104, 24, 24], [1, 1, 1, 1], [4, 0, 0, 0], [0, 0, 0, 25])
MEANS = ([36, 36, 36, 36], [15, 15, 15, 15], [104, 117, 32, 36], [1, 1, 1, 1], [4, 0, 0, 0], [0, 0, 0, 16])


def rois(*boxes: list[float]) -> torch.Tensor:
    """Boxes in the first image of a batch."""
    return torch.tensor([[0, *box] for box in boxes], dtype=torch.float32)


def call(op: str, boxes: int, *, observed: dict[str, int] | None = None, **args: object) -> OpCall:
    """A call with 2 x 2 bins."""
    target = f"torchvision.{op}.default"
    bound = {
        "input": IMAGE, "rois": TensorSpec((boxes, 5)), "spatial_scale": 1.0, "pooled_height": 2, "pooled_width": 2,
        **args,
    }  # fmt: skip
    outputs = RULES[target].outputs(bound)  # type: ignore[operator]  # a function
    if observed is not None:
        bound["observed"] = observed
    return OpCall(target, bound, outputs if isinstance(outputs, tuple) else (outputs,))


def seen(op: str, *boxes: list[float], **args: object) -> dict[str, int]:
    """What a real run reads off boxes."""
    observe = RULES[f"torchvision.{op}.default"].observe
    assert observe is not None
    image = torch.zeros(IMAGE.shape)
    return observe({"input": image, "rois": rois(*boxes), "spatial_scale": 1.0, "pooled_height": 2,
                    "pooled_width": 2, **args})  # fmt: skip


@pytest.mark.parametrize(("op", "expected"), [("roi_pool", MAXIMA), ("ps_roi_pool", MEANS)])
def test_pixels_of_bins_are_those_that_torchvision_reads(op: str, expected: tuple[list[int], ...]) -> None:
    """Each box by itself, and all together."""
    for box, pixels in zip(BOXES, expected, strict=True):
        assert seen(op, box) == {"pixels": sum(pixels), "bins": sum(n > 0 for n in pixels)}
    assert seen(op, *BOXES)["pixels"] == sum(map(sum, expected))


def test_pooling_compares_or_adds_the_pixels_that_it_reads() -> None:
    """n - 1 comparisons join n pixels, in each of four channels; or n - 1 additions and a division, in one."""
    maxima = call("roi_pool", 1, observed=seen("roi_pool", BOXES[0]))
    assert RULES[maxima.op].work(maxima) == Work(compares=4 * 4 * 48)
    means = call("ps_roi_pool", 1, observed=seen("ps_roi_pool", BOXES[0]))
    assert RULES[means.op].work(means) == Work(adds=4 * 35, divides=4)


@pytest.mark.parametrize("op", ["roi_align", "ps_roi_align"])
def test_adaptive_samples_are_those_of_as_many_given_ones(op: str) -> None:
    """A 12 x 12 box in 2 x 2 bins has 6 x 6 samples a bin: the same work as with sampling_ratio=6."""
    aligned = {"aligned": False} if op == "roi_align" else {}
    adaptive = {"sampling_ratio": -1, **aligned}
    by_value = call(op, 1, observed=seen(op, BOXES[0], **adaptive), **adaptive)
    given = call(op, 1, sampling_ratio=6, **aligned)
    assert RULES[by_value.op].work(by_value) == RULES[given.op].work(given)
    assert seen(op, BOXES[0], sampling_ratio=6, **aligned) == {}


def test_samples_of_small_and_of_empty_boxes() -> None:
    """A box is taken to be a pixel wide at least; one that is moved by half a pixel may be empty, and has no sample."""
    args = {"sampling_ratio": 0}
    assert seen("roi_align", [5, 5, 5, 5], aligned=False, **args) == {"samples": 1, "boxes": 1}
    assert seen("roi_align", [5, 5, 5, 5], [0, 0, 3, 5], aligned=True, **args) == {"samples": 6, "boxes": 1}


@pytest.mark.parametrize("op", ["roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool"])
def test_without_values_the_figure_is_a_bound(op: str) -> None:
    """It says that it depends on the boxes, and is no more than what they say."""
    args = {"sampling_ratio": 0} if "align" in op else {}
    args |= {"aligned": False} if op == "roi_align" else {}
    unknown = call(op, 5, **args)
    rule = RULES[unknown.op]
    assert rule.bound_because is not None
    assert "depends on the boxes' values" in (rule.bound_because(unknown) or "")
    known = call(op, 5, observed=seen(op, *BOXES[:4], [0, 0, 9, 9], **args), **args)
    assert rule.bound_because(known) is None
    assert rule.work(unknown).flops <= rule.work(known).flops
    if "align" in op:
        assert rule.bound_because(call(op, 5, **{**args, "sampling_ratio": 2})) is None


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (3, 2, 2)])
def test_a_deformable_convolution_has_a_convolution_s_output(stride: int, padding: int, dilation: int) -> None:
    """The taps are displaced, not the positions of the output."""
    outputs = RULES["torchvision.deform_conv2d.default"].outputs
    assert callable(outputs)
    weight = TensorSpec((6, 4, 3, 5))
    bound = {"input": IMAGE, "weight": weight, "bias": None}
    for axis in ("h", "w"):
        bound |= {f"stride_{axis}": stride, f"pad_{axis}": padding, f"dilation_{axis}": dilation}
    image, filters = torch.empty(IMAGE.shape), torch.empty(weight.shape)
    real = torch.nn.functional.conv2d(image, filters, None, stride, padding, dilation)
    assert outputs(bound).shape == real.shape
