"""Gradients of pooling, resizing and padding: definitions as loops over numbers that count; results are torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from costmodel.quantities import Work
from tests.ops._asking import traffic, work


def additions(forward: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> int:
    """Pairs of an output and an input that it depends on: each is an addition in the gradient."""
    jacobian = torch.autograd.functional.jacobian(forward, x.double())
    return int((jacobian != 0).sum())


@pytest.mark.parametrize("padding", [0, 1])
def test_average_pooling(padding: int) -> None:
    """Each gradient is divided once, and added to every element of its window that is no padding."""
    x = torch.rand(1, 2, 5, 6)
    g = F.avg_pool2d(x, 3, 2, padding)
    done = work(
        "aten.avg_pool2d_backward.default", grad_output=g, self=x, kernel_size=[3, 3], stride=[2, 2],
        padding=[padding] * 2, ceil_mode=False, count_include_pad=True, divisor_override=None,
    )  # fmt: skip
    assert done == Work(divides=g.numel(), adds=additions(lambda t: F.avg_pool2d(t, 3, 2, padding), x))
    volume = torch.rand(1, 1, 4, 4, 4)
    g = F.avg_pool3d(volume, 2)
    done = work(
        "aten.avg_pool3d_backward.default", grad_output=g, self=volume, kernel_size=[2] * 3, stride=[2] * 3,
        padding=[0] * 3, ceil_mode=False, count_include_pad=True, divisor_override=None,
    )  # fmt: skip
    assert done == Work(divides=8, adds=64)


def test_adaptive_average_pooling() -> None:
    """Windows of adaptive pooling overlap."""
    x = torch.rand(1, 2, 5, 7)
    g = F.adaptive_avg_pool2d(x, (3, 4))
    expected = Work(divides=24, adds=additions(lambda t: F.adaptive_avg_pool2d(t, (3, 4)), x))
    assert work("aten._adaptive_avg_pool2d_backward.default", grad_output=g, self=x) == expected
    volume = torch.rand(1, 1, 4, 4, 4)
    g = F.adaptive_avg_pool3d(volume, 2)
    done = work("aten._adaptive_avg_pool3d_backward.default", grad_output=g, self=volume)
    assert done == Work(divides=8, adds=64)


@pytest.mark.parametrize("axes", [2, 3])
def test_maximum_pooling(axes: int) -> None:
    """Each gradient is added where the maximum was, of every kind of window; the input's values are not read."""
    x = torch.rand(1, 2, *(4,) * axes)
    two, one, no = [2] * axes, [1] * axes, [0] * axes
    y, where = getattr(F, f"max_pool{axes}d")(x, 2, return_indices=True)
    plain = {"grad_output": y, "self": x, "kernel_size": two, "stride": two, "padding": no, "dilation": one,
             "ceil_mode": False, "indices": where}  # fmt: skip
    calls: dict[str, dict[str, Any]] = {
        f"max_pool{axes}d_with_indices": plain,
        f"adaptive_max_pool{axes}d": {"grad_output": y, "self": x, "indices": where},
        f"fractional_max_pool{axes}d": {
            "grad_output": y, "self": x, "kernel_size": two, "output_size": two, "indices": where
        },
    }  # fmt: skip
    for name, arguments in calls.items():
        assert work(f"aten.{name}_backward.default", **arguments) == Work(adds=2 * 2**axes)
        moved = traffic(f"aten.{name}_backward.default", **arguments)
        assert (moved.read, moved.written) == (2 * 2 * 2**axes, 2 * 4**axes)


_UPSAMPLING: dict[str, tuple[int, str, dict[str, Any]]] = {
    "upsample_nearest1d": (1, "nearest", {}), "upsample_nearest2d": (2, "nearest", {}),
    "upsample_nearest3d": (3, "nearest", {}), "_upsample_nearest_exact1d": (1, "nearest-exact", {}),
    "_upsample_nearest_exact2d": (2, "nearest-exact", {}), "_upsample_nearest_exact3d": (3, "nearest-exact", {}),
    "upsample_linear1d": (1, "linear", {"align_corners": True}),
    "upsample_bilinear2d": (2, "bilinear", {"align_corners": True}),
    "upsample_trilinear3d": (3, "trilinear", {"align_corners": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", _UPSAMPLING)
def test_upsampling(name: str) -> None:
    """Each gradient is given to 2^d neighbours with their weights, or to the nearest as it is."""
    axes, mode, corners = _UPSAMPLING[name]
    x = torch.rand(1, 2, *(3,) * axes)
    g = F.interpolate(x, size=[5] * axes, mode=mode, **corners)
    taps = 1 if "nearest" in mode else 2**axes
    arguments = {"grad_output": g, "output_size": [5] * axes, "input_size": list(x.shape), **corners}
    expected = Work(adds=taps, multiplies=taps if taps > 1 else 0).times(g.numel())
    assert work(f"aten.{name}_backward.default", **arguments) == expected


def test_cubic_and_antialiased_resizing() -> None:
    """Sixteen neighbours; shrunk to a third, a window reaches three pixels to each side of its centre, or six."""
    x = torch.rand(1, 1, 4, 4)
    g = F.interpolate(x, size=[8, 8], mode="bicubic")
    arguments: dict[str, Any] = {"grad_output": g, "output_size": [8, 8], "input_size": [1, 1, 4, 4]}
    assert work("aten.upsample_bicubic2d_backward.default", **arguments, align_corners=False) == Work(
        adds=16 * 64, multiplies=16 * 64
    )
    x = torch.rand(1, 1, 11, 11)
    for mode in ("bilinear", "bicubic"):
        resize = lambda t, mode=mode: F.interpolate(t, size=[4, 4], mode=mode, antialias=True)  # noqa: E731
        taps = additions(resize, x)
        done = work(
            f"aten._upsample_{mode}2d_aa_backward.default", grad_output=resize(x), output_size=[4, 4],
            input_size=[1, 1, 11, 11], align_corners=False,
        )  # fmt: skip
        assert done == Work(adds=taps, multiplies=taps)


@pytest.mark.parametrize("mode", ["reflection", "replication"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_padding(mode: str, axes: int) -> None:
    """Each gradient is added to the element that it was copied from."""
    x, sides = torch.rand(1, 2, *(3,) * axes), [1] * (2 * axes)
    g = F.pad(x, sides, "reflect" if mode == "reflection" else "replicate")
    name = f"aten.{mode}_pad{axes}d_backward.default"
    assert work(name, grad_output=g, self=x, padding=sides) == Work(adds=2 * 5**axes)
    assert traffic(name, grad_output=g, self=x, padding=sides).read == g.numel()


# Losses ----------------------------------------------------------------------------------------------------------
