"""mmcv: each rule against a plain torch version of the same arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.ops.third_party._plain import StandIn, check, one_shape, profiled


def test_deformable_convolutions_sample_and_convolve(stand_in: StandIn) -> None:
    """Four weights and three additions a sample, one more product with a mask, and an ordinary convolution."""

    def modulated(
        ctx: Any,
        input: Any,
        offset: Any,
        mask: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        deform_groups: int = 1,
    ) -> Any:  # mmcv's signature
        raise NotImplementedError

    def deformable(
        ctx: Any,
        input: Any,
        offset: Any,
        weight: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = False,
        im2col_step: int = 32,
    ) -> Any:  # mmcv's signature
        raise NotImplementedError

    with_mask = stand_in("mmcv.ops.modulated_deform_conv", "ModulatedDeformConv2dFunction", modulated)
    without = stand_in("mmcv.ops.deform_conv", "DeformConv2dFunction", deformable)
    x, offset, mask, weight, bias = (2, 6, 8, 8), (2, 18, 4, 4), (2, 9, 4, 4), (5, 6, 3, 3), (5,)

    def plain(masked: bool) -> Callable[..., Any]:
        def call(x: Any, weight: Any, bias: Any, corners: Any) -> Any:
            # Four neighbours of each tap with a weight each, of which the sum is taken.
            sampled = (corners * corners).sum(0)
            columns = sampled * sampled if masked else sampled
            y = weight.flatten(1) @ columns
            return y + bias[:, None] if masked else y

        return call

    corners = (4, 2, 6 * 9, 16)
    p = profiled(lambda *a: with_mask.apply(*a, (2, 2), (1, 1), (1, 1), 1, 1), x, offset, mask, weight, bias)
    check(p, "mmcv.ModulatedDeformConv2dFunction.function", profiled(plain(True), x, weight, bias, corners))
    assert one_shape(p) == (2, 5, 4, 4)
    p = profiled(lambda *a: without.apply(*a, 2, 1, 1, 1, 1), x, offset, weight)
    check(p, "mmcv.DeformConv2dFunction.function", profiled(plain(False), x, weight, bias, corners))
