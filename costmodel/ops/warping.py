"""Sampling an image at positions that are data: grids, and the affine maps that make them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.rule import Rule, always, every_argument, example, no_temporaries, register
from costmodel.quantities import Work

NEAREST, CUBIC = 1, 2
"""``interpolation_mode``; 0 is linear."""

# The four weights of one axis, from cubic convolution's two polynomials in Horner's form: inner taps
# ((A + 2) t - (A + 3)) t t + 1, outer taps ((A t - 5 A) t + 8 A) t - 4 A, at the distances t, 1 - t, t + 1 and 2 - t.
CUBIC_WEIGHTS = Work(multiplies=3, adds=2).times(2) + Work(multiplies=3, adds=3).times(2) + Work(adds=3)


def _sampled(axes: int) -> Callable[[Arguments], TensorSpec]:
    def outputs(args: Arguments) -> TensorSpec:
        x, grid = args["input"], args["grid"]
        if len(x.shape) != axes + 2 or len(grid.shape) != axes + 2 or grid.shape[-1] != axes:
            raise ValueError(
                f"sampling over {axes} axes takes (batch, channels, *size) and a grid (batch, *size, {axes}), "
                f"got {x.shape} and {grid.shape}"
            )
        return TensorSpec((*x.shape[:2], *grid.shape[1:-1]), x.dtype)

    return outputs


def unnormalised(*, align_corners: bool) -> Work:
    """A coordinate in pixels, from -1 .. 1: (g + 1) / 2 (size - 1), or ((g + 1) size - 1) / 2 between outer edges."""
    return Work(adds=1 if align_corners else 2, multiplies=1, divides=1)


def _sampling_work(axes: int) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        args, y = call.args, call.outputs[0]
        coordinates = args["grid"].size
        points = coordinates // axes
        total = unnormalised(align_corners=args["align_corners"]).times(coordinates)
        if args["interpolation_mode"] == NEAREST:
            return total
        if args["interpolation_mode"] == CUBIC:
            # The distance t to the pixel before, four weights an axis, and a row of 4 at a time for each channel.
            per_axis, taps = Work(adds=1) + CUBIC_WEIGHTS, 4
            combined = Work(multiplies=taps, adds=taps - 1).times(taps + 1)
            return total + per_axis.times(coordinates) + combined.times(y.size)
        # The distances to both neighbours on each axis, one product of them for each corner, then their weighted sum.
        corners = 2**axes
        weights = Work(adds=2 * axes, multiplies=corners * (axes - 1))
        return total + weights.times(points) + Work(multiplies=corners, adds=corners - 1).times(y.size)

    return work


def _sampling_access(call: OpCall, output: int) -> AccessMap:
    # Any output position may see any input position: where, only the grid's values say.
    axes = len(call.args["grid"].shape) - 2
    grid: tuple[AxisMap, ...] = (Affine(0), *(Affine(d + 2) for d in range(axes)), All())
    return {"input": (Affine(0), Affine(1), *(All(),) * axes), "grid": grid}


def _affine_grid(args: Arguments) -> TensorSpec:
    batch, _, *size = args["size"]
    return TensorSpec((batch, *size, len(size)), args["theta"].dtype)


def _affine_grid_work(call: OpCall) -> Work:
    # Each position, (x, y, 1), times the (2, 3) matrix; in three dimensions (x, y, z, 1) times (3, 4).
    batch, _, *size = call.args["size"]
    return Work(macs=batch * prod(size) * len(size) * (len(size) + 1))


def _affine_grid_access(call: OpCall, output: int) -> AccessMap:
    return {"theta": (Affine(0), Affine(len(call.outputs[0].shape) - 1), All())}


def _sampler(axes: int) -> Rule:
    x, grid = TensorSpec((2, 3, *(5, 6, 7)[:axes])), TensorSpec((2, *(4, 3, 2)[:axes], axes))
    return Rule(
        targets=(f"aten.grid_sampler_{axes}d.default",), kind=always("resample"), outputs=_sampled(axes),
        work=_sampling_work(axes), traffic=every_argument, access=_sampling_access,
        temporaries=no_temporaries, fusible=False,
        source="Jaderberg et al., Spatial Transformer Networks, arXiv:1506.02025, section 3.3", free_because=None,
        examples=tuple(
            example(x, grid, mode, 0, corners)
            for mode, corners in ((0, False), (1, False), (0, True), (2, False)) if axes == 2 or mode < CUBIC
        ),
    )  # fmt: skip


register(
    _sampler(2),
    _sampler(3),
    Rule(
        targets=("aten.affine_grid_generator.default",), kind=always("resample"), outputs=_affine_grid,
        work=_affine_grid_work, traffic=every_argument, access=_affine_grid_access,
        temporaries=no_temporaries, fusible=False,
        source="Jaderberg et al., Spatial Transformer Networks, arXiv:1506.02025, section 3.2", free_because=None,
        examples=(
            example(TensorSpec((2, 2, 3)), [2, 3, 5, 6], False), example(TensorSpec((3, 2, 3)), [3, 1, 90, 80], False),
            example(TensorSpec((2, 3, 4)), [2, 1, 4, 5, 6], True),
        ),
    ),
)  # fmt: skip
