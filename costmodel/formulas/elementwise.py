"""Elementwise layers, and layers that only move elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from costmodel.formulas._arguments import as_shape, lesser, public, require
from costmodel.formulas._complex_numbers import on_numbers
from costmodel.formulas.cost import NO_WORK, LayerCost
from costmodel.formulas.gradient import NOTHING, BackwardCost, Extra, Gradient, Needs, Saved, always, free, of_input
from costmodel.quantities import Count, Work, prod


def pointwise_kernel(
    kind: str,
    shape: Sequence[Count],
    *,
    per_element: Work = NO_WORK,
    reads: Count,
    writes: Count | None = None,
    gradient: Gradient | None = None,
) -> LayerCost:
    """One kernel with an output of ``shape``; it writes each element once unless ``writes`` is given."""
    shape = as_shape(shape)
    require(shape=shape)
    elements = prod(shape)
    return LayerCost(
        kind=kind,
        output_shape=shape,
        output_size=shape[2:],
        read=reads,
        written=elements if writes is None else writes,
        work=per_element.times(elements),
        gradient=gradient,
    )


@public
def copy(*, shape: Sequence[Count]) -> LayerCost:
    """A copy: ``contiguous`` where it is not, ``clone``.

    memory_access = 2 elements
    backward: what arrives is the gradient, nothing moves
    saved: nothing

    >>> copy(shape=(2, 8)).memory_access
    32
    """
    return pointwise_kernel("view", shape, reads=prod(as_shape(shape)), gradient=free)


@public
def view(*, shape: Sequence[Count], sliced_from: Count | None = None) -> LayerCost:
    """Another shape of the same storage (flatten, transpose, slice, identity): nothing moves.

    Of a slice, ``sliced_from`` is how many elements the whole has.

    memory_access = 0
    backward: what arrives, viewed; of a slice of n from N elements, copied into zeros: n read, N written
    saved: nothing

    >>> view(shape=(1, 512)).memory_access
    0
    >>> view(shape=(1, 256), sliced_from=512).backward().memory_access
    768
    """
    elements = prod(as_shape(shape))
    gradient: Gradient = free
    if sliced_from is not None:
        moves = lesser(sliced_from - elements, 1)  # 0 where the slice is the whole
        gradient = partial(of_input, BackwardCost(read=moves * elements, written=moves * sliced_from))
    return pointwise_kernel("view", shape, reads=0, writes=0, gradient=gradient)


@public
def add(*, shape: Sequence[Count], complex_valued: bool = False) -> LayerCost:
    """The sum of two tensors of ``shape``: a residual.

    flops = elements; complex-valued: 2 elements
    memory_access = 3 elements
    backward: what arrives is the gradient of both, nothing moves
    saved: nothing

    Source: He et al., ResNet, arXiv:1512.03385, section 3.2, eq. 1.

    >>> add(shape=(1, 256, 56, 56)).memory_access
    2408448
    """
    one = on_numbers(Work(adds=1), complex_valued=complex_valued)
    return pointwise_kernel("add", shape, per_element=one, reads=2 * prod(as_shape(shape)), gradient=free)


@public
def multiply(
    *, shape: Sequence[Count], other: Sequence[Count] | None = None, complex_valued: bool = False
) -> LayerCost:
    """The product of a tensor of ``shape`` and one of the same shape, or of ``other`` that is broadcast to it.

    flops = elements; complex-valued: 6 elements
    memory_access = 2 elements + other's elements
    backward: of each, a product of what arrives and the other one; of ``other`` where it is broadcast, N elements to M,
    also the sum: N - M adds, N read, M written
    saved: for the gradient of each, the other one

    Source: the gate of Hu et al., Squeeze-and-Excitation, arXiv:1709.01507, eq. 4.

    >>> multiply(shape=(1, 64, 7, 7), other=(1, 64, 1, 1)).memory_access
    6336
    """
    n, m = prod(as_shape(shape)), prod(as_shape(shape if other is None else other))
    one = on_numbers(Work(multiplies=1), complex_valued=complex_valued)
    gradient = partial(_multiply_backward, n, m, complex_valued)
    return pointwise_kernel("multiply", shape, per_element=one, reads=n + m, gradient=gradient)


def _multiply_backward(n: Count, m: Count, complex_valued: bool, needs: Needs) -> BackwardCost:
    product = on_numbers(Work(multiplies=n), complex_valued=complex_valued)
    cost = NOTHING
    if needs.input(0):
        cost += BackwardCost(read=n + m, written=n, work=product, saved=(Saved("input 1", m),))
    if needs.input(1):
        cost += BackwardCost(read=2 * n, written=n, work=product, saved=(Saved("input 0", n),))
        summed = lesser(n - m, 1)  # 0 where nothing is broadcast, and else 1
        adds = on_numbers(Work(adds=n - m), complex_valued=complex_valued)
        cost += BackwardCost(read=summed * n, written=summed * m, work=adds)
    return cost


@public
def concat(*, channels: Sequence[Count], size: Sequence[Count], batch: Count = 1) -> LayerCost:
    """Tensors with these channels, one behind the other.

    memory_access = 2 batch sum(channels) prod(size)
    backward: of each, a slice of what arrives, nothing moves
    saved: nothing

    Source: Szegedy et al., GoogLeNet, arXiv:1409.4842, section 4.

    >>> concat(channels=(64, 128, 32, 32), size=(28, 28)).output_shape
    (1, 256, 28, 28)
    """
    require(channels=channels, size=size, batch=batch)
    shape = (batch, sum(channels), *size)
    return pointwise_kernel("concat", shape, reads=prod(shape), gradient=free)


@public
def feature_dropout(*, shape: Sequence[Count], planes: Count, training: bool = False, p: float = 0.5) -> LayerCost:
    """Dropout of whole planes, ``planes`` of them in a tensor of N elements: nothing at inference.

    flops = planes + N in training: the drawn mask over 1 - p, and its product with x
    memory_access = planes + 2 planes + (N + planes + N) in training: the draw, the division, the product
    backward: the product of what arrives and the mask: N multiplies, N + planes read, N written
    saved: in training, the mask over 1 - p, a number for each plane

    Source: Tompson et al., arXiv:1411.4280, section 3.3 (SpatialDropout); torch.nn.Dropout2d.

    >>> feature_dropout(shape=(2, 8, 4, 4), planes=16, training=True).flops
    272
    """
    if not training or p == 0:
        return pointwise_kernel("other", shape, reads=0, writes=0, gradient=free)
    product = pointwise_kernel("other", shape, reads=0, gradient=_masked(prod(as_shape(shape)), planes))
    elements = product.written
    return replace(
        product,
        read=planes + elements + planes,
        written=2 * planes + elements,
        work=Work(divides=planes, multiplies=elements),
    )


@public
def dropout(*, shape: Sequence[Count], training: bool = False, p: float = 0.5, inplace: bool = False) -> LayerCost:
    """Dropout: nothing at inference; in training a mask and a scale, both multiplied.

    In place there is no one kernel for it: the mask is drawn, divided by 1 - p, and multiplied, each by itself.

    flops = 2 elements in training
    memory_access = x + y + mask = 3 elements in training, 0 otherwise; in place, as in a training step, 1 + 2 + 3 = 6
    elements
    backward: the product of what arrives and the mask: N multiplies, 2 N read, N written
    saved: in training, the mask over 1 - p, a number for each element

    Source: Srivastava et al., JMLR 15 (2014), section 4; the draw of the mask is not arithmetic.

    >>> dropout(shape=(1, 4096), training=True).memory_access, dropout(shape=(1, 4096)).memory_access
    (12288, 0)
    """
    if not training or p == 0:
        return pointwise_kernel("other", shape, reads=0, writes=0, gradient=free)
    n = prod(as_shape(shape))
    gradient = _masked(n, n)
    if inplace:
        work = Work(multiplies=1, divides=1)
        return pointwise_kernel("other", shape, per_element=work, reads=3 * n, writes=3 * n, gradient=gradient)
    kernel = pointwise_kernel("other", shape, per_element=Work(multiplies=2), reads=n, writes=2 * n, gradient=gradient)
    return replace(kernel, when_trained=partial(always, Extra(read=2 * n, written=n)))


def _masked(elements: Count, mask: Count) -> Gradient:
    """The gradient of a product with a drawn mask, which is kept."""
    product = BackwardCost(
        read=elements + mask, written=elements, work=Work(multiplies=elements), saved=(Saved("mask", mask),)
    )
    return partial(of_input, product)
