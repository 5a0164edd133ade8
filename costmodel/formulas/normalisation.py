"""Normalisations by mean and variance: batch, layer, group, instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from costmodel.formulas._arguments import as_shape, exact_quotient, public, require, require_divisible
from costmodel.formulas._gradients_of_norms import of_channels, of_groups, of_instances
from costmodel.formulas.cost import LayerCost, total
from costmodel.formulas.gradient import Extra, always
from costmodel.quantities import Count, Work, prod


def _standardise(*, elements: Count) -> Work:
    """Mean, variance and (x - mean) rstd of one group.

    Mean n - 1 adds and a division; variance n differences, n squares, n - 1 adds and a division; eps one add, one
    rsqrt; n products. The differences are made once.
    """
    n = elements
    return Work(adds=(n - 1) + n + (n - 1) + 1, divides=2, multiplies=n + n, transcendentals=1)


def _affine(*, elements: Count, weight: bool = True, bias: bool = True) -> Work:
    return Work(multiplies=elements if weight else 0, adds=elements if bias else 0)


def _moving_averages(*, channels: Count) -> Work:
    """running <- (1 - momentum) running + momentum batch's, twice; the variance also times m / (m - 1)."""
    return Work(multiplies=5 * channels, adds=2 * channels)


def _affine_params(*, channels: Count, affine: bool, bias: bool) -> Count:
    """A scale per channel where it is affine, and a shift where it has a bias too."""
    return (2 * channels if bias else channels) if affine else 0


def _batch_norm_kernel(
    *, channels: Count, elements: Count, affine: bool, bias: bool, tracked: bool, own_statistics: bool
) -> LayerCost:
    """The kernel under batch and instance normalisation: ``elements`` elements in ``channels`` channels."""
    work = Work(multiplies=elements, adds=elements)
    updated: Count = 0
    if own_statistics:
        updated = 2 * channels if tracked else 0
        if not (isinstance(elements, int) and elements == 0):  # the mean of nothing is no arithmetic
            work = _standardise(elements=exact_quotient(elements, channels)).times(channels)
            work = work + _affine(elements=elements, weight=affine, bias=affine and bias)
            work = work + (_moving_averages(channels=channels) if tracked else Work())
    params = _affine_params(channels=channels, affine=affine, bias=bias)
    return LayerCost(
        kind="norm",
        output_shape=(elements,),
        read=elements + params + (2 * channels if tracked else 0),
        written=elements + updated + (2 * channels if own_statistics else 0),
        work=work,
    )


@public
def batch_norm(
    *,
    channels: Count,
    size: Sequence[Count] = (),
    batch: Count = 1,
    affine: bool = True,
    bias: bool = True,
    track_running_stats: bool = True,
    training: bool = False,
) -> LayerCost:
    """Batch normalisation of N = batch channels prod(size) elements, C channels; ``size`` may be ().

    params = C if affine + C if bias too
    buffers = 2 C + 1 if tracked
    flops = 2 N at inference: a multiply and an add, for the statistics are constants there
    memory_access = x + w + b + y + 2 C if tracked

    With the batch's own statistics (training, or nothing tracked), per channel of m elements: 3 m - 1 adds, 2 m
    multiplies, 2 divisions, 1 rsqrt; m more for w, m for b; 2 C saved statistics are written. Training
    updates what is tracked: 7 C more operations, 2 C written, and the counter of batches, an add of its own.
    In a batch of 0 there is nothing to compute.
    backward, per channel, of y = (x - mean) r and d = w g: dx = r (d - mean(d) - y mean(d y)), 9 m + 1 flops and w r;
    of w sum(g y), of b sum(g), which that shares; with constant statistics dx = w r g, m + 2 flops and w r
    saved: x; the mean and r of each channel, of the batch's own statistics
    Source: Ioffe & Szegedy, arXiv:1502.03167, algorithms 1 and 2 (step 11).

    >>> batch_norm(channels=64, size=(112, 112)).flops
    1605632
    """
    require(channels=channels, size=size)
    require(batch=batch, least=0)
    shape = (batch, channels, *size)
    kernel = _batch_norm_kernel(
        channels=channels,
        elements=prod(shape),
        affine=affine,
        bias=bias,
        tracked=track_running_stats,
        own_statistics=training or not track_running_stats,
    )
    count = LayerCost(kind="norm", output_shape=(), read=1, written=1, work=Work(adds=1))
    steps = [count, kernel] if training and track_running_stats else [kernel]
    return replace(
        total(steps),
        output_shape=shape,
        output_size=tuple(size),
        params=_affine_params(channels=channels, affine=affine, bias=bias),
        buffers=2 * channels + 1 if track_running_stats else 0,
        gradient=partial(
            of_channels, channels, prod(shape), affine, affine and bias, training or not track_running_stats
        ),
    )


@public
def layer_norm(
    *, normalized_shape: Count | Sequence[Count], rows: Count = 1, affine: bool = True, bias: bool = True
) -> LayerCost:
    """Layer normalisation of ``rows`` (a count or a leading shape) of n elements, N in all.

    params = n if affine + n if bias too
    flops = rows (5 n + 2) + N if affine + N if bias too
    memory_access = x + w + b + y
    backward, of y = (x - mean) r and d = w g: dx = r (d - mean(d) - y mean(d y)), 9 N flops (10 with w); of w sum(g y)
    and of b sum(g) over the rows
    saved: x, and the mean and r of each row

    Source: Ba et al., arXiv:1607.06450, section 3, eq. 3.

    >>> layer_norm(normalized_shape=768, rows=(1, 197)).params
    1536
    """
    inner, leading = as_shape(normalized_shape), as_shape(rows)
    require(normalized_shape=inner)
    require(rows=leading, least=0)
    return _norm_of_groups(
        shape=(*leading, *inner),
        groups=prod(leading),
        group_size=prod(inner),
        weights=prod(inner) if affine else 0,
        biases=prod(inner) if affine and bias else 0,
        affine=affine,
        bias=affine and bias,
        reads_bias=True,
    )


@public
def group_norm(
    *,
    channels: Count,
    groups: Count,
    size: Sequence[Count] = (),
    batch: Count = 1,
    affine: bool = True,
    bias: bool = True,
) -> LayerCost:
    """Group normalisation: ``groups`` groups of channels in every sample.

    params = C if affine + C if bias too
    flops = 5 N + 2 batch groups + N if affine + N if bias too
    memory_access = x + w + b + y
    backward, saved: as those of layer_norm, by group instead of row

    Source: Wu & He, arXiv:1803.08494, section 3.1, eq. 7.

    >>> group_norm(channels=64, groups=32, size=(56, 56)).flops == 7 * 64 * 56 * 56 + 2 * 32
    True
    """
    require(channels=channels, groups=groups, batch=batch, size=size)
    require_divisible(channels=channels, by="groups", divisor=groups)
    shape = (batch, channels, *size)
    return _norm_of_groups(
        shape=shape,
        groups=batch * groups,
        group_size=exact_quotient(channels, groups) * prod(size),
        weights=channels if affine else 0,
        biases=channels if affine and bias else 0,
        affine=affine,
        bias=affine and bias,
        spatial_size=tuple(size),
    )


def _norm_of_groups(
    *,
    shape: tuple[Count, ...],
    groups: Count,
    group_size: Count,
    weights: Count,
    biases: Count,
    affine: bool,
    bias: bool,
    spatial_size: tuple[Count, ...] = (),
    reads_bias: bool = False,
) -> LayerCost:
    """``reads_bias``: whether torch hands the bias to the kernel of the gradients, which has no use for it."""
    elements = prod(shape)
    return LayerCost(
        kind="norm",
        output_shape=shape,
        output_size=spatial_size,
        read=elements + weights + biases,
        written=elements,
        work=_standardise(elements=group_size).times(groups) + _affine(elements=elements, weight=affine, bias=bias),
        params=weights + biases,
        gradient=partial(of_groups, groups, group_size, weights, biases, affine, bias, reads_bias),
    )


@public
def instance_norm(
    *,
    channels: Count,
    size: Sequence[Count],
    batch: Count = 1,
    affine: bool = False,
    bias: bool = True,
    track_running_stats: bool = False,
    training: bool = False,
) -> LayerCost:
    """Instance normalisation: a group norm with one channel per group.

    params = C if affine + C if bias too
    buffers = 2 C + 1 if tracked
    flops = 5 N + 2 batch C + N if affine + N if bias too; 2 N where tracked statistics are used (inference)
    flops of the moving averages, in training and where tracked: their mean over the batch, and the averages
    memory_access = x + w + b + y, + the statistics read where tracked, + written in training
    backward: that of a batch norm with a channel for each sample and channel, whose gradients of w and b are then added
    up over the samples: (batch - 1) C adds each
    saved: as batch_norm, and w and the tracked statistics, copied for each sample

    Source: Ulyanov et al., arXiv:1607.08022, section 2, eq. 2; torch.nn.InstanceNorm2d for tracked statistics.

    >>> instance_norm(channels=3, size=(4, 4)).memory_access
    96
    """
    require(channels=channels, batch=batch, size=size)
    shape = (batch, channels, *size)
    elements = prod(shape)
    weights = _affine_params(channels=channels, affine=affine, bias=bias)
    tracked = 2 * channels if track_running_stats else 0
    updates = training and track_running_stats
    kernel = _batch_norm_kernel(
        channels=batch * channels,
        elements=elements,
        affine=affine,
        bias=bias,
        tracked=track_running_stats,
        own_statistics=training or not track_running_stats,
    )
    # The statistics of a batch's samples are averaged, both of them.
    averages = Work(adds=2 * channels * (batch - 1), divides=2 * channels) if updates else Work()
    # A batch norm of batch x C channels, of which each parameter and statistic is repeated for each sample.
    repeated = int(affine) + int(affine and bias) + (2 if track_running_stats else 0)
    own_statistics = training or not track_running_stats
    rows = batch * channels
    extra = Extra(read=rows * repeated, written=rows * (repeated + (2 if own_statistics else 0)))
    if updates:  # those of each sample, which are averaged and then copied
        extra += Extra(read=2 * rows + tracked, written=2 * rows + tracked)
    return LayerCost(
        kind="norm",
        output_shape=shape,
        output_size=tuple(size),
        read=elements + weights + tracked,
        written=elements + (tracked if updates else 0),
        work=kernel.work + averages,
        params=weights,
        buffers=tracked + 1 if track_running_stats else 0,
        gradient=partial(
            of_instances,
            batch,
            channels,
            elements,
            affine,
            affine and bias,
            own_statistics,
            track_running_stats,
        ),
        when_trained=partial(always, extra),
    )
