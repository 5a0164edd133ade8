"""Forward and backward of each layer of a training step, derived twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from costmodel.crosscheck import CrossCheck, QuantityCheck, check, closed_form
from costmodel.formulas.gradient import Needs
from costmodel.pricing import Pricing
from costmodel.profile import Coverage
from costmodel.training.layers import StepLayer


def step_check(forward: Pricing, layers: tuple[StepLayer, ...], coverage: Coverage) -> CrossCheck:
    """The cross-check of the forward, and of the backward pass of every layer whose closed form has one.

    A closed form of a forward is that of the forward alone. Where autograd has the layer make something for the
    backward pass, as the indices of a max pooling, the forward moves more: there its traffic is not compared.
    """
    found = check(forward)
    moves_more = {layer.name for layer in layers if layer.makes_for_backward}
    alike = (c for c in found.comparisons if c.quantity != "memory_access" or c.name not in moves_more)
    backward = (comparison for layer in layers for comparison in _backward(forward, layer))
    return replace(found, comparisons=(*alike, *backward), unknown=coverage.unknown, bounds=coverage.bounds)


def _backward(forward: Pricing, x: StepLayer) -> Iterator[QuantityCheck]:
    layer = x.forward
    if layer is None or layer.module is None or layer.module.layer is None or layer.module.layer.gradients is None:
        return
    cost = closed_form(forward, layer)
    if cost is None or cost.gradient is None:
        return
    inputs, weight, bias = layer.module.layer.gradients
    derived = cost.gradient(Needs(inputs=inputs if len(inputs) > 1 else any(inputs), weight=weight, bias=bias))
    itemsize = next((t.itemsize for t in layer.inputs), 4)
    for quantity, by_formula, traced in (
        ("backward macs", derived.macs, x.backward_work.macs),
        ("backward flops", derived.flops, x.backward_work.flops),
        ("backward memory access", derived.memory_access, x.compared_traffic),
        ("saved bytes", derived.saved_bytes(itemsize), x.saved_bytes),
    ):
        yield QuantityCheck(layer.name, layer.type, quantity, by_formula, traced, bool(by_formula == traced))
