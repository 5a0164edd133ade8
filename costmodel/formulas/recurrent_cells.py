"""Recurrent cells: one step of a recurrent layer, whose state is the output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from costmodel.formulas import _recurrent_kernels as kernels
from costmodel.formulas._arguments import public
from costmodel.formulas._recurrent_gradients import of_cell
from costmodel.formulas.cost import LayerCost
from costmodel.formulas.recurrent import gru, lstm, rnn
from costmodel.quantities import Count


def _cell(
    layer: Callable[..., LayerCost],
    kind: str,
    *,
    hidden_size: Count,
    batch: Count,
    states: int,
    hx_given: bool,
    **options: Any,
) -> LayerCost:
    """One step of one layer: its states are its output. Zeros for a state that is not given serve for all states."""
    step = layer(hidden_size=hidden_size, length=1, batch=batch, **options)
    state = batch * hidden_size
    cost = replace(
        step,
        output_shape=(batch, hidden_size),
        read=batch * options["input_size"] + (states * state if hx_given else state) + step.params,
        written=states * state + (0 if hx_given else state),
    )
    sizes = kind, options["input_size"], hidden_size, batch, options["bias"], hx_given
    return replace(
        cost,
        gradient=None if options["complex_valued"] else partial(of_cell, *sizes),
        when_trained=kernels.of_cell(cost, *sizes, options["complex_valued"]),
    )


@public
def lstm_cell(
    *,
    input_size: Count,
    hidden_size: Count,
    batch: Count = 1,
    bias: bool = True,
    hx_given: bool = False,
    complex_valued: bool = False,
) -> LayerCost:
    """One step of an LSTM of H units, I inputs: (x, (h, c)) to (h', c'), h and c of batch x H.

    params = 4 H (I + H) + 8 H if bias
    macs = batch 4 H (I + H)
    flops = 2 macs + batch H (27 with biases, 19 without)
    memory_access = x + h + c + weights + h' + c'; where no state is given, one of zeros is written and read for both

    backward, saved: the derivative of each kernel of the step, and what those take
    Source: torch.nn.LSTMCell; a step of lstm.

    >>> lstm_cell(input_size=10, hidden_size=20, batch=3).macs                                # 3 x 4 x 20 x 30
    7200
    """
    return _cell(
        lstm,
        "lstm",
        input_size=input_size,
        hidden_size=hidden_size,
        batch=batch,
        states=2,
        bias=bias,
        hx_given=hx_given,
        complex_valued=complex_valued,
    )


@public
def gru_cell(
    *,
    input_size: Count,
    hidden_size: Count,
    batch: Count = 1,
    bias: bool = True,
    hx_given: bool = False,
    complex_valued: bool = False,
) -> LayerCost:
    """One step of a GRU of H units, I inputs: (x, h) to h', h of batch x H.

    params = 3 H (I + H) + 6 H if bias
    macs = batch 3 H (I + H)
    flops = 2 macs + batch H (21 with biases, 15 without)
    memory_access = x + h + weights + h'; a state that is not given is written as zeros first

    backward, saved: the derivative of each kernel of the step, and what those take
    Source: torch.nn.GRUCell; a step of gru.

    >>> gru_cell(input_size=10, hidden_size=20, batch=3, hx_given=True).memory_access         # 30 + 60 + 1920 + 60
    2070
    """
    return _cell(
        gru,
        "gru",
        input_size=input_size,
        hidden_size=hidden_size,
        batch=batch,
        states=1,
        bias=bias,
        hx_given=hx_given,
        complex_valued=complex_valued,
    )


@public
def rnn_cell(
    *,
    input_size: Count,
    hidden_size: Count,
    batch: Count = 1,
    nonlinearity: str = "tanh",
    bias: bool = True,
    hx_given: bool = False,
    complex_valued: bool = False,
) -> LayerCost:
    """One step of a plain recurrent layer of H units, I inputs: (x, h) to h', h of batch x H.

    params = H (I + H) + 2 H if bias
    macs = batch H (I + H)
    flops = 2 macs + batch H (4 with biases, 2 without)
    memory_access = x + h + weights + h'; a state that is not given is written as zeros first

    backward, saved: the derivative of each kernel of the step, and what those take
    Source: torch.nn.RNNCell; a step of rnn.

    >>> rnn_cell(input_size=10, hidden_size=20, batch=3, bias=False).flops                    # 2 x 3 x 600 + 2 x 60
    3720
    """
    return _cell(
        rnn,
        nonlinearity,
        input_size=input_size,
        hidden_size=hidden_size,
        batch=batch,
        nonlinearity=nonlinearity,
        states=1,
        bias=bias,
        hx_given=hx_given,
        complex_valued=complex_valued,
    )
