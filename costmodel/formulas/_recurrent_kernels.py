"""The kernels of recurrent layers in a training step, where torch takes them apart above autograd.

A step of a cell is that of ``_recurrent_gradients``: its kernels are run here for what the forward moves. Only a GRU's
arithmetic differs from the one kernel's: h' = (h - n) z + n has one product, (1 - z) n + z h has two.
"""

from __future__ import annotations

from functools import partial

from costmodel.formulas._arguments import is_one
from costmodel.formulas._complex_numbers import on_numbers
from costmodel.formulas._recurrent_gradients import GATES, Recurrent, run_cell
from costmodel.formulas.cost import LayerCost
from costmodel.formulas.elementwise import dropout
from costmodel.formulas.gradient import Extra, Needs, WhenTrained
from costmodel.formulas.products import linear, of_rows_apart
from costmodel.quantities import Count, Work


def _moved(read: Count, written: Count) -> Extra:
    return Extra(read=read, written=written)


def _copied(elements: Count) -> Extra:
    return _moved(elements, elements)


def _of(cost: LayerCost) -> Extra:
    """What a kernel moves."""
    return _moved(cost.read, cost.written)


def _more(trained: Extra, cost: LayerCost, cell: str, units: Count, complex_valued: bool) -> Extra:
    """What all kernels move, less what one does; a GRU's product less, for each unit and step."""
    less = on_numbers(Work(multiplies=units), complex_valued=complex_valued) if cell == "gru" else Work()
    return Extra(read=trained.read - cost.read, written=trained.written - cost.written, work=less.times(-1))


# -- cells ------------------------------------------------------------------------------------------------------------


def of_cell(
    cost: LayerCost, cell: str, input_size: Count, hidden_size: Count, batch: Count, bias: bool, hx_given: bool,
    complex_valued: bool,
) -> WhenTrained:  # fmt: skip
    """What a step by itself costs more than as one kernel."""
    return partial(_of_cell, cost, cell, input_size, hidden_size, batch, bias, hx_given, complex_valued)


def _of_cell(
    cost: LayerCost, cell: str, input_size: Count, hidden_size: Count, batch: Count, bias: bool, hx_given: bool,
    complex_valued: bool, needs: Needs,
) -> Extra:  # fmt: skip
    k, (y, _) = run_cell(cell, input_size, hidden_size, batch, bias, hx_given, needs)
    state = batch * hidden_size
    trained = _of(k.cost(y)) + _moved(0, 0 if hx_given else state)
    return _more(trained, cost, cell, state, complex_valued)


# -- layers -----------------------------------------------------------------------------------------------------------


def of_layers(cost: LayerCost, layers: Recurrent) -> WhenTrained:
    """What all steps, layers and directions cost more than as one kernel."""
    return partial(_of_layers, cost, layers)


def _of_layers(cost: LayerCost, r: Recurrent, needs: Needs) -> Extra:
    rows, cells = r.length * r.batch, r.num_layers * r.directions
    trained = _moved(0, 0)
    for size in (r.shown, r.hidden_size)[: 2 if r.cell == "lstm" else 1]:
        states = cells * r.batch * size
        trained += _moved(0, 0 if r.hx_given else states) + _copied(states)  # zeros; the last states in one
    if r.is_fused and _is_transposed(r):
        trained += _copied(rows * r.input_size)
    width = r.input_size
    for layer in range(r.num_layers):
        one = _at_once(r, width) if r.is_fused else _by_steps(r, layer, width, needs)
        trained += one.times(r.directions)
        width = r.directions * r.shown
        if r.directions > 1:
            trained += _copied(rows * width)
        if r.dropped and layer < r.num_layers - 1:
            trained += _of(dropout(shape=(rows, width), training=True, inplace=True))
    return _more(trained, cost, r.cell, rows * cells * r.hidden_size, r.complex_valued)


def _is_transposed(r: Recurrent) -> bool:
    """Whether steps do not follow each other in the memory of the input."""
    return r.batch_first and not (is_one(batch=r.batch) or is_one(length=r.length))


def _at_once(r: Recurrent, width: Count) -> Extra:
    """By oneDNN, which takes zeros in the place of biases that there are none of."""
    h, rows = r.hidden_size, r.length * r.batch
    weights, state = 4 * h * (width + h), r.batch * h
    biases = 2 * 4 * h if r.bias else 0
    return _moved(rows * width + weights + biases + 2 * state, rows * h + 2 * state + (0 if r.bias else weights))


def _by_steps(r: Recurrent, layer: int, width: Count, needs: Needs) -> Extra:
    """The input's product of all steps at once, each step, and what all have shown in one."""
    of_x, of_h, of_c = r.of_inputs(needs)
    learnt = needs.weight or (needs.bias and r.bias)
    flows = learnt or of_x or (layer > 0 and (of_h or of_c))
    rows, gates = r.length * r.batch, GATES[r.cell] * r.hidden_size
    product = linear(in_features=width, out_features=gates, bias=r.bias, rows=rows)
    found = _of(product) + _copied(rows * r.shown)
    if layer == 0 and _is_transposed(r):
        found += of_rows_apart(rows * width, rows * gates, r.bias, needs)
    after = learnt or of_x or of_h or of_c
    return found + _step(r, flows, (of_h, of_c), needs) + _step(r, flows, (after, after), needs).times(r.length - 1)


def _step(r: Recurrent, of_x: bool, of_states: tuple[bool, bool], needs: Needs) -> Extra:
    k, y, _ = r.run_step(of_x, of_states, needs)
    return _of(k.cost(y))
