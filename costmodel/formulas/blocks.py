"""Blocks of the classic networks, each a sum over the layer formulas.

Every block keeps the size at stride 1, takes ``norm=False`` for convolutions with a bias and no batch norm, and counts
inference. The result names its layers; ratios that papers print follow from the totals.

Each block is derived once, by a function that takes a feature map through it: ``bottleneck_on(x, ...)`` is the map
after a bottleneck on ``x``. The public formula is that function on a map by itself; the networks of
``costmodel.models`` call it with the names that their modules give the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from costmodel.formulas._arguments import public, same_in_every_configuration
from costmodel.formulas.cost import BlockCost
from costmodel.formulas.feature_map import Block, FeatureMap, Names
from costmodel.quantities import Count


@public
def depthwise_separable(
    *,
    c_in: Count,
    c_out: Count,
    size: Sequence[Count],
    kernel: Count = 3,
    stride: Count = 1,
    batch: Count = 1,
    norm: bool = True,
    activation: str | None = "relu",
) -> BlockCost:
    """MobileNet's pair: a depthwise and a pointwise convolution, each with norm and activation.

    macs = D_K^2 M D_F^2 + M N D_F^2: to a standard convolution's D_K^2 M N D_F^2 as 1 / N + 1 / D_K^2 to 1

    In the letters of the paper: M channels in, N out, kernel D_K, output D_F.
    Source: Howard et al., MobileNets, arXiv:1704.04861, section 3.1, eq. 5.

    >>> depthwise_separable(c_in=512, c_out=512, size=(14, 14)).macs            # table 4's 52.3 M
    52283392
    """
    block = Block(c_in, size, batch=batch, norm=norm)
    depthwise_separable_on(block.x, c_out, kernel=kernel, stride=stride, act=activation)
    return block.cost


def depthwise_separable_on(
    x: FeatureMap, c_out: Count, *, kernel: Count = 3, stride: Count, act: str | None, names: Names = str
) -> FeatureMap:
    """The map after a depthwise and a pointwise convolution."""
    y = x.conv_norm_act(names("depthwise"), x.channels, kernel, stride=stride, groups=x.channels, act=act)
    return y.conv_norm_act(names("pointwise"), c_out, act=act)


@public
def inverted_residual(
    *,
    c_in: Count,
    c_out: Count,
    size: Sequence[Count],
    expansion: Count = 6,
    kernel: Count = 3,
    stride: Count = 1,
    batch: Count = 1,
    norm: bool = True,
    activation: str = "relu6",
) -> BlockCost:
    """MobileNetV2's block: 1x1 up by t, depthwise, 1x1 down without an activation; a residual where shapes allow.

    macs = h w d' t (d' + k^2 + d'') at stride 1

    In the letters of the paper: d' channels in, d'' out, t expansion, k kernel. t = 1 has no first convolution.
    Source: Sandler et al., MobileNetV2, arXiv:1801.04381, section 3.3 and table 1.

    >>> inverted_residual(c_in=24, c_out=24, size=(56, 56)).macs == 56 * 56 * 24 * 6 * (24 + 9 + 24)
    True
    """
    block = Block(c_in, size, batch=batch, norm=norm)
    inverted_residual_on(block.x, c_in * expansion, c_out, kernel=kernel, stride=stride, act=activation)
    return block.cost


def inverted_residual_on(
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
    """The map after 1x1 up where channels grow, depthwise, a gate if there is one, 1x1 down, and the residual."""
    y = x.only_where(expanded != x.channels, that="expansion is 1")
    y = y.conv_norm_act(names("expand"), expanded, act=act).everywhere()
    y = y.conv_norm_act(names("depthwise"), expanded, kernel, stride=stride, groups=expanded, act=act)
    if gate is not None:
        y = gate(y)
    return add_if_same_shape(y.conv_norm_act(names("project"), c_out), x, stride=stride, name=names("add"))


def add_if_same_shape(y: FeatureMap, x: FeatureMap, *, stride: Count, name: str) -> FeatureMap:
    """A block's output ``y``, plus its input ``x`` where neither size nor channels changed."""
    if not same_in_every_configuration(stride == 1, that="stride is 1"):
        return y
    return y.only_where(y.channels == x.channels, that="c_in is c_out").add(name, x).everywhere()


@public
def basic_block(
    *,
    c_in: Count,
    c_out: Count,
    size: Sequence[Count],
    stride: Count = 1,
    batch: Count = 1,
    norm: bool = True,
    activation: str = "relu",
) -> BlockCost:
    """ResNet-18's and -34's block: two 3x3 convolutions, and the shortcut.

    macs = h w 9 c_out (c_in + c_out) at stride 1, and h w c_in c_out where the shortcut projects

    Source: He et al., ResNet, arXiv:1512.03385, figure 5 left and table 1.

    >>> basic_block(c_in=64, c_out=64, size=(56, 56)).macs
    231211008
    """
    block = Block(c_in, size, batch=batch, norm=norm)
    basic_block_on(block.x, c_out, stride=stride, act=activation)
    return block.cost


def basic_block_on(x: FeatureMap, c_out: Count, *, stride: Count, act: str, names: Names = str) -> FeatureMap:
    """The map after two 3x3 convolutions and the shortcut."""
    y = x.conv_norm_act(names("conv1"), c_out, 3, stride=stride, act=act).conv_norm_act(names("conv2"), c_out, 3)
    return _add_shortcut(y, x, stride=stride, act=act, names=names)


def _add_shortcut(y: FeatureMap, x: FeatureMap, *, stride: Count, act: str, names: Names) -> FeatureMap:
    """ResNet's residual: the input as it is, or through a 1x1 where the shape changes, added; then the activation."""
    strided = not same_in_every_configuration(stride == 1, that="stride is 1")
    side = x.only_where(True if strided else y.channels != x.channels, that="c_in is c_out")
    side = side.conv_norm_act(names("shortcut"), y.channels, stride=stride).everywhere()
    return y.add(names("add"), side).act(names(f"out_{act}"), act)


@public
def bottleneck(
    *,
    c_in: Count,
    width: Count,
    c_out: Count,
    size: Sequence[Count],
    stride: Count = 1,
    groups: Count = 1,
    stride_in_1x1: bool = False,
    batch: Count = 1,
    norm: bool = True,
    activation: str = "relu",
) -> BlockCost:
    """ResNet-50's block: 1x1 down to ``width``, 3x3, 1x1 up, and the shortcut, which projects where the shape changes.

    macs = h w (c m + 9 m^2 / g + m c) at stride 1, for c channels around and m inside

    The paper strides in the first 1x1; every library of today in the 3x3, the default here.
    Source: He et al., ResNet, arXiv:1512.03385, figure 5 right and table 1; the macs, Zhang et al., arXiv:1707.01083,
    section 3.2.

    >>> bottleneck(c_in=256, width=64, c_out=256, size=(56, 56)).macs
    218365952
    """
    block = Block(c_in, size, batch=batch, norm=norm)
    bottleneck_on(block.x, width, c_out, stride=stride, groups=groups, stride_in_1x1=stride_in_1x1, act=activation)
    return block.cost


def bottleneck_on(
    x: FeatureMap,
    width: Count,
    c_out: Count,
    *,
    stride: Count,
    groups: Count,
    stride_in_1x1: bool,
    act: str,
    gate: Callable[[FeatureMap], FeatureMap] | None = None,
    names: Names = str,
) -> FeatureMap:
    """The map after 1x1 down, 3x3, 1x1 up, a gate if there is one, and the shortcut."""
    first, second = (stride, 1) if stride_in_1x1 else (1, stride)
    y = x.conv_norm_act(names("reduce"), width, stride=first, act=act)
    y = y.conv_norm_act(names("conv"), width, 3, stride=second, groups=groups, act=act)
    y = y.conv_norm_act(names("expand"), c_out)
    if gate is not None:
        y = gate(y)
    return _add_shortcut(y, x, stride=stride, act=act, names=names)


@public
def grouped_bottleneck(
    *,
    c_in: Count,
    c_out: Count,
    size: Sequence[Count],
    cardinality: Count = 32,
    group_width: Count = 4,
    stride: Count = 1,
    batch: Count = 1,
    norm: bool = True,
    activation: str = "relu",
) -> BlockCost:
    """ResNeXt's block: a bottleneck of C groups, d channels wide each.

    params = c C d + 9 C d^2 + C d c for the convolutions, c channels around: C (256 d + 9 d^2 + 256 d) in the paper

    Source: Xie et al., ResNeXt, arXiv:1611.05431, section 3.4, eq. 4.

    >>> block = grouped_bottleneck(c_in=256, c_out=256, size=(56, 56), cardinality=32, group_width=4)
    >>> sum(block[name].params for name in ("reduce", "conv", "expand"))
    70144
    """
    return bottleneck(
        c_in=c_in,
        width=cardinality * group_width,
        c_out=c_out,
        size=size,
        stride=stride,
        groups=cardinality,
        batch=batch,
        norm=norm,
        activation=activation,
    )


@public
def inception_module(
    *,
    c_in: Count,
    size: Sequence[Count],
    c1: Count,
    c3_reduce: Count,
    c3: Count,
    c5_reduce: Count,
    c5: Count,
    pool_proj: Count,
    batch: Count = 1,
    norm: bool = False,
    activation: str = "relu",
) -> BlockCost:
    """GoogLeNet's module: 1x1; 1x1 then 3x3; 1x1 then 5x5; 3x3 max pool then 1x1; concatenated.

    macs = h w (c c1 + c r3 + 9 r3 c3 + c r5 + 25 r5 c5 + c p)

    Source: Szegedy et al., arXiv:1409.4842, section 4, figure 2b and table 1. The paper has biases and no batch norm.

    >>> inception_module(                                                                     # 3a, 128 M in table 1
    ...     c_in=192, size=(28, 28), c1=64, c3_reduce=96, c3=128, c5_reduce=16, c5=32, pool_proj=32
    ... ).macs
    128049152
    """
    block = Block(c_in, size, batch=batch, norm=norm)
    inception_module_on(
        block.x, c1=c1, c3_reduce=c3_reduce, c3=c3, c5_reduce=c5_reduce, c5=c5, pool_proj=pool_proj, act=activation
    )
    return block.cost


def inception_module_on(
    x: FeatureMap,
    *,
    c1: Count,
    c3_reduce: Count,
    c3: Count,
    c5_reduce: Count,
    c5: Count,
    pool_proj: Count,
    act: str,
    names: Names = str,
) -> FeatureMap:
    """The map after four branches, joined."""
    one = x.conv_norm_act(names("conv1"), c1, act=act)
    three = x.conv_norm_act(names("conv3_reduce"), c3_reduce, act=act).conv_norm_act(names("conv3"), c3, 3, act=act)
    five = x.conv_norm_act(names("conv5_reduce"), c5_reduce, act=act).conv_norm_act(names("conv5"), c5, 5, act=act)
    pool = x.max_pool(names("pool"), 3, 1, padding=1).conv_norm_act(names("pool_proj"), pool_proj, act=act)
    return one.concat(names("concat"), three, five, pool)
