"""Layers of quantised tensors: integers q of 8 bits, a scale s and a zero point z for numbers x = s (q - z)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from costmodel.formulas._arguments import as_shape, public, require, require_one_of
from costmodel.formulas.activations import activation
from costmodel.formulas.convolution import conv
from costmodel.formulas.cost import NO_WORK, LayerCost
from costmodel.formulas.elementwise import pointwise_kernel
from costmodel.formulas.normalisation import group_norm, layer_norm
from costmodel.formulas.products import linear
from costmodel.formulas.transposed_convolution import conv_transpose
from costmodel.quantities import Count, Work, prod


def to_integers(count: Count) -> Work:
    """So many numbers to a grid: x / s by a multiply, plus z, and two clamps."""
    return Work(multiplies=count, adds=count, compares=2 * count)


def to_numbers(count: Count) -> Work:
    """So many integers to numbers: q - z, times s."""
    return Work(multiplies=count, adds=count)


def at_run_time(count: Count, *, times: Count = 1) -> Work:
    """So many numbers to grids of their own: the least and the greatest of each of ``times`` tensors first."""
    return to_integers(count) + Work(compares=2 * (count - times), adds=2 * times, divides=2 * times)


def _more(cost: LayerCost, work: Work) -> LayerCost:
    """The layer on quantised numbers, which does more than that on real ones, and has no backward pass."""
    return replace(cost, work=cost.work + work, gradient=None)


@public
def quantise(*, shape: Sequence[Count] | Count) -> LayerCost:
    """Numbers to integers, q = clamp(round(x / s) + z), of N elements. The scale and zero point are two tensors.

    flops = 4 N: a multiply, an add, two comparisons; rounding is no arithmetic
    memory_access = x + s + z + q

    Source: Jacob et al., arXiv:1712.05877, section 2.1; torch.ao.nn.quantized.Quantize.

    >>> quantise(shape=(1, 3, 224, 224)).flops
    602112
    """
    shape = as_shape(shape)
    n = prod(shape)
    return LayerCost(kind="other", output_shape=shape, read=n + 2, written=n, work=to_integers(n))


@public
def dequantise(*, shape: Sequence[Count] | Count) -> LayerCost:
    """Integers to numbers, x = s (q - z), of N elements.

    flops = 2 N
    memory_access = q + x

    Source: Jacob et al., arXiv:1712.05877, eq. 1.

    >>> dequantise(shape=(1, 1000)).flops
    2000
    """
    shape = as_shape(shape)
    return replace(pointwise_kernel("other", shape, reads=prod(shape)), work=to_numbers(prod(shape)))


WEIGHTS = ("static", "dynamic", "float16")
"""Static: inputs are quantised already; dynamic: at run time; float16: weights of 16 bits, and nothing is quantised."""


def _on_product(cost: LayerCost, *, inputs: Count, how: str, through_integers: bool = False) -> LayerCost:
    """What quantisation adds to a dense product of so many inputs.

    ``through_integers``: where inputs are quantised at run time, outputs are quantised as well, and dequantised.
    """
    require_one_of(how=how, choices=WEIGHTS)
    outputs = prod(cost.output_shape)
    if how == "dynamic" and through_integers:
        return _more(cost, at_run_time(inputs) + to_integers(outputs) + to_numbers(outputs))
    if how == "static":
        return _more(cost, to_integers(outputs))
    return _more(cost, at_run_time(inputs) + Work(multiplies=outputs) if how == "dynamic" else NO_WORK)


@public
def quantised_linear(
    *,
    in_features: Count,
    out_features: Count,
    bias: bool = True,
    rows: Count = 1,
    how: str = "static",
    fused: str = "none",
) -> LayerCost:
    """A linear layer of N outputs and M inputs, with weights of 8 bits (or 16, ``how="float16"``).

    params = in out + out if bias: so many elements, of 8 bits but for the bias
    macs = rows in out
    flops = 2 macs + N if bias + 4 N: sums of integers are scaled, shifted and clamped
    flops, dynamic = 2 macs + N if bias + N + 4 M + 2 (M - 1) + 4: the range of x, its integers, sums scaled
    flops, float16 = 2 macs + N if bias
    memory_access = x + w + b + y

    ``fused``: relu (the lower clamp; dynamic and float16: N more), leaky_relu or tanh (static: scaled first).
    Source: Jacob et al., arXiv:1712.05877, sections 2.2 to 2.4; torch.ao.nn.quantized.Linear.

    >>> quantised_linear(in_features=16, out_features=8, rows=2).macs, 2 * 256 + 16 + 4 * 16
    (256, 592)
    >>> quantised_linear(in_features=16, out_features=8, rows=2).flops
    592
    """
    require_one_of(fused=fused, choices=("none", "relu", "leaky_relu", "tanh"))
    dense = linear(in_features=in_features, out_features=out_features, bias=bias, rows=rows)
    cost = _on_product(dense, inputs=prod(as_shape(rows)) * in_features, how=how)
    n = prod(dense.output_shape)
    if fused == "relu":
        return cost if how == "static" else _more(cost, Work(compares=n))
    function = {
        "none": NO_WORK,
        "leaky_relu": Work(multiplies=2 * n, compares=n),
        "tanh": Work(multiplies=n, transcendentals=n),
    }
    return _more(cost, function[fused])


@public
def quantised_conv(
    *,
    c_in: Count,
    c_out: Count,
    kernel: Count,
    size: Sequence[Count],
    stride: Count = 1,
    padding: Count = 0,
    dilation: Count = 1,
    groups: Count = 1,
    bias: bool = True,
    batch: Count = 1,
    padding_mode: str = "zeros",
    how: str = "static",
    added: bool = False,
) -> LayerCost:
    """A convolution of N outputs with weights of 8 bits; ``added``: a tensor of the output's shape is added to it.

    params, macs = those of conv
    flops = those of conv + 4 N, a ReLU included: it is the lower clamp; added: 3 N more
    flops, dynamic, of M inputs = those of conv + 6 N + 4 M + 2 (M - 1) + 4: outputs become integers, and real again
    memory_access = x + w + b + y, and the added tensor

    Source: Jacob et al., arXiv:1712.05877, sections 2.2 to 2.4; torch.ao.nn.quantized.Conv2d.

    >>> quantised_conv(c_in=3, c_out=4, kernel=3, size=(8, 8)).macs
    3888
    """
    require_one_of(how=how, choices=WEIGHTS[:2])
    dense = conv(
        c_in=c_in, c_out=c_out, kernel=kernel, size=size, stride=stride, padding=padding, dilation=dilation,
        groups=groups, bias=bias, batch=batch, padding_mode=padding_mode,
    )  # fmt: skip
    cost = _on_product(dense, inputs=batch * c_in * prod(size), how=how, through_integers=True)
    n = prod(dense.output_shape) if added else 0
    return replace(_more(cost, to_numbers(n) + Work(adds=n)), read=cost.read + n)


@public
def quantised_conv_transpose(
    *,
    c_in: Count,
    c_out: Count,
    kernel: Count,
    size: Sequence[Count],
    stride: Count = 1,
    padding: Count = 0,
    output_padding: Count = 0,
    dilation: Count = 1,
    groups: Count = 1,
    bias: bool = True,
    batch: Count = 1,
    how: str = "static",
) -> LayerCost:
    """A transposed convolution of N outputs with weights of 8 bits.

    params, macs = those of conv_transpose
    flops = those of conv_transpose + 4 N; dynamic, of M inputs: + 6 N + 4 M + 2 (M - 1) + 4
    memory_access = x + w + b + y

    Source: Jacob et al., arXiv:1712.05877, sections 2.2 to 2.4; torch.ao.nn.quantized.ConvTranspose2d.

    >>> quantised_conv_transpose(c_in=3, c_out=4, kernel=2, size=(8, 8), stride=2).macs
    3072
    """
    require_one_of(how=how, choices=WEIGHTS[:2])
    dense = conv_transpose(
        c_in=c_in, c_out=c_out, kernel=kernel, size=size, stride=stride, padding=padding,
        output_padding=output_padding, dilation=dilation, groups=groups, bias=bias, batch=batch,
    )  # fmt: skip
    return _on_product(dense, inputs=batch * c_in * prod(size), how=how, through_integers=True)


QUANTISED_ACTIVATIONS = (
    "relu6", "hardswish", "leaky_relu", "elu", "celu", "sigmoid", "prelu", "softmax", "tanh", "hardsigmoid", "gelu",
    "gelu_tanh",
)  # fmt: skip


@public
def quantised_activation(*, name: str, shape: Sequence[Count] | Count, dim: int = -1) -> LayerCost:
    """An activation of N quantised numbers: computed in real numbers, and put on the grid of the output.

    flops = those of activation + 6 N: q - z, times s, and back; prelu + 8 N, as its weight is quantised too
    flops, relu6 = 2 N: the integers are clamped
    memory_access = x + y

    Source: torch.ops.quantized; Jacob et al., arXiv:1712.05877, eq. 1.

    >>> quantised_activation(name="hardswish", shape=100).flops
    1100
    """
    require_one_of(name=name, choices=QUANTISED_ACTIVATIONS)
    cost = activation(name=name, shape=shape, dim=dim)
    if name == "relu6":
        return _more(cost, NO_WORK)
    n = prod(as_shape(shape))
    return _more(cost, to_numbers(2 * n if name == "prelu" else n) + to_integers(n))


@public
def quantised_batch_norm(*, channels: Count, size: Sequence[Count] = (), batch: Count = 1) -> LayerCost:
    """Batch normalisation of N quantised elements in C channels, at inference; a fused ReLU is the lower clamp.

    params = 2 C
    buffers = 2 C + 1
    flops = 6 N: q - z, times a, plus b, plus the output's zero point, two clamps; a and b have the scales in them
    memory_access = x + w + b + mean + variance + y

    Source: Ioffe & Szegedy, arXiv:1502.03167, algorithm 2, step 11; torch.ops.quantized.batch_norm2d.

    >>> quantised_batch_norm(channels=64, size=(112, 112)).flops
    4816896
    """
    require(channels=channels, batch=batch, size=size)
    shape = (batch, channels, *size)
    n = prod(shape)
    return LayerCost(
        kind="norm", output_shape=shape, output_size=tuple(size), read=n + 4 * channels, written=n,
        work=Work(adds=3 * n, multiplies=n, compares=2 * n), params=2 * channels, buffers=2 * channels + 1,
    )  # fmt: skip


@public
def quantised_layer_norm(
    *, normalized_shape: Count | Sequence[Count], rows: Count = 1, affine: bool = True, bias: bool = True
) -> LayerCost:
    """Layer normalisation of N quantised elements.

    params = those of layer_norm
    flops = those of layer_norm + 4 N: it works on the integers, and its results are put on the output's grid
    memory_access = x + w + b + y

    Source: Ba et al., arXiv:1607.06450; torch.ops.quantized.layer_norm.

    >>> quantised_layer_norm(normalized_shape=8, rows=2).flops == 2 * (5 * 8 + 2) + 2 * 16 + 4 * 16
    True
    """
    cost = layer_norm(normalized_shape=normalized_shape, rows=rows, affine=affine, bias=bias)
    return _more(cost, to_integers(prod(cost.output_shape)))


@public
def quantised_group_norm(
    *,
    channels: Count,
    groups: Count,
    size: Sequence[Count] = (),
    batch: Count = 1,
    affine: bool = True,
    bias: bool = True,
) -> LayerCost:
    """Group normalisation of N quantised elements; instance normalisation with as many groups as channels.

    params = those of group_norm
    flops = those of group_norm + 4 N: it works on the integers, and its results are put on the output's grid
    memory_access = x + w + b + y

    Source: Wu & He, arXiv:1803.08494; torch.ops.quantized.group_norm and instance_norm.

    >>> quantised_group_norm(channels=4, groups=2, size=(2, 2)).flops == 5 * 16 + 2 * 2 + 2 * 16 + 4 * 16
    True
    """
    cost = group_norm(channels=channels, groups=groups, size=size, batch=batch, affine=affine, bias=bias)
    return _more(cost, to_integers(prod(cost.output_shape)))
