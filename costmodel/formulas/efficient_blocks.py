"""Blocks of the networks built to be cheap: gates, ghosts, shuffles, and MBConv; written as those in blocks.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from costmodel.formulas._arguments import (
    ceil_div,
    exact_quotient,
    public,
    require,
    require_divisible,
    same_in_every_configuration,
)
from costmodel.formulas.blocks import add_if_same_shape, inverted_residual_on
from costmodel.formulas.cost import BlockCost
from costmodel.formulas.feature_map import Block, FeatureMap, Names
from costmodel.quantities import Count


@public
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
    block = Block(channels, size, batch=batch)
    squeeze_excitation_on(block.x, squeeze, act=activation, gate=gate, bias=bias, convolutional=convolutional)
    return block.cost


def squeeze_excitation_on(
    x: FeatureMap,
    squeeze: Count,
    *,
    act: str = "relu",
    gate: str = "sigmoid",
    bias: bool = True,
    convolutional: bool = True,
    names: Names = str,
) -> FeatureMap:
    """The map times a gate per channel, which sees everything."""
    y = x.adaptive_avg_pool(names("squeeze"))
    if not convolutional:
        y = y.flatten(names("flatten"))

    def product(y: FeatureMap, name: str, channels: Count) -> FeatureMap:
        return y.conv(name, channels, bias=bias) if convolutional else y.linear(name, channels, bias=bias)

    y = product(y, names("reduce"), squeeze).act(names(f"reduce_{act}"), act)
    y = product(y, names("expand"), x.channels).act(names(gate), gate, in_place=False)
    return x.scale(names("scale"), y)


@public
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
    block = Block(c_in, size, batch=batch, norm=norm)
    ghost_module_on(block.x, c_out, kernel=kernel, ratio=ratio, dw_kernel=dw_kernel, stride=stride, act=activation)
    return block.cost


def ghost_module_on(
    x: FeatureMap,
    c_out: Count,
    *,
    kernel: Count = 1,
    ratio: Count,
    dw_kernel: Count,
    stride: Count = 1,
    act: str | None,
    names: Names = str,
) -> FeatureMap:
    """The map after the intrinsic maps, the cheap ones, and both joined and cut to c_out."""
    require(ratio=ratio)
    intrinsic = ceil_div(c_out, ratio)
    y = x.conv_norm_act(names("primary"), intrinsic, kernel, stride=stride, act=act)
    ghosts = y.conv_norm_act(names("cheap"), intrinsic * (ratio - 1), dw_kernel, groups=intrinsic, act=act)
    return y.concat(names("concat"), ghosts).part(names("slice"), c_out)


@public
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
    block = Block(c_in, size, batch=batch, norm=norm)
    first = groups if group_first else 1
    shuffle_unit_v1_on(
        block.x, exact_quotient(c_out, 4), c_out, groups=groups, first_groups=first, stride=stride, act=activation
    )
    return block.cost


def shuffle_unit_v1_on(
    x: FeatureMap,
    width: Count,
    c_out: Count,
    *,
    groups: Count,
    first_groups: Count,
    shuffles: bool = True,
    stride: Count,
    act: str,
    names: Names = str,
) -> FeatureMap:
    """The map after the branch, of ``width`` channels inside, and the input: added, or joined to its average."""
    adds = same_in_every_configuration(stride == 1, that="stride is 1")
    side = x if adds else x.avg_pool(names("shortcut"), 3, stride, padding=1)
    y = x.conv_norm_act(names("reduce"), width, groups=first_groups, act=act)
    if shuffles:
        y = y.shuffle(names("shuffle"), groups)
    y = y.conv_norm_act(names("depthwise"), width, 3, stride=stride, groups=width)
    y = y.conv_norm_act(names("expand"), c_out if adds else c_out - x.channels, groups=groups)
    y = y.add(names("add"), side) if adds else side.concat(names("concat"), y)
    return y.act(names(f"out_{act}"), act)


@public
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
    if (
        same_in_every_configuration(stride == 1, that="stride is 1")
        and isinstance(c_in, int)
        and isinstance(c_out, int)
        and c_in != c_out
    ):
        raise ValueError(
            f"c_out={c_out} differs from c_in={c_in} at stride 1, where half of the input is kept: make them equal"
        )
    block = Block(c_in, size, batch=batch, norm=norm)
    shuffle_unit_v2_on(block.x, c_out, stride=stride, act=activation)
    return block.cost


def shuffle_unit_v2_on(x: FeatureMap, c_out: Count, *, stride: Count, act: str, names: Names = str) -> FeatureMap:
    """The map after two branches, of c_out / 2 channels each, joined and shuffled."""
    half = exact_quotient(c_out, 2)
    if same_in_every_configuration(stride == 1, that="stride is 1"):
        x = side = x.halves(names("split"))
    else:
        side = x.conv_norm_act(names("side_depthwise"), x.channels, 3, stride=stride, groups=x.channels)
        side = side.conv_norm_act(names("side_pointwise"), half, act=act)
    y = x.conv_norm_act(names("reduce"), half, act=act)
    y = y.conv_norm_act(names("depthwise"), half, 3, stride=stride, groups=half)
    y = y.conv_norm_act(names("expand"), half, act=act)
    return side.concat(names("concat"), y).shuffle(names("shuffle"), 2)


@public
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
    gates = _gate(c_in // 4 if squeeze is None else squeeze, act=activation, gate=gate)
    block = Block(c_in, size, batch=batch, norm=norm)
    expanded = c_in * expansion
    inverted_residual_on(block.x, expanded, c_out, kernel=kernel, stride=stride, act=activation, gate=gates)
    return block.cost


def _gate(squeeze: Count, *, act: str, gate: str) -> Callable[[FeatureMap], FeatureMap] | None:
    """A squeeze-excitation inside a block; None where it squeezes to 0 channels."""
    if isinstance(squeeze, int) and squeeze == 0:
        return None
    return partial(squeeze_excitation_on, squeeze=squeeze, act=act, gate=gate, names="se_{}".format)


@public
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
    gates = _gate(squeeze, act=activation, gate=gate)
    block = Block(c_in, size, batch=batch, norm=norm)
    fused_mbconv_on(block.x, c_in * expansion, c_out, kernel=kernel, stride=stride, act=activation, gate=gates)
    return block.cost


def fused_mbconv_on(
    x: FeatureMap,
    expanded: Count,
    c_out: Count,
    *,
    kernel: Count,
    stride: Count,
    act: str,
    gate: Callable[[FeatureMap], FeatureMap] | None = None,
    names: Names = str,
) -> FeatureMap:
    """The map after a standard convolution that expands, a gate if there is one, 1x1 down, and the residual."""
    if same_in_every_configuration(expanded == x.channels, that="expansion is 1"):
        y = x.conv_norm_act(names("conv"), c_out, kernel, stride=stride, act=act)
    else:
        y = x.conv_norm_act(names("expand"), expanded, kernel, stride=stride, act=act)
        if gate is not None:
            y = gate(y)
        y = y.conv_norm_act(names("project"), c_out)
    return add_if_same_shape(y, x, stride=stride, name=names("add"))
