"""Recurrent layers with weights of 8 or 16 bits, and embeddings whose rows are quantised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from costmodel.formulas._arguments import public, require, require_one_of
from costmodel.formulas.cost import LayerCost
from costmodel.formulas.embeddings import embedding
from costmodel.formulas.quantisation import at_run_time, to_numbers
from costmodel.formulas.recurrent import gru, lstm, rnn
from costmodel.quantities import Count, Work, prod

HOW = ("dynamic", "float16")


def _products(*, gates: int, hidden: Count, features: Count, rows: Count, steps: Count, cells: Count) -> Work:
    """What the products add: inputs of all steps are quantised at once, states step by step, and sums are scaled.

    ``features`` are those of the inputs of all layers and directions together.
    """
    inputs = at_run_time(rows * features, times=cells)
    states = at_run_time(rows * hidden * cells, times=cells * steps)
    return inputs + states + Work(multiplies=2 * rows * gates * hidden * cells)


def _layers(
    formula: Callable[..., LayerCost],
    *,
    gates: int,
    input_size: Count,
    hidden_size: Count,
    length: Count,
    batch: Count,
    num_layers: Count,
    bidirectional: bool,
    batch_first: bool,
    hx_given: bool,
    how: str,
    training: bool,
    dropout: float,
) -> LayerCost:
    require_one_of(how=how, choices=HOW)
    cost = formula(
        input_size=input_size, hidden_size=hidden_size, length=length, batch=batch, num_layers=num_layers,
        bidirectional=bidirectional, batch_first=batch_first, hx_given=hx_given, training=training,
        dropout=dropout,
    )  # fmt: skip
    cost = replace(cost, gradient=None)  # quantised numbers have none
    directions = 2 if bidirectional else 1
    cells = num_layers * directions
    if formula is lstm and not hx_given:  # one tensor of zeros is both states
        again = cells * batch * hidden_size
        cost = replace(cost, read=cost.read - again, written=cost.written - again)
    if how == "float16":
        return cost
    features = directions * (input_size + (num_layers - 1) * directions * hidden_size)
    products = _products(
        gates=gates, hidden=hidden_size, features=features, rows=length * batch, steps=length, cells=cells
    )
    return replace(cost, work=cost.work + products)


@public
def quantised_lstm(
    *,
    input_size: Count,
    hidden_size: Count,
    length: Count,
    batch: Count = 1,
    num_layers: Count = 1,
    bidirectional: bool = False,
    batch_first: bool = False,
    hx_given: bool = False,
    how: str = "dynamic",
    training: bool = False,
    dropout: float = 0.0,
) -> LayerCost:
    """A long short-term memory of H cells over T steps, with weights of 8 bits (or 16, ``how="float16"``).

    params, macs = those of lstm with biases
    flops = those of lstm; dynamic, per layer and direction, of B samples and I inputs: + 2 T B 4 H sums scaled,
    4 T B (I + H) to integers, 2 (T B I - 1) + 2 (T B H - T) for ranges, and 4 (T + 1)
    memory_access = that of lstm; where no states are given, one tensor of zeros is both
    training with dropout: two multiplications for each state that a layer passes to the next, as in lstm

    Source: torch.ao.nn.quantized.dynamic.LSTM; Jacob et al., arXiv:1712.05877, section 2.1.

    >>> quantised_lstm(input_size=8, hidden_size=4, length=5).macs
    960
    """
    return _layers(
        lstm, gates=4, input_size=input_size, hidden_size=hidden_size, length=length, batch=batch,
        num_layers=num_layers, bidirectional=bidirectional, batch_first=batch_first, hx_given=hx_given, how=how,
        training=training, dropout=dropout,
    )  # fmt: skip


@public
def quantised_gru(
    *,
    input_size: Count,
    hidden_size: Count,
    length: Count,
    batch: Count = 1,
    num_layers: Count = 1,
    bidirectional: bool = False,
    batch_first: bool = False,
    hx_given: bool = False,
    how: str = "dynamic",
    training: bool = False,
    dropout: float = 0.0,
) -> LayerCost:
    """A gated recurrent unit of H cells over T steps, with weights of 8 bits (or 16, ``how="float16"``).

    params, macs = those of gru with biases
    flops = those of gru; dynamic: as quantised_lstm, with 3 H in the place of 4 H
    memory_access = that of gru
    training with dropout: as quantised_lstm

    Source: torch.ao.nn.quantized.dynamic.GRU; Jacob et al., arXiv:1712.05877, section 2.1.

    >>> quantised_gru(input_size=8, hidden_size=4, length=5).macs
    720
    """
    return _layers(
        gru, gates=3, input_size=input_size, hidden_size=hidden_size, length=length, batch=batch,
        num_layers=num_layers, bidirectional=bidirectional, batch_first=batch_first, hx_given=hx_given, how=how,
        training=training, dropout=dropout,
    )  # fmt: skip


@public
def quantised_cell(
    *,
    cell: str,
    input_size: Count,
    hidden_size: Count,
    batch: Count = 1,
    hx_given: bool = False,
    how: str = "dynamic",
) -> LayerCost:
    """One step of a recurrent cell with weights of 8 bits (or 16, ``how="float16"``): lstm, gru, rnn_tanh, rnn_relu.

    params, macs = those of one step of lstm, gru or rnn with biases
    flops = those; dynamic: as quantised_lstm
    memory_access = x + states + weights + new states, and the states again where they are made, not given

    Source: torch.ao.nn.quantized.dynamic.LSTMCell; Jacob et al., arXiv:1712.05877, section 2.1.

    >>> quantised_cell(cell="lstm", input_size=8, hidden_size=4).macs
    192
    """
    require_one_of(cell=cell, choices=("lstm", "gru", "rnn_tanh", "rnn_relu"))
    require_one_of(how=how, choices=HOW)
    kind, _, nonlinearity = cell.partition("_")
    formula, gates = {"lstm": (lstm, 4), "gru": (gru, 3), "rnn": (rnn, 1)}[kind]
    more: dict[str, Any] = {"nonlinearity": nonlinearity} if nonlinearity else {}
    one = formula(input_size=input_size, hidden_size=hidden_size, length=1, batch=batch, **more)
    state = batch * hidden_size
    states = 2 * state if kind == "lstm" else state
    work = one.work
    if how == "dynamic":
        work += _products(gates=gates, hidden=hidden_size, features=input_size, rows=batch, steps=1, cells=1)
    made = 0 if hx_given else state  # one tensor of zeros is both states of an LSTM
    return replace(
        one, output_shape=(batch, hidden_size), work=work, written=states + made, gradient=None,
        read=one.read - (0 if hx_given else states - state),
    )  # fmt: skip


@public
def quantised_embedding(*, num_embeddings: Count, embedding_dim: Count, shape: Sequence[Count] | Count) -> LayerCost:
    """One row of a quantised table for each index, as real numbers: N elements.

    params = num_embeddings embedding_dim
    flops = 2 N: q - z, times s
    memory_access = indices + 2 N

    Source: torch.ao.nn.quantized.Embedding; Guan et al., arXiv:1911.02079, section 2.

    >>> quantised_embedding(num_embeddings=10, embedding_dim=4, shape=3).flops
    24
    """
    cost = embedding(num_embeddings=num_embeddings, embedding_dim=embedding_dim, shape=shape)
    return replace(cost, work=to_numbers(prod(cost.output_shape)), gradient=None)


@public
def quantised_embedding_bag(*, num_embeddings: Count, embedding_dim: Count, bags: Count, bag_size: Count) -> LayerCost:
    """Bags of ``bag_size`` indices each, their rows as real numbers and added up. Indices of shape (bags, bag_size).

    params = num_embeddings embedding_dim
    flops = 2 bags bag_size embedding_dim + bags embedding_dim (bag_size - 1)
    memory_access = indices + rows + y

    Source: torch.ao.nn.quantized.EmbeddingBag; Guan et al., arXiv:1911.02079, section 2.

    >>> quantised_embedding_bag(num_embeddings=10, embedding_dim=4, bags=2, bag_size=3).flops
    64
    """
    require(num_embeddings=num_embeddings, embedding_dim=embedding_dim, bags=bags, bag_size=bag_size)
    looked_up, outputs = bags * bag_size * embedding_dim, bags * embedding_dim
    return LayerCost(
        kind="embedding",
        output_shape=(bags, embedding_dim),
        read=bags * bag_size + looked_up,
        written=outputs,
        work=to_numbers(looked_up) + Work(adds=looked_up - outputs),
        params=num_embeddings * embedding_dim,
    )
