"""Gradients of sampling an image at positions that are data: of the image and of the positions."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import warping
from costmodel.ops.access import everything
from costmodel.ops.rule import Gradients, Rule, always, every_argument, example, no_temporaries, register
from costmodel.ops.temporaries import contiguous
from costmodel.quantities import Work

_CUBIC_SLOPES = Work(multiplies=2, adds=1).times(2) + Work(multiplies=2, adds=2).times(2)
"""The derivatives of the four weights of one axis: of the inner taps (3 (A + 2) t - 2 (A + 3)) t, of the outer ones
(3 A t - 10 A) t + 8 A."""


def _outputs(args: Arguments) -> Gradients:
    x, grid, (of_input, _) = args["input"], args["grid"], args["output_mask"]
    return TensorSpec(x.shape, x.dtype) if of_input else None, TensorSpec(grid.shape, grid.dtype)


def _work(axes: int) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        args = call.args
        of_input, of_grid = args["output_mask"]
        coordinates, channels = args["grid"].size, args["input"].shape[1]
        points = coordinates // axes
        total = warping.unnormalised(align_corners=args["align_corners"]).times(coordinates)
        if args["interpolation_mode"] == warping.NEAREST:  # the position does not move the result
            return total + (Work(adds=channels * points) if of_input else Work())
        if args["interpolation_mode"] == warping.CUBIC:
            taps = 16
            total += (Work(adds=1) + warping.CUBIC_WEIGHTS).times(coordinates)
            weights, slopes = Work(multiplies=taps), _CUBIC_SLOPES.times(coordinates)
        else:
            taps = 2**axes
            total += Work(adds=2 * axes).times(points)
            weights, slopes = Work(multiplies=taps * (axes - 1)), Work()
        if of_input:  # g times the weight of each tap, added there
            total += weights.times(points) + Work(multiplies=taps, adds=taps).times(channels * points)
        if of_grid:
            # sum(g v) over channels for each tap, then over taps times the weights' derivative, in units of the grid.
            products = Work(multiplies=taps * channels, adds=taps * max(channels - 1, 0))
            factors = axes if args["interpolation_mode"] == warping.CUBIC else axes - 1
            axis = Work(multiplies=taps * factors, adds=taps - 1) + Work(multiplies=1)
            total += slopes + (products + axis.times(axes)).times(points)
        return total

    return work


def _rule(axes: int) -> Rule:
    x, grid = TensorSpec((2, 3, *(5, 6, 7)[:axes])), TensorSpec((2, *(4, 3, 2)[:axes], axes))
    g = TensorSpec((2, 3, *grid.shape[1:-1]))
    modes = (0, 1, 2) if axes == 2 else (0, 1)
    return Rule(
        targets=(f"aten.grid_sampler_{axes}d_backward.default",), kind=always("resample"), outputs=_outputs,
        work=_work(axes), traffic=every_argument, access=everything,
        temporaries=contiguous("grad_output") if axes == 2 else no_temporaries, fusible=False,
        source="Jaderberg et al., Spatial Transformer Networks, arXiv:1506.02025, equations 6 and 7",
        free_because=None,
        examples=tuple(example(g, x, grid, mode, 0, False, [True, True]) for mode in modes),
    )  # fmt: skip


register(_rule(2), _rule(3))
