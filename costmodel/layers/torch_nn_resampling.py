"""The layers of ``torch.nn`` that resample: interpolation, shuffles, padding, windows as columns, unpooling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from costmodel import formulas as f
from costmodel.formulas import LayerCost
from costmodel.layers.names import ClassName, nn
from costmodel.layers.registry import Call, Formula, add
from costmodel.layers.torch_nn import batched


def _upsample(call: Call) -> LayerCost:
    batch, channels, *size = call.shape
    wanted, factor = call["size"], call["scale_factor"]
    if wanted is None:
        factors = factor if isinstance(factor, tuple) else (factor,) * len(size)
        wanted = tuple(int(n * s) for n, s in zip(size, factors, strict=True))
    elif isinstance(wanted, int):
        wanted = (wanted,) * len(size)
    mode = "nearest" if call["mode"] == "nearest-exact" else call["mode"]
    return f.upsample(channels=channels, size=tuple(size), output_size=wanted, mode=mode, batch=batch)


add(
    nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, hyper="size scale_factor mode", formula=_upsample
)  # fmt: skip


def _shuffled(formula: Callable[..., LayerCost], hyper: str) -> Formula:
    def cost_of(call: Call) -> LayerCost:
        *leading, channels, height, width = call.shape  # any number of leading dimensions is a batch
        cost = formula(channels=channels, size=(height, width), batch=prod(leading), factor=call[hyper])
        return replace(cost, output_shape=(*leading, *cost.output_shape[1:]))

    return cost_of


def _channel_shuffle(call: Call) -> LayerCost | None:
    if len(call.shape) < 3:
        return None
    batch, channels, *size = call.shape
    return f.channel_shuffle(channels=channels, size=tuple(size), batch=batch, groups=call["groups"])


add(nn.PixelShuffle, hyper="upscale_factor", formula=_shuffled(f.pixel_shuffle, "upscale_factor"))
add(nn.PixelUnshuffle, hyper="downscale_factor", formula=_shuffled(f.pixel_unshuffle, "downscale_factor"))
add(nn.ChannelShuffle, hyper="groups", formula=_channel_shuffle)


def _pad(mode: str) -> Formula:
    def cost_of(call: Call) -> LayerCost:
        sides = call["padding"]  # from the last axis to the first: before, after, before, after ...
        axes = len(sides) // 2
        leading, size = call.shape[:-axes], call.shape[-axes:]
        before, after = tuple(reversed(sides[::2])), tuple(reversed(sides[1::2]))
        cost = f.pad(channels=prod(leading), size=size, before=before, after=after, mode=mode)
        return replace(cost, output_shape=(*leading, *cost.output_size))

    return cost_of


_PADS: dict[str, tuple[ClassName, ...]] = {
    "constant": (nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
    "reflect": (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    "replicate": (nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
    "circular": (nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
}
for _mode, _types in _PADS.items():
    add(*_types, hyper="padding", formula=_pad(_mode), kind="resample")

_WINDOW = "kernel_size stride padding dilation"


def _windows(call: Call) -> dict[str, object]:
    return {
        "kernel": call["kernel_size"], "stride": call["stride"], "padding": call["padding"],
        "dilation": call["dilation"],
    }  # fmt: skip


def _unfold(call: Call, batch: int, size: tuple[int, ...]) -> LayerCost:
    return f.unfold(channels=call.shape[-3], size=size, batch=batch, **_windows(call))


def _fold(call: Call, batch: int, _: tuple[int, ...]) -> LayerCost:
    wanted, kernel = call["output_size"], call["kernel_size"]
    wanted = (wanted, wanted) if isinstance(wanted, int) else tuple(wanted)
    taps = kernel**2 if isinstance(kernel, int) else prod(kernel)
    return f.fold(channels=call.shape[-2] // taps, output_size=wanted, batch=batch, **_windows(call))


add(nn.Unfold, hyper=_WINDOW, formula=batched(2, _unfold), kind="resample")
add(nn.Fold, hyper=f"{_WINDOW} output_size", formula=batched(1, _fold), kind="resample")


def _max_unpool(call: Call, batch: int, size: tuple[int, ...]) -> LayerCost:
    steps = zip(size, call["kernel_size"], call["stride"], call["padding"], strict=True)
    out = tuple((n - 1) * stride - 2 * pad + kernel for n, kernel, stride, pad in steps)
    return f.max_unpool(channels=call.shape[-len(size) - 1], size=size, output_size=out, batch=batch)


def _of_one_size(formula: Formula) -> Formula:
    # An output_size that is given stands in one of several forms.
    return lambda call: formula(call) if len(call.given) == 2 else None


for _axes, _type in enumerate((nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MaxUnpool3d), start=1):
    add(
        _type, hyper="kernel_size stride padding", formula=_of_one_size(batched(_axes, _max_unpool)), kind="resample",
        takes="input indices output_size",
    )  # fmt: skip
