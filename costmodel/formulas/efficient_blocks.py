"""Blocks of the networks built to be cheap: gates, ghosts, shuffles, and MBConv; as in blocks.py."""

from __future__ import annotations

from collections.abc import Sequence

from costmodel.formulas._arguments import agreed, ceil_div, keeps_shape, require, require_divisible
from costmodel.formulas._path import Path
from costmodel.formulas.activation import activation as activate
from costmodel.formulas.convolution import pointwise_conv
from costmodel.formulas.cost import BlockCost
from costmodel.formulas.elementwise import concat, multiply
from costmodel.formulas.linear import linear
from costmodel.formulas.pooling import avg_pool, global_avg_pool
from costmodel.formulas.resampling import channel_shuffle
from costmodel.quantities import Count


def squeeze_excitation(
    *,
    channels: Count,
    squeeze: Count,
    size: Sequence[Count],
    batch: Count = 1,
    bias: bool = True,
    activation: str = "relu",
    gate: str = "sigmoid",
    convolutional: bool = False,
) -> BlockCost:
    """A gate per channel: global average, down to ``squeeze``, up again, and the product.

    params = 2 C s + C + s with biases
    macs = 2 batch C s

    ``convolutional`` has the two products as 1x1 convolutions over one position: as many macs and elements.
    Source: Hu et al., Squeeze-and-Excitation, arXiv:1709.01507, section 3, eqs. 2 to 4; s = C / r there.

    >>> squeeze_excitation(channels=256, squeeze=16, size=(56, 56), bias=False).params       # 2 C^2 / r, r = 16
    8192
    """
    pooled = global_avg_pool(channels=channels, size=size, batch=batch)
    if convolutional:
        point = (1,) * len(size)
        down = pointwise_conv(c_in=channels, c_out=squeeze, size=point, bias=bias, batch=batch)
        up = pointwise_conv(c_in=squeeze, c_out=channels, size=point, bias=bias, batch=batch)
    else:
        down = linear(in_features=channels, out_features=squeeze, bias=bias, rows=batch)
        up = linear(in_features=squeeze, out_features=channels, bias=bias, rows=batch)
    return BlockCost(
        layers=(
            ("squeeze", pooled),
            ("reduce", down),
            (f"reduce_{activation}", activate(name=activation, shape=down.output_shape)),
            ("expand", up),
            (gate, activate(name=gate, shape=up.output_shape)),
            ("scale", multiply(shape=(batch, channels, *size), other=pooled.output_shape)),
        )
    )


def ghost_module(
    *,
    c_in: Count,
    c_out: Count,
    size: Sequence[Count],
    kernel: Count = 1,
    ratio: Count = 2,
    dw_kernel: Count = 3,
    stride: Count = 1,
    batch: Count = 1,
    norm: bool = True,
    activation: str | None = "relu",
) -> BlockCost:
    """GhostNet's convolution: c_out / s intrinsic maps, and s - 1 cheap depthwise ones from each.

    macs = h' w' (n / s) (c k^2 + (s - 1) d^2), a standard one's n c k^2 h' w' over about s

    In the letters of the paper: n maps out, c in, s ratio, k and d kernels. c_out / s is rounded up, and what is too
    much sliced off, a view.
    Source: Han et al., GhostNet, arXiv:1911.11907, section 3.2, eqs. 4 and 5.

    >>> ghost_module(c_in=16, c_out=16, size=(112, 112)).macs == 112 * 112 * 8 * (16 + 9)
    True
    """
    path = Path(channels=c_in, size=size, batch=batch, norm=norm)
    require(ratio=ratio)
    intrinsic = ceil_div(c_out, ratio)
    ghosts = intrinsic * (ratio - 1)
    path.conv("primary", intrinsic, kernel=kernel, stride=stride, act=activation)
    path.conv("cheap", ghosts, kernel=dw_kernel, groups=intrinsic, act=activation)
    return path.append("concat", concat(channels=(intrinsic, ghosts), size=path.size, batch=batch)).cost


def shuffle_unit_v1(
    *,
    c_in: Count,
    c_out: Count,
    size: Sequence[Count],
    groups: Count = 3,
    stride: int = 1,
    group_first: bool = True,
    batch: Count = 1,
    norm: bool = True,
    activation: str = "relu",
) -> BlockCost:
    """ShuffleNet's unit: grouped 1x1 down to c_out / 4, shuffle, depthwise 3x3, grouped 1x1 up; then the residual.

    macs = h w (2 c m / g + 9 m) at stride 1, c channels around and m = c / 4 inside

    At stride 2 the branch is concatenated with the 3x3 average of the input, which leaves it c_out - c_in channels.
    ``group_first=False`` is the first unit of stage 2, with few channels in.
    Source: Zhang et al., ShuffleNet, arXiv:1707.01083, section 3.2 and figure 2.

    >>> shuffle_unit_v1(c_in=240, c_out=240, size=(28, 28)).macs == 28 * 28 * (2 * 240 * 60 // 3 + 9 * 60)
    True
    """
    require_divisible(c_out=c_out, by="the bottleneck's ratio", divisor=4)
    path = Path(channels=c_in, size=size, batch=batch, norm=norm)
    inside = c_out // 4
    added = agreed(stride == 1, that="stride is 1")
    branch = c_out if added else c_out - c_in
    path.conv("reduce", inside, groups=groups if group_first else 1, act=activation)
    path.append("shuffle", channel_shuffle(channels=inside, size=size, groups=groups, batch=batch))
    path.conv("depthwise", inside, kernel=3, stride=stride, groups=inside)
    path.conv("expand", branch, groups=groups)
    if added:
        path.add()
    else:
        pooled = avg_pool(channels=c_in, size=size, kernel=3, stride=stride, padding=1, batch=batch)
        path.layers.append(("shortcut", pooled))
        path.append("concat", concat(channels=(c_in, branch), size=path.size, batch=batch))
    return path.act("out_" + activation, activation).cost


def shuffle_unit_v2(
    *,
    c_in: Count,
    c_out: Count,
    size: Sequence[Count],
    stride: int = 1,
    batch: Count = 1,
    norm: bool = True,
    activation: str = "relu",
) -> BlockCost:
    """ShuffleNet V2's unit: half of the channels through 1x1, depthwise 3x3, 1x1; joined to the other half, shuffled.

    macs = h w (c / 2) (c + 9) at stride 1

    At stride 2 both branches see everything, and the other one is a depthwise 3x3 and a 1x1.
    Source: Ma et al., ShuffleNet V2, arXiv:1807.11164, section 3 and figure 3 (c, d).

    >>> shuffle_unit_v2(c_in=116, c_out=116, size=(28, 28)).macs == 28 * 28 * 58 * (116 + 9)
    True
    """
    require_divisible(c_in=c_in, c_out=c_out, by="branches", divisor=2)
    half = c_out // 2
    split = agreed(stride == 1, that="stride is 1")
    if split and isinstance(c_in, int) and isinstance(c_out, int) and c_in != c_out:
        raise ValueError(
            f"c_out={c_out} differs from c_in={c_in} at stride 1, where half of the input is kept: make them equal"
        )
    path = Path(channels=half if split else c_in, size=size, batch=batch, norm=norm)
    side = path.fork()
    if not split:
        side.conv("side_depthwise", c_in, kernel=3, stride=stride, groups=c_in)
        side.conv("side_pointwise", half, act=activation)
    path.conv("reduce", half, act=activation)
    path.conv("depthwise", half, kernel=3, stride=stride, groups=half)
    path.conv("expand", half, act=activation)
    path.layers[:0] = side.layers
    path.append("concat", concat(channels=(half, half), size=path.size, batch=batch))
    return path.append("shuffle", channel_shuffle(channels=c_out, size=path.size, groups=2, batch=batch)).cost


def mbconv(
    *,
    c_in: Count,
    c_out: Count,
    size: Sequence[Count],
    expansion: Count = 6,
    kernel: Count = 3,
    stride: Count = 1,
    squeeze: Count | None = None,
    batch: Count = 1,
    norm: bool = True,
    activation: str = "silu",
    gate: str = "sigmoid",
) -> BlockCost:
    """EfficientNet's block: an inverted residual with a gate after the depthwise convolution.

    macs = those of inverted_residual + 2 batch t c_in s

    ``squeeze`` s is c_in / 4 unless it is given, a fourth of what enters the block and not of what the gate sees; 0 is
    no gate.
    Source: Tan & Le, EfficientNet, arXiv:1905.11946, section 4; Tan et al., MnasNet, arXiv:1807.11626, figure 7.

    >>> mbconv(c_in=32, c_out=16, size=(112, 112), expansion=1).macs                          # B0's first
    10035712
    """
    path = Path(channels=c_in, size=size, batch=batch, norm=norm)
    hidden = c_in * expansion
    if not agreed(expansion == 1, that="expansion is 1"):
        path.conv("expand", hidden, act=activation)
    path.conv("depthwise", hidden, kernel=kernel, stride=stride, groups=hidden, act=activation)
    return _gate_and_project(
        path,
        c_in=c_in,
        c_out=c_out,
        stride=stride,
        squeeze=c_in // 4 if squeeze is None else squeeze,
        activation=activation,
        gate=gate,
    )


def fused_mbconv(
    *,
    c_in: Count,
    c_out: Count,
    size: Sequence[Count],
    expansion: Count = 4,
    kernel: Count = 3,
    stride: Count = 1,
    squeeze: Count = 0,
    batch: Count = 1,
    norm: bool = True,
    activation: str = "silu",
    gate: str = "sigmoid",
) -> BlockCost:
    """EfficientNetV2's block: the expansion and the depthwise convolution as one standard convolution.

    macs = h w c_in t (k^2 c_in + c_out) at stride 1; h w k^2 c_in c_out for t = 1, which has no projection

    The networks of the paper have no gate in it, so ``squeeze`` is 0 unless it is given.
    Source: Tan & Le, EfficientNetV2, arXiv:2104.00298, section 3.2 and figure 2.

    >>> fused_mbconv(c_in=24, c_out=24, size=(112, 112), expansion=1).macs == 112 * 112 * 9 * 24 * 24
    True
    """
    path = Path(channels=c_in, size=size, batch=batch, norm=norm)
    if agreed(expansion == 1, that="expansion is 1"):
        path.conv("conv", c_out, kernel=kernel, stride=stride, act=activation)
        return (path.add() if keeps_shape(c_in=c_in, c_out=c_out, stride=stride) else path).cost
    path.conv("expand", c_in * expansion, kernel=kernel, stride=stride, act=activation)
    return _gate_and_project(
        path, c_in=c_in, c_out=c_out, stride=stride, squeeze=squeeze, activation=activation, gate=gate
    )


def _gate_and_project(
    path: Path, *, c_in: Count, c_out: Count, stride: Count, squeeze: Count, activation: str, gate: str
) -> BlockCost:
    if not (isinstance(squeeze, int) and squeeze == 0):
        path.layers += [
            (f"se_{name}", layer)
            for name, layer in squeeze_excitation(
                channels=path.channels,
                squeeze=squeeze,
                size=path.size,
                batch=path.batch,
                activation=activation,
                gate=gate,
                convolutional=True,
            ).layers
        ]
    path.conv("project", c_out)
    return (path.add() if keeps_shape(c_in=c_in, c_out=c_out, stride=stride) else path).cost
