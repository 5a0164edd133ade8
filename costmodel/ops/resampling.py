"""Upsampling by nearest, linear and cubic interpolation, and the shuffles between channels and pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction

from costmodel.access import AccessMap, Affine, All
from costmodel.graph import Arguments, OpCall, TensorSpec, is_channels_last
from costmodel.ops import layout
from costmodel.ops.rule import Example, Rule, always, every_argument, example, no_temporaries, no_work, register
from costmodel.ops.temporaries import in_memory_format
from costmodel.quantities import Work

_SCALES = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}


def _resized(axes: int) -> Callable[[Arguments], TensorSpec]:
    def outputs(args: Arguments) -> TensorSpec:
        x = args["self"]
        if len(x.shape) != axes + 2:
            raise ValueError(f"upsampling over {axes} axes takes (batch, channels, *size), got {x.shape}")
        shape = (*x.shape[:2], *args["output_size"])
        return TensorSpec(shape, x.dtype, layout.in_format_of(x, shape))

    return outputs


def _ratio(args: Arguments, axis: int, axes: int, size_in: int, size_out: int) -> Fraction:
    """Input positions an output position is wide."""
    if args.get("align_corners"):
        return Fraction(size_in - 1, size_out - 1) if size_out > 1 else Fraction(0)
    given = args[_SCALES[axes][axis]]
    # A float such as 1.7 stands for 17/10: its binary digits beyond that are noise.
    return 1 / Fraction(given).limit_denominator(2**20) if given else Fraction(size_in, size_out)


def _source(args: Arguments, ratio: Fraction) -> Fraction:
    """Where in the input the first output position lies: pixels are points at their corners or at their centres."""
    return Fraction(0) if args["align_corners"] else ratio / 2 - Fraction(1, 2)


Reach = Callable[[Arguments, Fraction], tuple[Fraction, Fraction]]
"""From the arguments and an axis's ratio: the first and the last input position that output position 0 reads."""


def _axis_maps(args: Arguments, x: TensorSpec, y: TensorSpec, reach: Reach) -> list[Affine]:
    """The axis map of each spatial axis."""
    axis_maps = []
    for i, (size_in, size_out) in enumerate(zip(x.shape[2:], y.shape[2:], strict=True)):
        ratio = _ratio(args, i, len(x.shape) - 2, size_in, size_out)
        axis_maps.append(Affine(i + 2, ratio, *reach(args, ratio)))
    return axis_maps


def _access(reach: Reach) -> Callable[[OpCall, int], AccessMap]:
    return lambda call, output: {
        "self": (Affine(0), Affine(1), *_axis_maps(call.args, call.args["self"], call.outputs[0], reach))
    }


def _nearest(args: Arguments, ratio: Fraction) -> tuple[Fraction, Fraction]:
    return Fraction(0), Fraction(0)


def _nearest_exact(args: Arguments, ratio: Fraction) -> tuple[Fraction, Fraction]:
    return ratio / 2, ratio / 2


def _linear(args: Arguments, ratio: Fraction) -> tuple[Fraction, Fraction]:
    # The two neighbours; the right one is read even where its weight is 0.
    at = _source(args, ratio)
    return at, at + 1


def _cubic(args: Arguments, ratio: Fraction) -> tuple[Fraction, Fraction]:
    at = _source(args, ratio)
    return at - 1, at + 2


def _antialiased(radius: int) -> Reach:
    def reach(args: Arguments, ratio: Fraction) -> tuple[Fraction, Fraction]:
        if ratio == 1:
            # torch leaves an axis alone that keeps its size.
            return Fraction(0), Fraction(0)
        # The kernel is as wide as an output pixel where that is wider than an input pixel.
        support = radius * max(ratio, Fraction(1))
        centre = ratio / 2
        return centre - support + Fraction(1, 2), centre + support - Fraction(1, 2)

    return reach


def _interpolation(taps: int) -> Callable[[OpCall], Work]:
    # A weighted sum of so many neighbours; the weights are the same for every channel and sample, and made once.
    return lambda call: Work(multiplies=taps, adds=taps - 1).times(call.outputs[0].size)


def _antialiased_work(radius: int) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        x, y = call.args["self"], call.outputs[0]
        taps = antialiased_taps(call.args, x, y, radius)
        return Work(multiplies=taps, adds=taps - y.size) if taps else Work()

    return work


def antialiased_taps(args: Arguments, x: TensorSpec, y: TensorSpec, radius: int) -> int:
    """Pairs of an output element and an input element that it is made of; none where nothing is resized."""
    if x.shape == y.shape:
        return 0
    taps = y.shape[0] * y.shape[1]
    for n, m, axis in zip(x.shape[2:], y.shape[2:], _axis_maps(args, x, y, _antialiased(radius)), strict=True):
        windows = (axis.pull(o, o) for o in range(m))
        taps *= sum(min(high, n - 1) - max(low, 0) + 1 for low, high in windows)
    return taps


def _small_maps(args: Arguments) -> list[TensorSpec]:
    """The 2-d kernel for channels last does all small outputs, and copies input and output into that layout for it.

    Source: ``_use_vectorized_kernel_cond_2d`` in aten/src/ATen/native/cpu/UpSampleKernel.cpp.
    """
    x, y = args["self"], _resized(2)(args)
    if is_channels_last(x) or sum(y.shape[2:]) > 128:
        return []
    return [TensorSpec(t.shape, t.dtype) for t in (x, y) if not layout.is_either_format(t.shape)]


def _upsampling(
    *names: str,
    axes: int,
    work: Callable[[OpCall], Work],
    reach: Reach,
    arguments: tuple[tuple[object, ...], ...],
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
) -> Rule:
    x = TensorSpec((2, 3, *(5, 4, 3)[:axes]))
    examples: tuple[Example, ...] = tuple(example(x, [7] * axes, *a) for a in arguments)
    return Rule(
        targets=tuple(f"aten.{name}.default" for name in names), kind=always("resample"), outputs=_resized(axes),
        work=work, traffic=every_argument, access=_access(reach), temporaries=temporaries, fusible=False,
        source="torch.nn.functional.interpolate; aten/src/ATen/native/UpSample.h", free_because=None,
        examples=examples,
    )  # fmt: skip


_CORNERS = ((False,), (True,))

for _d in (1, 2, 3):
    _copied = _small_maps if _d == 2 else no_temporaries
    register(
        _upsampling(f"upsample_nearest{_d}d", axes=_d, work=no_work, reach=_nearest, arguments=((),),
                    temporaries=_copied),
        _upsampling(f"_upsample_nearest_exact{_d}d", axes=_d, work=no_work, reach=_nearest_exact, arguments=((),),
                    temporaries=_copied),
        _upsampling(f"upsample_{('linear', 'bilinear', 'trilinear')[_d - 1]}{_d}d", axes=_d,
                    work=_interpolation(2**_d), reach=_linear, arguments=_CORNERS, temporaries=_copied),
    )  # fmt: skip

register(
    _upsampling("upsample_bicubic2d", axes=2, work=_interpolation(16), reach=_cubic, arguments=_CORNERS),
    _upsampling("_upsample_bilinear2d_aa", axes=2, work=_antialiased_work(1), reach=_antialiased(1),
                arguments=_CORNERS),
    _upsampling("_upsample_bicubic2d_aa", axes=2, work=_antialiased_work(2), reach=_antialiased(2),
                arguments=_CORNERS),
)  # fmt: skip

# Between channels and pixels -------------------------------------------------------------------------------------


def _pixel_shuffle(args: Arguments) -> TensorSpec:
    x, r = args["self"], args["upscale_factor"]
    *batch, c, h, w = x.shape
    if c % (r * r):
        raise ValueError(f"pixel shuffle by {r} takes a multiple of {r * r} channels, got {x.shape}")
    shape = (*batch, c // (r * r), h * r, w * r)
    return TensorSpec(shape, x.dtype, layout.in_format_of(x, shape))


def _pixel_unshuffle(args: Arguments) -> TensorSpec:
    x, r = args["self"], args["downscale_factor"]
    *batch, c, h, w = x.shape
    if h % r or w % r:
        raise ValueError(f"pixel unshuffle by {r} takes a height and width divisible by {r}, got {x.shape}")
    shape = (*batch, c * r * r, h // r, w // r)
    return TensorSpec(shape, x.dtype, layout.in_format_of(x, shape))


def _shuffle_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    c, h, w = rank - 3, rank - 2, rank - 1
    if "upscale_factor" in call.args:
        r = call.args["upscale_factor"]
        # Output channel c is assembled from the input channels c r r .. c r r + r r - 1.
        axis_maps = Affine(c, r * r, 0, r * r - 1), Affine(h, Fraction(1, r)), Affine(w, Fraction(1, r))
    else:
        r = call.args["downscale_factor"]
        axis_maps = Affine(c, Fraction(1, r * r)), Affine(h, r, 0, r - 1), Affine(w, r, 0, r - 1)
    return {"self": (*(Affine(d) for d in range(c)), *axis_maps)}


def _channel_shuffle(args: Arguments) -> TensorSpec:
    x = args["self"]
    if x.shape[1] % args["groups"]:
        raise ValueError(f"channel shuffle of {args['groups']} groups does not divide the channels of {x.shape}")
    return TensorSpec(x.shape, x.dtype, layout.in_format_of(x, x.shape))


def _channel_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    return {"self": tuple(All() if d == 1 else Affine(d) for d in range(rank))}


def _shuffle(
    *targets: str,
    outputs: Callable[[Arguments], TensorSpec],
    access: Callable[[OpCall, int], AccessMap],
    examples: tuple[Example, ...],
) -> Rule:
    return Rule(
        targets=targets, kind=always("resample"), outputs=outputs, work=no_work, traffic=every_argument, access=access,
        temporaries=in_memory_format("self"), fusible=False,
        source="torch.nn.PixelShuffle and ChannelShuffle: one copy in another order, no arithmetic",
        free_because=None, examples=examples,
    )  # fmt: skip


_PIXELS = TensorSpec((2, 8, 4, 6))

register(
    _shuffle("aten.pixel_shuffle.default", outputs=_pixel_shuffle, access=_shuffle_access,
             examples=(example(_PIXELS, 2),)),
    _shuffle("aten.pixel_unshuffle.default", outputs=_pixel_unshuffle, access=_shuffle_access,
             examples=(example(_PIXELS, 2),)),
    _shuffle("aten.channel_shuffle.default", "aten.native_channel_shuffle.default", outputs=_channel_shuffle,
             access=_channel_access, examples=(example(_PIXELS, 4),)),
)  # fmt: skip
