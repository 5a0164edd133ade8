"""The layers of ``torch.nn`` for sequences: recurrent layers and embeddings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from costmodel import formulas as f
from costmodel.formulas import LayerCost
from costmodel.formulas.gradient import BackwardCost, Needs
from costmodel.graph import tensors_in
from costmodel.layers.names import nn
from costmodel.layers.registry import Call, Formula, add, given_again

if TYPE_CHECKING:
    from torch.nn import Module, RNNBase


def _recurrent(formula: Callable[..., LayerCost], *more: str) -> Formula:
    def cost_of(call: Call) -> LayerCost | None:
        shape = call.shape
        if len(shape) not in (2, 3) or isinstance(call.given["input"], tuple):
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
            **({"onednn": _by_onednn(call)} if formula is f.lstm else {}),
        )  # fmt: skip
        if unbatched:  # torch gives each tensor its batch dimension by a view of its own
            return replace(cost, output_shape=(cost.output_shape[0], cost.output_shape[2]))
        return given_again(call, cost, None) if call.given_again else cost

    return cost_of


def _by_onednn(call: Call) -> bool:
    """Whether oneDNN computes the layer at once in a training step: its input's dtype decides, before autocast."""
    torch = sys.modules.get("torch")
    if torch is None:  # a saved profile is looked at, which is no training step
        return True
    from costmodel.torch_private import onednn_computes

    return onednn_computes(getattr(torch, call.inputs[0].dtype))


def _weights(module: RNNBase) -> Iterable[str]:
    from costmodel.torch_private import RECURRENT_WEIGHTS

    names: Iterable[str] = getattr(module, RECURRENT_WEIGHTS)
    return names


_RNN = "input_size hidden_size num_layers bias batch_first dropout bidirectional"
for _type, _more, _formula in (
    (nn.LSTM, " proj_size", _recurrent(f.lstm, "proj_size")),
    (nn.GRU, "", _recurrent(f.gru)),
    (nn.RNN, " nonlinearity", _recurrent(f.rnn, "nonlinearity")),
):
    add(_type, hyper=_RNN + _more, formula=_formula, kind="recurrent", params=_weights, takes="input hx")


def _cell(formula: Callable[..., LayerCost], *more: str) -> Formula:
    def cost_of(call: Call) -> LayerCost | None:
        if call.complex_valued and call.hyper.get("nonlinearity") == "relu":
            return None  # complex numbers have no order
        unbatched = len(call.shape) == 1
        cost = formula(
            input_size=call["input_size"], hidden_size=call["hidden_size"], batch=1 if unbatched else call.shape[0],
            bias=call["bias"], hx_given=len(call.inputs) > 1, complex_valued=call.complex_valued,
            **{name: call[name] for name in more},
        )  # fmt: skip
        if unbatched:
            return replace(cost, output_shape=cost.output_shape[1:])
        return given_again(call, cost, None) if call.given_again else cost

    return cost_of


def _weights_of_cell(_: Module) -> Iterable[str]:
    return "weight_ih", "weight_hh", "bias_ih", "bias_hh"


_CELL = "input_size hidden_size bias"
for _type, _more, _formula in (
    (nn.LSTMCell, "", _cell(f.lstm_cell)),
    (nn.GRUCell, "", _cell(f.gru_cell)),
    (nn.RNNCell, " nonlinearity", _cell(f.rnn_cell, "nonlinearity")),
):
    add(_type, hyper=_CELL + _more, formula=_formula, params=_weights_of_cell, takes="input hx")


def _embedding(call: Call) -> LayerCost:
    (x,) = call.inputs
    # The table's dtype is the result's: the indices do not have it.
    is_complex = any("complex" in y.dtype for y in tensors_in(call.record.outputs))
    cost = f.embedding(
        num_embeddings=call["num_embeddings"], embedding_dim=call["embedding_dim"], shape=x.shape,
        renormalised=call["max_norm"] is not None, norm_type=call["norm_type"], complex_valued=is_complex,
        scale_grad_by_freq=call["scale_grad_by_freq"], sparse=call["sparse"],
    )  # fmt: skip
    repeated = x.size - x.distinct
    if not repeated:
        return cost
    return replace(cost, read=cost.read - repeated, gradient=partial(_of_distinct, cost.backward, repeated))


def _of_distinct(backward: Callable[..., BackwardCost], repeated: int, needs: Needs) -> BackwardCost:
    """Of expanded indices, so many of which share memory with others."""
    cost = backward(weight=needs.weight)
    kept = tuple(replace(k, elements=k.elements - repeated) for k in cost.saved)
    return replace(cost, read=max(cost.read - repeated, 0), saved=kept)


add(
    nn.Embedding, hyper="num_embeddings embedding_dim max_norm norm_type scale_grad_by_freq sparse",
    optional_params="weight",
    formula=_embedding, takes_expanded=True,
)  # fmt: skip


def _embedding_bag(call: Call) -> LayerCost | None:
    given = call.given
    x, offsets, weights = given["input"], given.get("offsets"), given.get("per_sample_weights")
    if not x.is_contiguous or (weights is not None and not weights.is_contiguous):
        return None  # torch copies them first
    last = call["include_last_offset"]
    sizes: dict[str, Any]
    if offsets is not None:
        sizes = {"bags": offsets.size - bool(last), "indices": x.size, "include_last_offset": last}
        if sizes["bags"] > x.size:
            return None  # some bags are empty
    elif last:
        return None  # torch takes the last row's offset for the end of the row before it
    else:
        sizes = {"bags": x.shape[0], "bag_size": x.shape[1]}
    return f.embedding_bag(
        num_embeddings=call["num_embeddings"], embedding_dim=call["embedding_dim"], mode=call["mode"], **sizes,
        weighted=weights is not None, renormalised=call["max_norm"] is not None, norm_type=call["norm_type"],
        scale_grad_by_freq=call["scale_grad_by_freq"], padded=call["padding_idx"] is not None, sparse=call["sparse"],
    )  # fmt: skip


add(
    nn.EmbeddingBag, takes="input offsets per_sample_weights",
    hyper="num_embeddings embedding_dim mode max_norm norm_type include_last_offset scale_grad_by_freq padding_idx "
    "sparse",
    optional_params="weight", formula=_embedding_bag,
)  # fmt: skip
