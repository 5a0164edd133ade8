"""Recurrent layers, each call one kernel: LSTM, GRU and the plain RNN; stacked, both ways, projected."""

from __future__ import annotations

from dataclasses import replace

from costmodel.formulas import _recurrent_kernels as kernels
from costmodel.formulas._arguments import public, require, require_one_of
from costmodel.formulas._complex_numbers import TANH, on_numbers
from costmodel.formulas._recurrent_gradients import Recurrent
from costmodel.formulas.cost import NO_WORK, LayerCost
from costmodel.quantities import Count, Work


def _sigmoids(count: Count) -> Work:
    return Work(transcendentals=count, adds=count, divides=count)


def _recurrent(
    *,
    kind: str,
    gates: int,
    cell: Work,
    tanhs: int,
    input_size: Count,
    hidden_size: Count,
    proj_size: Count,
    states: int,
    num_layers: Count,
    bias: bool,
    bidirectional: bool,
    length: Count,
    batch: Count,
    batch_first: bool,
    hx_given: bool,
    training: bool,
    dropout: float,
    complex_valued: bool,
    onednn: bool = False,
) -> LayerCost:
    """What the three have in common.

    ``cell`` is the work of one cell and step beside its products and its ``tanhs``, so many a unit; the second of the
    ``states``, LSTM's c, is never projected.
    """
    require(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers, length=length, batch=batch)
    require(proj_size=proj_size, least=0)
    projected = not (isinstance(proj_size, int) and proj_size == 0)
    shown = proj_size if projected else hidden_size
    directions = 2 if bidirectional else 1

    recurrent_weights = gates * hidden_size * shown + (hidden_size * shown if projected else 0)
    first = directions * (gates * hidden_size * input_size + recurrent_weights)
    later = directions * (gates * hidden_size * directions * shown + recurrent_weights)
    weights = first + (num_layers - 1) * later
    cells = num_layers * directions
    biases = cells * 2 * gates * hidden_size if bias else 0
    # The two halves, W x and W h, are added gate by gate, and each half has a bias of its own.
    sums = (3 if bias else 1) * gates * hidden_size

    steps = length * batch
    between = steps * directions * shown * (num_layers - 1) if training and dropout > 0 else 0
    kept = cells * batch * (shown + (hidden_size if states == 2 else 0))
    outputs = steps * directions * shown
    leading = (batch, length) if batch_first else (length, batch)
    cost = LayerCost(
        kind="recurrent",
        output_shape=(*leading, directions * shown),
        read=steps * input_size + kept + weights + biases,
        written=outputs + kept + (0 if hx_given else kept),
        work=on_numbers(
            Work(macs=steps * weights, multiplies=2 * between) + (Work(adds=sums) + cell).times(steps * cells),
            complex_valued=complex_valued,
        )
        + on_numbers(
            Work(transcendentals=tanhs * hidden_size * steps * cells), complex_valued=complex_valued, function=TANH
        ),
        params=weights + biases,
    )
    if not isinstance(num_layers, int):
        return cost
    layers = Recurrent(
        cell=kind,
        input_size=input_size,
        hidden_size=hidden_size,
        shown=shown,
        projected=projected,
        num_layers=num_layers,
        bias=bias,
        directions=directions,
        length=length,
        batch=batch,
        batch_first=batch_first,
        hx_given=hx_given,
        dropped=training and dropout > 0,
        complex_valued=complex_valued,
        is_fused=onednn and not (projected or complex_valued),
    )
    return replace(cost, gradient=None if complex_valued else layers, when_trained=kernels.of_layers(cost, layers))


@public
def lstm(
    *,
    input_size: Count,
    hidden_size: Count,
    length: Count,
    batch: Count = 1,
    num_layers: Count = 1,
    bias: bool = True,
    bidirectional: bool = False,
    proj_size: Count = 0,
    batch_first: bool = False,
    hx_given: bool = False,
    training: bool = False,
    dropout: float = 0.0,
    complex_valued: bool = False,
    onednn: bool = True,
) -> LayerCost:
    """A long short-term memory of H cells over T steps; I inputs, P projected outputs (H where there is no projection).

    params = 4 H (I + P) + H P if projected + 8 H if bias, per layer and direction; a later layer's I is directions P
    macs = T batch (4 H (I + P) + H P if projected), likewise
    flops = 2 macs + T batch H (27 with biases, 19 without), likewise
    memory_access = x + h0 + c0 + weights + y + h_n + c_n, and h0 + c0 again where they are made, not given

    Per cell and step: 4 sums of halves, 8 biases, 3 sigmoids of 3, 2 tanh, 3 multiplies, 1 add.
    Complex-valued: each mac is 4, a sum 2 flops, a product 6, a sigmoid 18, a tanh 9.
    backward, by oneDNN a layer and direction at once, all gradients whichever are asked for: macs = 2 T batch
    4 H (I + H), 23 operations a cell and step besides; with a projection, or where oneDNN does not compute in the
    dtype (``onednn=False``: double precision), step by step, each kernel's derivative
    saved: x, the states before, all that is shown, the last states, and oneDNN's workspace (in single precision; of
    release 3.12); step by step x, and of each step its states, gates and tanh(c)
    Source: Hochreiter & Schmidhuber 1997; Sak et al., arXiv:1402.1128 (projection); torch.nn.LSTM for two biases.

    >>> lstm(input_size=10, hidden_size=20, num_layers=2, length=5, batch=3).params
    5920
    """
    h = hidden_size
    return _recurrent(
        kind="lstm",
        gates=4,
        cell=_sigmoids(3 * h) + Work(multiplies=3 * h, adds=h),
        tanhs=2,
        input_size=input_size,
        hidden_size=hidden_size,
        proj_size=proj_size,
        states=2,
        num_layers=num_layers,
        bias=bias,
        bidirectional=bidirectional,
        length=length,
        batch=batch,
        batch_first=batch_first,
        hx_given=hx_given,
        training=training,
        dropout=dropout,
        complex_valued=complex_valued,
        onednn=onednn,
    )


@public
def gru(
    *,
    input_size: Count,
    hidden_size: Count,
    length: Count,
    batch: Count = 1,
    num_layers: Count = 1,
    bias: bool = True,
    bidirectional: bool = False,
    batch_first: bool = False,
    hx_given: bool = False,
    training: bool = False,
    dropout: float = 0.0,
    complex_valued: bool = False,
) -> LayerCost:
    """A gated recurrent unit of H cells over T steps, I inputs.

    params = 3 H (I + H) + 6 H if bias, per layer and direction; a later layer's I is directions H
    macs = T batch 3 H (I + H), likewise
    flops = 2 macs + T batch H (21 with biases, 15 without), likewise
    memory_access = x + h0 + weights + y + h_n, and h0 again where it is made, not given

    Per cell and step: 3 sums of halves, 6 biases, 2 sigmoids of 3, 1 tanh, r times its half, h' = (1 - z) n + z h of 4.
    Complex-valued: each mac is 4, a sum 2 flops, a product 6, a sigmoid 18, a tanh 9.
    backward, step by step, the derivative of each kernel: of both products two, for what they multiply and the weights;
    those of the input all steps at once
    saved: x, of a batch that comes first once a direction, and of each step its state, its gates, n, h - n and the
    state's part of n
    Source: Cho et al., arXiv:1406.1078, section 2.3; torch.nn.GRU for the place of r.

    >>> gru(input_size=10, hidden_size=20, length=5, batch=3).params
    1920
    """
    h = hidden_size
    return _recurrent(
        kind="gru",
        gates=3,
        cell=_sigmoids(2 * h) + Work(multiplies=3 * h, adds=2 * h),
        tanhs=1,
        input_size=input_size,
        hidden_size=hidden_size,
        proj_size=0,
        states=1,
        num_layers=num_layers,
        bias=bias,
        bidirectional=bidirectional,
        length=length,
        batch=batch,
        batch_first=batch_first,
        hx_given=hx_given,
        training=training,
        dropout=dropout,
        complex_valued=complex_valued,
    )


@public
def rnn(
    *,
    input_size: Count,
    hidden_size: Count,
    length: Count,
    batch: Count = 1,
    nonlinearity: str = "tanh",
    num_layers: Count = 1,
    bias: bool = True,
    bidirectional: bool = False,
    batch_first: bool = False,
    hx_given: bool = False,
    training: bool = False,
    dropout: float = 0.0,
    complex_valued: bool = False,
) -> LayerCost:
    """A plain recurrent layer, h' = tanh(W x + b + U h + c) or relu, of H cells over T steps, I inputs.

    params = H (I + H) + 2 H if bias, per layer and direction; a later layer's I is directions H
    macs = T batch H (I + H), likewise
    flops = 2 macs + T batch H (4 with biases, 2 without), likewise
    memory_access = x + h0 + weights + y + h_n, and h0 again where it is made, not given

    Complex-valued, with tanh: each mac is 4, a sum 2 flops, a tanh 9.
    backward: step by step, as in gru
    saved: x, as in gru, the state before, and each step's state
    Source: Elman 1990; torch.nn.RNN.

    >>> rnn(input_size=10, hidden_size=20, length=5, batch=3).macs
    9000
    """
    require_one_of(nonlinearity=nonlinearity, choices=("tanh", "relu"))
    cell, tanhs = (Work(compares=hidden_size), 0) if nonlinearity == "relu" else (NO_WORK, 1)
    return _recurrent(
        kind=nonlinearity,
        gates=1,
        cell=cell,
        tanhs=tanhs,
        input_size=input_size,
        hidden_size=hidden_size,
        proj_size=0,
        states=1,
        num_layers=num_layers,
        bias=bias,
        bidirectional=bidirectional,
        length=length,
        batch=batch,
        batch_first=batch_first,
        hx_given=hx_given,
        training=training,
        dropout=dropout,
        complex_valued=complex_valued,
    )
