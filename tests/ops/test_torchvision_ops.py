"""torchvision's own operators against torchvision: outputs, memory, and work by plain loops over numbers that count."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import costmodel
from costmodel.quantities import Work
from tests.live_memory import allocations_of, peak
from tests.ops._counting import Number, counted, largest, total, values
from tests.ops._op_database import Sample, Told

try:
    from torchvision import ops

    ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
except (ImportError, RuntimeError):
    pytest.skip("torchvision's kernels do not load beside this torch", allow_module_level=True)

OLD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 7)
IMAGE = torch.rand(2, 8, 9, 7, generator=torch.Generator().manual_seed(0))
BOXES = torch.tensor([[0, 0.6, 1, 5, 6], [1, 1, 2, 4.2, 4], [0, 2, 1.4, 6, 8]])
CORNERS = torch.tensor([[0, 0, 2, 2], [3, 0, 5, 2], [0, 3, 2, 5], [3.0, 3, 5, 5]])
SCORES = torch.tensor([0.9, 0.3, 0.5, 0.4])
WEIGHT, BIAS = torch.rand(4, 8, 3, 3), torch.rand(4)
OFFSET, MASK = torch.rand(2, 18, 9, 7) - 0.5, torch.rand(2, 9, 7, 9).transpose(2, 3)[:, :, :9].contiguous()

CALLS: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "nms": (lambda b, s: ops.nms(b, s, 0.5), (CORNERS, SCORES)),
    "batched nms": (lambda b, s, i: ops.batched_nms(b, s, i, 0.5), (CORNERS, SCORES, torch.tensor([0, 1, 0, 0]))),
    "roi_align": (lambda x, b: ops.roi_align(x, b, (2, 3), 1.0, 2, True), (IMAGE, BOXES)),
    "roi_align, adaptive": (lambda x, b: ops.roi_align(x, b, (2, 3), 0.5), (IMAGE, BOXES)),
    "roi_pool": (lambda x, b: ops.roi_pool(x, b, (2, 2)), (IMAGE, BOXES)),
    "ps_roi_align": (lambda x, b: ops.ps_roi_align(x, b, (2, 2), 1.0, 2), (IMAGE, BOXES)),
    "ps_roi_pool": (lambda x, b: ops.ps_roi_pool(x, b, (2, 2)), (IMAGE, BOXES)),
    "deform_conv2d": (lambda x, o, w, b, m: ops.deform_conv2d(x, o, w, b, padding=1, mask=m),
                      (IMAGE, OFFSET, WEIGHT, BIAS, MASK)),
    "deform_conv2d, groups, strided": (lambda x, o, w: ops.deform_conv2d(x, o, w, stride=2),
                                       (IMAGE, OFFSET[:, :, :4, :3].contiguous(), WEIGHT[:, :4].contiguous())),
    "box_iou": (ops.box_iou, (CORNERS, CORNERS[:2])),
}  # fmt: skip


def layouts(tensors: tuple[torch.Tensor, ...]) -> list[tuple[torch.Tensor, ...]]:
    """As they are; images in channels last; all in a dtype twice as wide."""
    last = tuple(t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors)
    return [tensors, last, tuple(t.double() if t.is_floating_point() else t for t in tensors)]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", CALLS)
def test_outputs_and_memory_are_those_of_torchvision(name: str) -> None:
    """Shapes, dtypes, strides and what is allocated, of a call that is exact."""
    run, tensors = CALLS[name]
    for given in layouts(tensors):
        sample = Sample.of(SimpleNamespace(op=run), SimpleNamespace(input=given[0], args=given[1:], kwargs={}))
        told = Told.of(sample)
        (outputs,), (allocated,) = allocations_of([sample.run])
        found = told.differences(outputs, peak(allocated))
        if "nms" in name and OLD:  # whose sorted scores live as long as their order
            found.pop("temporaries", None)
        assert found == {}


def work(name: str, *tensors: torch.Tensor) -> Work:
    """What a profile counts of the call."""
    model = Sample.of(
        SimpleNamespace(op=CALLS[name][0]), SimpleNamespace(input=tensors[0], args=tensors[1:], kwargs={})
    )
    profile = costmodel.profile(model.model, tensors, execution="real")
    assert profile.is_exact
    return sum((op.work for op in profile.pricing.ops), Work())


def test_suppression_compares_every_pair_at_worst() -> None:
    """Boxes without overlap are all kept: the greatest score first, then each against all that were kept."""

    def run(boxes: Any) -> list[int]:
        areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in boxes]
        order, kept = SCORES.argsort(descending=True).tolist(), []
        for i in order:
            overlaps = False
            for j in kept:
                left, top = largest([boxes[i][0], boxes[j][0]]), largest([boxes[i][1], boxes[j][1]])
                right, bottom = -largest([-boxes[i][2], -boxes[j][2]]), -largest([-boxes[i][3], -boxes[j][3]])
                width, height = (largest([Number(0, left.tally), side]) for side in (right - left, bottom - top))
                shared = width * height
                overlaps |= shared / (areas[i] + areas[j] - shared) > 0.5
            kept += [] if overlaps else [i]
        return kept

    kept, done = counted(run, CORNERS)
    assert kept == ops.nms(CORNERS, SCORES, 0.5).tolist()
    # And the scores of four are sorted, by five comparisons.
    assert work("nms", CORNERS, SCORES) == done + Work(compares=5)


def sampled(plane: list[list[Number]], y: float, x: float) -> Number:
    """Bilinear interpolation between the centres of pixels, 0 beyond them by a pixel."""
    rows, columns = len(plane), len(plane[0])
    if not (-1 < y < rows and -1 < x < columns):
        return total([plane[0][0] * 0.0 for _ in range(4)])
    low, left = math.floor(y), math.floor(x)
    corners = [
        plane[min(max(i, 0), rows - 1)][min(max(j, 0), columns - 1)]
        * ((1 - abs(y - i)) * (1 - abs(x - j)) * (0 <= i < rows) * (0 <= j < columns))
        for i in (low, low + 1)
        for j in (left, left + 1)
    ]
    return total(corners)


def means_of_samples(x: Any, channel: Callable[[int, int, int], int], channels: int, bins: tuple[int, int]) -> Any:
    """Each bin is the mean of 2 x 2 samples; a box is moved by half a pixel."""
    result = []
    for image, *corners in BOXES.tolist():
        left, top, right, bottom = (c - 0.5 for c in corners)
        height, width = (bottom - top) / bins[0], (right - left) / bins[1]
        of_box = []
        for c in range(channels):
            rows = []
            for i in range(bins[0]):
                rows.append([])
                for j in range(bins[1]):
                    plane = x[int(image)][channel(c, i, j)]
                    samples = [
                        sampled(plane, top + (i + (a + 0.5) / 2) * height, left + (j + (b + 0.5) / 2) * width)
                        for a in range(2)
                        for b in range(2)
                    ]
                    rows[-1].append(total(samples) / 4)
            of_box.append(rows)
        result.append(of_box)
    return result


def test_aligned_pooling_is_the_mean_of_samples() -> None:
    """Each sample is four products and three additions; of position-sensitive maps each bin has its own channel."""
    result, done = counted(lambda x: means_of_samples(x, lambda c, i, j: c, 8, (2, 3)), IMAGE)
    torch.testing.assert_close(values(result).float(), CALLS["roi_align"][0](IMAGE, BOXES))
    assert work("roi_align", IMAGE, BOXES) == done
    result, done = counted(lambda x: means_of_samples(x, lambda c, i, j: (c * 2 + i) * 2 + j, 2, (2, 2)), IMAGE)
    torch.testing.assert_close(values(result).float(), CALLS["ps_roi_align"][0](IMAGE, BOXES))
    assert work("ps_roi_align", IMAGE, BOXES) == done


def bins(x: Any, join: Callable[[list[Number]], Number], channel: Callable[[int, int, int], int], last: int) -> Any:
    """2 x 2 bins of whole pixels; a box may include its last one."""
    result = []
    for image, *corners in BOXES.tolist():
        left, top, right, bottom = (math.floor(c + 0.5) for c in corners)
        height, width = (max(end - start + last, 1) / 2 for start, end in ((top, bottom), (left, right)))
        of_box = []
        for c in range(8 if last else 2):
            of_box.append([])
            for i in range(2):
                of_box[-1].append([])
                for j in range(2):
                    rows = range(max(math.floor(i * height) + top, 0), min(math.ceil((i + 1) * height) + top, 9))
                    columns = range(max(math.floor(j * width) + left, 0), min(math.ceil((j + 1) * width) + left, 7))
                    plane = x[int(image)][channel(c, i, j)]
                    of_box[-1][-1].append(join([plane[a][b] for a in rows for b in columns]))
        result.append(of_box)
    return result


def test_pooling_of_whole_pixels() -> None:
    """Of n pixels the greatest by n - 1 comparisons, or their mean."""
    result, done = counted(lambda x: bins(x, largest, lambda c, i, j: c, last=1), IMAGE)
    torch.testing.assert_close(values(result).float(), CALLS["roi_pool"][0](IMAGE, BOXES))
    assert work("roi_pool", IMAGE, BOXES) == done
    mean = lambda pixels: total(pixels) / len(pixels)  # noqa: E731
    result, done = counted(lambda x: bins(x, mean, lambda c, i, j: (c * 2 + i) * 2 + j, last=0), IMAGE)
    torch.testing.assert_close(values(result).float(), CALLS["ps_roi_pool"][0](IMAGE, BOXES))
    assert work("ps_roi_pool", IMAGE, BOXES) == done


def test_deformable_convolution_samples_each_tap_once() -> None:
    """Every tap of every input channel is sampled and weighed once, for all output channels."""
    x, w = IMAGE[:1, :2], WEIGHT[:2, :2].contiguous()
    offset, mask = OFFSET[:1], MASK[:1]

    def run(images: Any, filters: Any, biases: Any, masks: Any) -> Any:
        (image,), (weighs,) = images, masks
        result = [[[None] * 7 for _ in range(9)] for _ in filters]
        for i in range(9):
            for j in range(7):
                taps = []
                for plane in image:
                    for k in range(9):
                        dy, dx = offset[0, 2 * k : 2 * k + 2, i, j].tolist()
                        taps.append(sampled(plane, i + k // 3 - 1 + dy, j + k % 3 - 1 + dx) * weighs[k][i][j])
                for f, of_filter in enumerate(filters):
                    weights = [weight for plane in of_filter for row in plane for weight in row]
                    sum_ = Number(0, taps[0].tally)
                    for tap, weight in zip(taps, weights, strict=True):
                        sum_ = sum_ + tap * weight
                    result[f][i][j] = sum_ + biases[f]
        return [result]

    result, done = counted(run, x, w, BIAS[:2], mask)
    tensors = (x, offset, w, BIAS[:2], mask)
    torch.testing.assert_close(values(result).float(), CALLS["deform_conv2d"][0](*tensors))
    told = work("deform_conv2d", *tensors)
    # A multiply-accumulate is a product and an addition.
    assert told.macs == 2 * 63 * 18
    assert done == Work(multiplies=told.multiplies + told.macs, adds=told.adds + told.macs)
