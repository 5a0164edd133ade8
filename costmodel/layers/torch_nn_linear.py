"""Linear layers, whose kernels in a training step depend on how their input lies in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from costmodel import formulas as f
from costmodel.graph import TensorSpec
from costmodel.layers.names import nn
from costmodel.layers.registry import Call, add

if TYPE_CHECKING:
    from costmodel.formulas import BackwardCost, LayerCost, Needs
    from costmodel.formulas.gradient import Extra


def _linear(call: Call) -> LayerCost:
    cost = f.linear(
        in_features=call["in_features"], out_features=call["out_features"], bias=call["bias"], rows=call.shape[:-1],
        complex_valued=call.complex_valued,
    )  # fmt: skip
    x = call.inputs[0]
    if x.is_contiguous or len(x.shape) == 2:
        return cost
    # A product and, by itself, the addition of the bias.
    copied = 0 if _is_even(x, last=1) else x.size, 0 if _is_even(x, last=2) else x.size
    trained = partial(_of_part, cost.written if call["bias"] else 0, *copied)
    if len(x.shape) == 1:  # what arrives is the bias's gradient, and not added up
        return replace(cost, gradient=partial(_of_vector, cost.backward), when_trained=trained)
    return replace(cost, when_trained=trained)


def _is_even(x: TensorSpec, *, last: int) -> bool:
    """Whether all axes but so many become one without a copy: what they count lies at one distance."""
    assert x.strides is not None
    leading = [(n, step) for n, step in zip(x.shape[:-last], x.strides[:-last], strict=True) if n != 1]
    return all(outer == n * inner for (_, outer), (n, inner) in pairwise(leading))


def _of_part(added: int, for_one: int, for_several: int, needs: Needs) -> Extra:
    """For the gradient of its weight, it is one product, and else one for each matrix: what these copy before."""
    copied = for_one if needs.is_folded else for_several
    from costmodel.formulas.gradient import Extra

    return Extra(read=added + copied, written=added + copied)


def _of_vector(backward: Callable[..., BackwardCost], needs: Needs) -> BackwardCost:
    return backward(inputs=needs.inputs, weight=needs.weight, bias=False)


add(nn.Linear, hyper="in_features out_features", optional_params="weight bias", formula=_linear)
