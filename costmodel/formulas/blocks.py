"""Blocks of the classic networks, each a sum over the layer formulas.

Every block keeps the size at stride 1, takes ``norm=False`` for convolutions with a bias and no batch norm, and prices
inference. The result names its layers; ratios that papers print follow from the totals.
"""

from __future__ import annotations

from collections.abc import Sequence

from costmodel.formulas._arguments import agreed, keeps_shape
from costmodel.formulas._path import Path
from costmodel.formulas.cost import BlockCost
from costmodel.formulas.elementwise import concat
from costmodel.formulas.pooling import max_pool
from costmodel.quantities import Count


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
    path = Path(channels=c_in, size=size, batch=batch, norm=norm)
    path.conv("depthwise", c_in, kernel=kernel, stride=stride, groups=c_in, act=activation)
    return path.conv("pointwise", c_out, act=activation).cost


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
    path = Path(channels=c_in, size=size, batch=batch, norm=norm)
    hidden = c_in * expansion
    if not agreed(expansion == 1, that="expansion is 1"):
        path.conv("expand", hidden, act=activation)
    path.conv("depthwise", hidden, kernel=kernel, stride=stride, groups=hidden, act=activation)
    path.conv("project", c_out)
    return (path.add() if keeps_shape(c_in=c_in, c_out=c_out, stride=stride) else path).cost


def _shortcut(
    path: Path, *, c_in: Count, size: Sequence[Count], c_out: Count, stride: Count, activation: str
) -> BlockCost:
    """The residual of ResNet: as it is, or through a 1x1 convolution where the shape changes; then the activation."""
    if not keeps_shape(c_in=c_in, c_out=c_out, stride=stride):
        side = Path(channels=c_in, size=size, batch=path.batch, norm=path.norm)
        path.layers += side.conv("shortcut", c_out, stride=stride).layers
    return path.add().act("out_" + activation, activation).cost


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
    path = Path(channels=c_in, size=size, batch=batch, norm=norm)
    path.conv("conv1", c_out, kernel=3, stride=stride, act=activation).conv("conv2", c_out, kernel=3)
    return _shortcut(path, c_in=c_in, size=size, c_out=c_out, stride=stride, activation=activation)


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
    path = Path(channels=c_in, size=size, batch=batch, norm=norm)
    first, second = (stride, 1) if stride_in_1x1 else (1, stride)
    path.conv("reduce", width, stride=first, act=activation)
    path.conv("conv", width, kernel=3, stride=second, groups=groups, act=activation)
    path.conv("expand", c_out)
    return _shortcut(path, c_in=c_in, size=size, c_out=c_out, stride=stride, activation=activation)


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
    whole = Path(channels=c_in, size=size, batch=batch, norm=norm)
    pool = max_pool(channels=c_in, size=size, kernel=3, stride=1, padding=1, batch=batch)
    branches = (
        whole.fork().conv("conv1", c1, act=activation),
        whole.fork().conv("conv3_reduce", c3_reduce, act=activation).conv("conv3", c3, kernel=3, act=activation),
        whole.fork().conv("conv5_reduce", c5_reduce, act=activation).conv("conv5", c5, kernel=5, act=activation),
        whole.fork().append("pool", pool).conv("pool_proj", pool_proj, act=activation),
    )
    for branch in branches:
        whole.layers += branch.layers
    return whole.append("concat", concat(channels=(c1, c3, c5, pool_proj), size=branches[0].size, batch=batch)).cost
