"""The layers of ``torch.nn`` for sequences: recurrent layers and embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from costmodel import formulas as f
from costmodel.formulas import LayerCost
from costmodel.layers.registry import Call, Formula, add


def _recurrent(formula: Callable[..., LayerCost], *more: str) -> Formula:
    def cost_of(call: Call) -> LayerCost | None:
        shape = call.shape
        if len(shape) not in (2, 3) or any(isinstance(given, tuple) for given in call.record.args[:1]):
            return None  # the second is a packed sequence: its lengths are in no shape
        if call.complex_valued and call.hyper.get("nonlinearity") == "relu":
            return None  # complex numbers have no order
        unbatched = len(shape) == 2
        length, batch = shape[:2] if not unbatched else (shape[0], 1)
        if call["batch_first"] and not unbatched:
            length, batch = batch, length
        cost = formula(
            input_size=call["input_size"], hidden_size=call["hidden_size"], length=length, batch=batch,
            num_layers=call["num_layers"], bias=call["bias"], bidirectional=call["bidirectional"],
            batch_first=call["batch_first"] and not unbatched, hx_given=len(call.inputs) > 1, training=call.training,
            dropout=call["dropout"], complex_valued=call.complex_valued, **{name: call[name] for name in more},
        )  # fmt: skip
        if unbatched:  # torch gives each tensor its batch dimension by a view of its own
            return replace(cost, output_shape=(cost.output_shape[0], cost.output_shape[2]))
        return replace(cost, read=cost.read - call.given_again)

    return cost_of


_RNN = "input_size hidden_size num_layers bias batch_first dropout bidirectional"
add(nn.LSTM, hyper=f"{_RNN} proj_size", formula=_recurrent(f.lstm, "proj_size"), kind="recurrent")
add(nn.GRU, hyper=_RNN, formula=_recurrent(f.gru), kind="recurrent")
add(nn.RNN, hyper=f"{_RNN} nonlinearity", formula=_recurrent(f.rnn, "nonlinearity"), kind="recurrent")
add(
    nn.Embedding,
    hyper="num_embeddings embedding_dim max_norm",
    optional_params="weight",
    formula=lambda call: None if call["max_norm"] is not None else f.embedding(
        num_embeddings=call["num_embeddings"], embedding_dim=call["embedding_dim"], shape=call.shape
    ),
)  # fmt: skip


def _embedding_bag(call: Call) -> LayerCost | None:
    if len(call.inputs) > 1 or len(call.shape) != 2 or call["max_norm"] is not None:
        return None  # with offsets or weights, the bags' sizes are in no shape
    if not call.inputs[0].is_contiguous:
        return None  # torch copies the indices first
    bags, bag_size = call.shape
    return f.embedding_bag(
        num_embeddings=call["num_embeddings"], embedding_dim=call["embedding_dim"], bags=bags, bag_size=bag_size,
        mode=call["mode"],
    )  # fmt: skip


add(
    nn.EmbeddingBag, hyper="num_embeddings embedding_dim mode max_norm", optional_params="weight",
    formula=_embedding_bag,
)  # fmt: skip
