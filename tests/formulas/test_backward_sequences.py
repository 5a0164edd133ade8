"""Recurrent layers in a training step, held to what torch runs and keeps on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from costmodel import formulas as f
from tests.formulas._backward import (
    Real,
    assert_same_on_arrays_and_symbols,
    forward_quantities,
    needs,
    quantities,
    real,
)
from tests.formulas.test_backward_layers import rand

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")

LAYERS: dict[str, tuple[Callable[..., nn.Module], Callable[..., Any], dict[str, Any]]] = {
    "lstm": (nn.LSTM, f.lstm, {}), "lstm, projected": (nn.LSTM, f.lstm, {"proj_size": 2}),
    "gru": (nn.GRU, f.gru, {}), "rnn": (nn.RNN, f.rnn, {}), "rnn, relu": (nn.RNN, f.rnn, {"nonlinearity": "relu"}),
}  # fmt: skip
CELLS: dict[str, tuple[Callable[..., nn.Module], Callable[..., Any], dict[str, Any]]] = {
    "lstm": (nn.LSTMCell, f.lstm_cell, {}), "gru": (nn.GRUCell, f.gru_cell, {}),
    "rnn": (nn.RNNCell, f.rnn_cell, {}), "rnn, relu": (nn.RNNCell, f.rnn_cell, {"nonlinearity": "relu"}),
}  # fmt: skip


def run(module: nn.Module, inputs: list[torch.Tensor], wanted: dict[str, Any]) -> Real:
    """As torch runs it, from what it shows at each step; a state's parts come behind the input."""
    parameters = dict(module.named_parameters())
    weights, biases = ([n for n in parameters if ("bias" in n) == flag] for flag in (False, True))

    def function(*given: Any) -> Any:
        x, *state = given[: len(inputs)]
        own = dict(zip([*weights, *biases], given[len(inputs) :], strict=True))
        hx = tuple(state) if len(state) == 2 else state[0] if state else None
        return torch.func.functional_call(module, own, (x, hx))

    return real(
        function, inputs, [parameters[n].detach() for n in weights], [parameters[n].detach() for n in biases],
        wanted=wanted,
    )  # fmt: skip


def assert_same(cost: f.LayerCost, found: Real, wanted: dict[str, Any]) -> None:
    """Forward and backward of both derivations."""
    assert forward_quantities(cost, wanted) == found.forward_quantities()
    assert quantities(cost.backward(**wanted)) == found.quantities()


def states(name: str, *shape: int, shown: int) -> list[torch.Tensor]:
    """What the state consists of."""
    return [rand(*shape[:-1], shown), *([rand(*shape)] if "lstm" in name else [])]


@pytest.mark.parametrize("wanted", needs(1, weight=True, bias=True), ids=str)
@pytest.mark.parametrize("options", [
    {}, {"bias": False}, {"num_layers": 2}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True},
    {"batch_first": True}, {"num_layers": 3, "dropout": 0.1},
    {"num_layers": 2, "dropout": 0.1, "bidirectional": True},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layers(name: str, options: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Through all steps, layers and directions."""
    if not options.get("bias", True) and wanted == {"inputs": (False,), "weight": False, "bias": True}:
        return
    module, formula, own = LAYERS[name]
    cost = formula(input_size=3, hidden_size=4, length=5, batch=2, training=True, **own, **options)
    shape = (2, 5, 3) if options.get("batch_first") else (5, 2, 3)
    assert_same(cost, run(module(3, 4, **own, **options), [rand(*shape)], wanted), wanted)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layers_whose_state_is_given(name: str) -> None:
    """The state may have a gradient, too."""
    module, formula, own = LAYERS[name]
    for flag in (False, True):
        given = states(name, 2, 2, 4, shown=own.get("proj_size", 4))
        wanted = {"inputs": (True, *[flag] * len(given)), "weight": True, "bias": True}
        cost = formula(input_size=3, hidden_size=4, length=5, batch=2, num_layers=2, hx_given=True, **own)
        found = run(module(3, 4, num_layers=2, **own), [rand(5, 2, 3), *given], wanted)
        assert_same(cost, found, wanted)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_one_step(name: str) -> None:
    """Nothing follows the first step."""
    module, formula, own = LAYERS[name]
    wanted = {"inputs": (True,), "weight": True, "bias": True}
    cost = formula(input_size=3, hidden_size=4, length=1, batch=2, **own)
    assert_same(cost, run(module(3, 4, **own), [rand(1, 2, 3)], wanted), wanted)


@pytest.mark.parametrize("wanted", needs(1, weight=True, bias=True), ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", sorted(CELLS))
def test_cells(name: str, bias: bool, wanted: dict[str, Any]) -> None:
    """One step, of zeros where no state is given."""
    if not bias and wanted == {"inputs": (False,), "weight": False, "bias": True}:
        return
    module, formula, own = CELLS[name]
    cost = formula(input_size=3, hidden_size=4, batch=2, bias=bias, **own)
    assert_same(cost, run(module(3, 4, bias=bias, **own), [rand(2, 3)], wanted), wanted)


@pytest.mark.parametrize("name", sorted(CELLS))
def test_cells_whose_state_is_given(name: str) -> None:
    """Each part of the state may have a gradient."""
    module, formula, own = CELLS[name]
    given = states(name, 2, 4, shown=4)
    for wanted in needs(1 + len(given), weight=True):
        cost = formula(input_size=3, hidden_size=4, batch=2, hx_given=True, **own)
        assert_same(cost, run(module(3, 4, **own), [rand(2, 3), *given], wanted), wanted)


@pytest.mark.parametrize("sizes", [(3, 64, 7, 5), (300, 64, 3, 2), (3, 256, 2, 9)], ids=str)
def test_the_workspace_of_onednn(sizes: tuple[int, ...]) -> None:
    """Rows are whole lines of the cache, never a multiple of 256 elements, and parts are whole pages."""
    features, hidden, length, batch = sizes
    wanted = {"inputs": (True,), "weight": True, "bias": True}
    cost = f.lstm(input_size=features, hidden_size=hidden, length=length, batch=batch)
    found = run(nn.LSTM(features, hidden), [rand(length, batch, features)], wanted)
    assert_same(cost, found, wanted)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_arrays_and_symbols(name: str) -> None:
    """Backward passes are functions of counts, but for the number of layers."""
    _, formula, own = LAYERS[name]
    arguments = {"input_size": 3, "hidden_size": 4, "length": 5, "batch": 2, "num_layers": 2, **own}
    assert_same_on_arrays_and_symbols(formula, arguments, {"inputs": True}, free_of={"num_layers"})


@pytest.mark.parametrize("name", sorted(CELLS))
def test_arrays_and_symbols_of_cells(name: str) -> None:
    """Likewise."""
    _, formula, own = CELLS[name]
    arguments = {"input_size": 3, "hidden_size": 4, "batch": 2, **own}
    assert_same_on_arrays_and_symbols(formula, arguments, {"inputs": True})
