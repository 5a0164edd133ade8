"""Recurrent cells: one step of their layers, run on counted numbers, and what it reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from costmodel import formulas as f
from tests.formulas.oracles import Tally, elements, values
from tests.formulas.test_sequences import cell_step

CELLS: dict[str, tuple[type[nn.RNNCellBase], type[nn.RNNBase], Callable[..., f.LayerCost], dict[str, Any]]] = {
    "lstm": (nn.LSTMCell, nn.LSTM, f.lstm_cell, {}),
    "lstm, no bias": (nn.LSTMCell, nn.LSTM, f.lstm_cell, {"bias": False}),
    "gru": (nn.GRUCell, nn.GRU, f.gru_cell, {}),
    "gru, no bias": (nn.GRUCell, nn.GRU, f.gru_cell, {"bias": False}),
    "rnn": (nn.RNNCell, nn.RNN, f.rnn_cell, {}),
    "rnn, relu": (nn.RNNCell, nn.RNN, f.rnn_cell, {"nonlinearity": "relu", "bias": False}),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_counts_its_step(name: str) -> None:
    """One step on counted numbers, sample by sample: the work, and the values of torch's own module."""
    make, layer, formula, options = CELLS[name]
    batch, inputs, hidden = 2, 3, 4
    cell = make(inputs, hidden, **options).double().requires_grad_(False)
    named = layer(inputs, hidden, **options).double().requires_grad_(False)
    named.load_state_dict({f"{key}_l0": value for key, value in cell.state_dict().items()})
    x, h0, c0 = (torch.rand(batch, n, dtype=torch.float64) for n in (inputs, hidden, hidden))
    is_lstm = make is nn.LSTMCell
    new = cell(x, (h0, c0) if is_lstm else h0)
    tally, states = Tally(), []
    for b in range(batch):
        h, c = tally.numbers(h0[b]), tally.numbers(c0[b])
        cell_step(tally, named, "l0", tally.numbers(x[b]), h, c)
        states.append(values(h))
    assert torch.allclose(torch.stack(states), new[0] if is_lstm else new)
    cost = formula(input_size=inputs, hidden_size=hidden, batch=batch, **options)
    assert cost.work == tally.work
    assert cost.output_shape == (batch, hidden)
    assert cost.params == elements(cell.parameters())


@pytest.mark.parametrize(("name", "states"), [("lstm", 2), ("gru", 1), ("rnn", 1)])
def test_a_cell_reads_its_weights_and_states_once(name: str, states: int) -> None:
    """Batch 2, 3 inputs, 4 units; a state that is not given is 8 zeros, which serve an LSTM for both."""
    formula, weights = CELLS[name][2], elements(CELLS[name][0](3, 4).parameters())
    given = formula(input_size=3, hidden_size=4, batch=2, hx_given=True)
    assert (given.read, given.written) == (6 + 8 * states + weights, 8 * states)
    made = formula(input_size=3, hidden_size=4, batch=2)
    assert (made.read, made.written) == (6 + 8 + weights, 8 * states + 8)
