"""Recurrent layers and cells: worked numbers, and every shape and layout that torch makes of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.graph import TensorSpec
from costmodel.ops import RULES
from costmodel.quantities import Traffic, Work
from tests.ops._asking import record, traffic, work
from tests.ops._binding import RealCall

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}

# One step of 4 units on 3 features with both biases, by hand from the equations of torch's documentation.
STEP = {
    # 4 gates; the halves 16; three sigmoids and two tanh of 4; c' = f c + i g: 8 and 4; h' = o tanh(c'): 4.
    "lstm": Work(macs=16 * 3 + 16 * 4, adds=32 + 16 + 12 + 4, multiplies=8 + 4, divides=12, transcendentals=12 + 8),
    # 3 gates; the halves 12; two sigmoids and one tanh of 4; r (W h): 4; (1 - z) n + z h: 4 and 8 and 4.
    "gru": Work(macs=12 * 3 + 12 * 4, adds=24 + 12 + 8 + 4 + 4, multiplies=4 + 8, divides=8, transcendentals=8 + 4),
    "rnn_tanh": Work(macs=4 * 3 + 4 * 4, adds=8 + 4, transcendentals=4),
    "rnn_relu": Work(macs=4 * 3 + 4 * 4, adds=8 + 4, compares=4),
}


def arguments(
    cell: str, *, steps: int = 5, batch: int = 2, n_in: int = 3, hidden: int = 4, layers: int = 1, directions: int = 1,
    bias: bool = True, projection: int = 0, dropout: float = 0.0, train: bool = False, batch_first: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """A real call, its weights made by torch.nn itself."""
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(cell, torch.nn.RNN)
    further = {"proj_size": projection} if projection else {}
    layer = kind(n_in, hidden, layers, bias=bias, bidirectional=directions == 2, **further)
    h = torch.rand(layers * directions, batch, projection or hidden)
    return {
        "input": torch.rand(batch, steps, n_in) if batch_first else torch.rand(steps, batch, n_in),
        "hx": [h, torch.rand(layers * directions, batch, hidden)] if cell == "lstm" else h,
        "params": [p.detach() for p in layer.parameters()],
        "has_biases": bias, "num_layers": layers, "dropout": dropout, "train": train,
        "bidirectional": directions == 2, "batch_first": batch_first,
    }  # fmt: skip


@pytest.mark.parametrize("cell", GATES)
def test_one_layer_by_hand(cell: str) -> None:
    """5 steps of a batch of 2 cost ten steps; a cell, called by itself, costs one for each sample."""
    call = arguments(cell)
    assert work(f"aten.{cell}.input", **call) == STEP[cell].times(10)
    w_ih, w_hh, b_ih, b_hh = call["params"]
    hx = [h[0] for h in call["hx"]] if cell == "lstm" else call["hx"][0]
    weights = {"w_ih": w_ih, "w_hh": w_hh, "b_ih": b_ih, "b_hh": b_hh}
    assert work(f"aten.{cell}_cell.default", input=call["input"][0], hx=hx, **weights) == STEP[cell].times(2)


@pytest.mark.parametrize("cell", GATES)
def test_each_tensor_moves_once(cell: str) -> None:
    """Input, states, every weight and bias are read once, the output and the last states written once."""
    gates, states = GATES[cell], 2 if cell == "lstm" else 1
    read = 5 * 2 * 3 + states * 8 + gates * 4 * (3 + 4 + 2)
    written = 5 * 2 * 4 + states * 8
    expected = Traffic(read=read, written=written, read_bytes=4 * read, written_bytes=4 * written)
    assert traffic(f"aten.{cell}.input", **arguments(cell)) == expected


def test_two_directions_and_two_layers_by_hand() -> None:
    """The second LSTM layer reads both directions, 8 features; without biases 32 additions fewer a step."""
    first = STEP["lstm"] + Work(adds=-32)
    second = first + Work(macs=16 * (8 - 3))
    expected = (first + second).times(2 * 10)
    assert work("aten.lstm.input", **arguments("lstm", layers=2, directions=2, bias=False)) == expected


def test_a_projection_by_hand() -> None:
    """Projected to 2, the state that comes back has 2 features, and every step applies 2 x 4 weights more."""
    expected = STEP["lstm"] + Work(macs=16 * (2 - 4) + 2 * 4)
    assert work("aten.lstm.input", **arguments("lstm", projection=2)) == expected.times(10)


def test_dropout_between_layers_counts_in_training_alone() -> None:
    """Two multiplies for each of the 5 x 2 x 4 features that the first of two layers hands over."""
    plain = work("aten.gru.input", **arguments("gru", layers=2, train=True))
    assert work("aten.gru.input", **arguments("gru", layers=2, dropout=0.5)) == plain
    dropped = work("aten.gru.input", **arguments("gru", layers=2, dropout=0.5, train=True))
    assert dropped == plain + Work(multiplies=80)
    assert work("aten.gru.input", **arguments("gru", dropout=0.5, train=True)) == STEP["gru"].times(10)


@pytest.mark.parametrize("cell", GATES)
def test_a_packed_sequence_costs_its_tokens(cell: str) -> None:
    """Sequences of 3, 2 and 2 steps, packed, cost seven steps."""
    call = arguments(cell, batch=3)
    del call["input"], call["batch_first"]
    packed = {"data": torch.rand(7, 3), "batch_sizes": torch.tensor([3, 3, 1])} | call
    assert work(f"aten.{cell}.data", **packed) == STEP[cell].times(7)


@given(
    cell=st.sampled_from(sorted(GATES)), steps=st.integers(1, 3), batch=st.integers(1, 3), n_in=st.integers(1, 3),
    hidden=st.integers(2, 3), layers=st.integers(1, 2), directions=st.integers(1, 2), bias=st.booleans(),
    projected=st.booleans(), batch_first=st.booleans(),
)  # fmt: skip
@settings(max_examples=40)
def test_outputs_are_those_of_torch(cell: str, projected: bool, **sizes: Any) -> None:
    """Shapes, dtypes and layouts of the output and the last states, for all hyper-parameters; MACs are weights used."""
    call = arguments(cell, projection=1 if projected and cell == "lstm" else 0, **sizes)
    asked = record(f"aten.{cell}.input", **call)
    matrices = sum(p.numel() for p in call["params"] if p.dim() == 2)
    assert RULES[asked.op].work(asked).macs == matrices * sizes["steps"] * sizes["batch"]


def test_features_that_do_not_fit_are_an_error() -> None:
    """The reason names what the weights take and what they got."""
    rule = RULES["aten.gru.input"]
    assert callable(rule.outputs)
    args = RealCall(torch.ops.aten.gru.input, arguments("gru")).arguments()
    with pytest.raises(ValueError, match=r"takes 3 features of \(steps, batch, features\), got \(5, 2, 7\)"):
        rule.outputs(args | {"input": TensorSpec((5, 2, 7))})
