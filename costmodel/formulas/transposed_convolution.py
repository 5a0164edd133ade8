"""The transposed convolution, over one to three axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from costmodel.formulas._arguments import exact_quotient, per_axis, public, require, require_divisible, spatial
from costmodel.formulas._complex_numbers import on_numbers
from costmodel.formulas._convolution_gradient import ConvolutionKernel, convolution_backward
from costmodel.formulas.cost import LayerCost
from costmodel.formulas.geometry import conv_transpose_output_size, taps_inside
from costmodel.formulas.gradient import NOTHING, Saved
from costmodel.quantities import Count, Work, prod


@public
def conv_transpose(
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
    complex_valued: bool = False,
) -> LayerCost:
    """A transposed convolution: every input element meets every tap, whether or not the product lands in the output.

    params = c_in (c_out / groups) prod(kernel) + c_out if bias
    macs = batch prod(size) c_in (c_out / groups) prod(kernel), the input's size
    flops = 2 macs + output elements if bias; complex-valued: each mac is 4, each add 2
    memory_access = x + w + b + y
    backward: as of a convolution, as many macs each for the gradients of x and w; b: output elements - c_out adds
    saved: x

    Shapes: x (batch, c_in, *size), w (c_in, c_out / groups, *kernel), y (batch, c_out, *out).
    ``work.macs_on_padding`` counts the products that land in the cropped border; it needs the kernel as an int.
    Source: Dumoulin & Visin, arXiv:1603.07285, section 4.

    >>> up = conv_transpose(c_in=1024, c_out=512, kernel=2, size=(28, 28), stride=2)           # U-Net's first
    >>> up.output_size, up.macs
    ((56, 56), 1644167168)
    """
    size = spatial(size)
    kernel, strides, paddings, dilations = (
        per_axis(value, axes=len(size), name=name)
        for name, value in (("kernel", kernel), ("stride", stride), ("padding", padding), ("dilation", dilation))
    )
    require(c_in=c_in, c_out=c_out, groups=groups, batch=batch)
    require_divisible(c_in=c_in, c_out=c_out, by="groups", divisor=groups)
    out = conv_transpose_output_size(
        size=size,
        kernel=kernel,
        stride=strides,
        padding=paddings,
        output_padding=output_padding,
        dilation=dilations,
    )
    of_group = exact_quotient(c_out, groups)
    filters = c_in * of_group * prod(kernel)
    biases = c_out if bias else 0
    outputs = batch * c_out * prod(out)
    cropped: Count = 0
    if all(isinstance(k, int) for k in kernel):
        kept = prod(
            taps_inside(positions=n, kernel=k, stride=s, padding=p, dilation=d, extent=o)
            for n, k, s, p, d, o in zip(size, kernel, strides, paddings, dilations, out, strict=True)
        )
        cropped = batch * c_in * of_group * (prod(size) * prod(kernel) - kept)
    inputs = batch * c_in * prod(size)
    product = Work(macs=batch * prod(size) * filters, macs_on_padding=cropped)
    whole = ConvolutionKernel(x=inputs, w=filters, b=biases, y=outputs, product=product)
    gradient = partial(convolution_backward, whole, NOTHING, (Saved("input", inputs),))
    return LayerCost(
        kind="transposed conv",
        output_shape=(batch, c_out, *out),
        output_size=out,
        read=inputs + filters + biases,
        written=outputs,
        work=on_numbers(product + Work(adds=outputs if bias else 0), complex_valued=complex_valued),
        params=filters + biases,
        activations=outputs,
        gradient=None if complex_valued else gradient,
    )
