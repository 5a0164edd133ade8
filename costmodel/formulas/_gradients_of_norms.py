"""Backward passes of normalisations by mean and variance, from the mean and the inverse deviation that were kept.

Of n elements x with the mean m and the inverse deviation r, y = (x - m) r and d = w g:
dx = r (d - mean(d) - y mean(d y)). The gradient of w is the sum of g y, that of b the sum of g.
"""

from __future__ import annotations

from costmodel.formulas._arguments import exact_quotient, is_one
from costmodel.formulas.gradient import NOTHING, BackwardCost, Needs, Saved
from costmodel.quantities import Count, Work


def _normalised(n: Count) -> Work:
    """y again."""
    return Work(adds=n, multiplies=n)


def _dx(n: Count) -> Work:
    """Of n elements, from d, y and two sums: both means, and for each element two products and two differences."""
    return Work(divides=2, multiplies=2 * n, adds=2 * n)


def of_channels(
    channels: Count, elements: Count, weight: bool, bias: bool, own_statistics: bool, needs: Needs
) -> BackwardCost:
    """Batch normalisation: w and b have an element for each channel."""
    of_input, of_weight, of_bias = needs.any_input, weight and needs.weight, bias and needs.bias
    if not (of_input or of_weight or of_bias) or (isinstance(elements, int) and elements == 0):
        return NOTHING
    work = Work()
    n = exact_quotient(elements, channels)
    products = _normalised(n) + Work(multiplies=n, adds=n - 1)
    weighted = Work(multiplies=1 if weight else 0)  # w r, once for a channel
    if own_statistics:
        # w is one for the channel, so that the sums of d are those of g.
        work += products if of_input or of_weight else Work()
        work += Work(adds=n - 1) if of_input or of_bias else Work()
        work += _dx(n) + weighted if of_input else Work()
    else:
        work += Work(adds=1, transcendentals=1) if of_input or of_weight else Work()  # r
        work += Work(multiplies=n) + weighted if of_input else Work()
        work += products if of_weight else Work()
        work += Work(adds=n - 1) if of_bias else Work()
    work = work.times(channels)
    statistics = (Saved("statistics", 2 * channels),) if own_statistics else ()
    return BackwardCost(
        read=2 * elements + (channels if weight else 0) + 2 * channels,
        written=(elements if of_input else 0) + channels * (of_weight + of_bias),
        work=work,
        saved=(Saved("input", elements), *statistics),
    )


def of_groups(
    groups: Count,
    group_size: Count,
    weights: Count,
    biases: Count,
    weight: bool,
    bias: bool,
    reads_bias: bool,
    needs: Needs,
) -> BackwardCost:
    """Layer and group normalisation: a mean and a deviation for each group, w and b shared by elements of several."""
    of_input, of_weight, of_bias = needs.any_input, weight and needs.weight, bias and needs.bias
    if not (of_input or of_weight or of_bias):
        return NOTHING
    elements = groups * group_size
    work = _normalised(elements) if of_input or of_weight else Work()
    if of_input:
        work += Work(multiplies=elements if weight else 0)  # d = w g
        work += Work(multiplies=elements, adds=2 * (elements - groups))  # the sums of d y and of d
        work += _dx(group_size).times(groups)
    if of_weight:
        work += Work(multiplies=elements, adds=elements - weights)
    if of_bias:
        work += Work(adds=elements - biases)
    if isinstance(elements, int) and elements == 0:
        work = Work()  # sums of nothing are no arithmetic
    return BackwardCost(
        read=2 * elements + 2 * groups + weights + (biases if reads_bias else 0),
        written=(elements if of_input else 0) + (weights if of_weight else 0) + (biases if of_bias else 0),
        work=work,
        saved=(Saved("input", elements), Saved("statistics", 2 * groups)),
    )


def of_instances(
    batch: Count,
    channels: Count,
    elements: Count,
    weight: bool,
    bias: bool,
    own_statistics: bool,
    tracked: bool,
    needs: Needs,
) -> BackwardCost:
    """Instance normalisation: a batch norm of batch times channels, for which w, b and the statistics are repeated."""
    rows = batch * channels
    cost = of_channels(rows, elements, weight, bias, own_statistics, needs)
    if not cost.saved:
        return cost
    for summed in (weight and needs.weight, bias and needs.bias):
        if summed and not is_one(batch=batch):
            cost += BackwardCost(read=rows, written=channels, work=Work(adds=rows - channels))
    repeated = (1 if weight else 0) + (2 if tracked else 0)
    return cost + BackwardCost(saved=(Saved("parameters for each sample", repeated * rows),) if repeated else ())
