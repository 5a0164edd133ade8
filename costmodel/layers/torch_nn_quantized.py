"""The layers of ``torch.ao.nn``: quantised linear layers, convolutions, norms, recurrent layers and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.ao.nn.intrinsic.quantized as fused
import torch.ao.nn.intrinsic.quantized.dynamic as fused_dynamic
import torch.ao.nn.quantized as static
import torch.ao.nn.quantized.dynamic as dynamic
from torch import nn

from costmodel import formulas as f
from costmodel.formulas import LayerCost
from costmodel.layers.registry import Call, Formula, add
from costmodel.layers.torch_nn import batched
from costmodel.torch_private import BUFFERS, without_modes

Read = Callable[[Any], Mapping[str, Any]]


def _add(
    *types: type[nn.Module], formula: Formula, read: Read = lambda _: {}, hyper: str = "", kind: str = "",
    params: str = "",
) -> None:  # fmt: skip
    """Registers layer types; names of types of ``torch.nn`` are taken by those."""

    def also(module: nn.Module) -> Mapping[str, Any]:
        with without_modes():
            return {"numbers": _numbers(module), **read(module)}

    for t in types:
        key, cost = f"{t.__module__}.{t.__name__}", _with_numbers(formula)
        add(t, key=key, hyper=hyper, also=also, formula=cost, kind=kind, params=lambda _: params.split())


def _numbers(module: nn.Module) -> int:
    """How many of the output's scale and zero point are tensors, of which a number is read at every call."""
    return sum(vars(module)[BUFFERS].get(name) is not None for name in ("scale", "zero_point"))


def _with_numbers(formula: Formula) -> Formula:
    def cost_of(call: Call) -> LayerCost | None:
        cost = formula(call)
        return None if cost is None else replace(cost, read=cost.read + call["numbers"])

    return cost_of


# -- to and from quantised tensors --------------------------------------------------------------------------------

add(static.Quantize, key="torch.ao.Quantize", formula=lambda call: f.quantise(shape=call.shape))
add(static.DeQuantize, key="torch.ao.DeQuantize", formula=lambda call: f.dequantise(shape=call.shape))


# -- products -----------------------------------------------------------------------------------------------------


def _of_linear(module: Any) -> Mapping[str, Any]:
    packed = module._packed_params
    is_dynamic = isinstance(module, dynamic.Linear)
    how = "static" if not is_dynamic else "float16" if packed.dtype is torch.float16 else "dynamic"
    return {"bias": packed._packed_params.bias() is not None, "how": how}


def _linear(then: str) -> Formula:
    return lambda call: f.quantised_linear(
        in_features=call["in_features"], out_features=call["out_features"], bias=call["bias"], rows=call.shape[:-1],
        how=call["how"], fused=then,
    )  # fmt: skip


_SIZES = "in_features out_features"
_add(static.Linear, dynamic.Linear, hyper=_SIZES, read=_of_linear, formula=_linear("none"))
_add(fused.LinearReLU, fused_dynamic.LinearReLU, hyper=_SIZES, read=_of_linear, formula=_linear("relu"))
_add(fused.LinearLeakyReLU, hyper=_SIZES, read=_of_linear, formula=_linear("leaky_relu"))
_add(fused.LinearTanh, hyper=_SIZES, read=_of_linear, formula=_linear("tanh"))


def _of_conv(how: str) -> Read:
    return lambda module: {"bias": module._packed_params.bias() is not None, "how": how}


def _conv(added: bool) -> Callable[[Call, int, tuple[int, ...]], LayerCost]:
    return lambda call, batch, size: f.quantised_conv(
        c_in=call["in_channels"], c_out=call["out_channels"], kernel=call["kernel_size"], size=size,
        stride=call["stride"], padding=call["padding"], dilation=call["dilation"], groups=call["groups"],
        bias=call["bias"], batch=batch, padding_mode=call["padding_mode"], how=call["how"], added=added,
    )  # fmt: skip


def _conv_transpose(call: Call, batch: int, size: tuple[int, ...]) -> LayerCost:
    return f.quantised_conv_transpose(
        c_in=call["in_channels"], c_out=call["out_channels"], kernel=call["kernel_size"], size=size,
        stride=call["stride"], padding=call["padding"], output_padding=call["output_padding"],
        dilation=call["dilation"], groups=call["groups"], bias=call["bias"], batch=batch, how=call["how"],
    )  # fmt: skip


_CONV = "in_channels out_channels kernel_size stride padding dilation groups padding_mode"
_Types = tuple[type[nn.Module], ...]
_CONVS: tuple[tuple[str, tuple[_Types, ...], _Types], ...] = (
    (
        "static",
        (
            (static.Conv1d, fused.ConvReLU1d), (static.Conv2d, fused.ConvReLU2d), (static.Conv3d, fused.ConvReLU3d),
        ),
        (static.ConvTranspose1d, static.ConvTranspose2d, static.ConvTranspose3d),
    ),
    (
        "dynamic",
        ((dynamic.Conv1d,), (dynamic.Conv2d,), (dynamic.Conv3d,)),
        (dynamic.ConvTranspose1d, dynamic.ConvTranspose2d, dynamic.ConvTranspose3d),
    ),
)  # fmt: skip
for _how, _plain, _transposed in _CONVS:
    for _axes, (_types, _type) in enumerate(zip(_plain, _transposed, strict=True), start=1):
        _add(*_types, hyper=_CONV, read=_of_conv(_how), formula=batched(_axes, _conv(added=False)))
        _add(_type, hyper=f"{_CONV} output_padding", read=_of_conv(_how), formula=batched(_axes, _conv_transpose))
_add(
    fused.ConvAdd2d, fused.ConvAddReLU2d, hyper=_CONV, read=_of_conv("static"), formula=batched(2, _conv(added=True))
)  # fmt: skip

# -- activations and norms ----------------------------------------------------------------------------------------


def _activation(name: str) -> Formula:
    return lambda call: f.quantised_activation(name=name, shape=call.shape)


_add(static.ReLU6, formula=_activation("relu6"))
_add(static.Hardswish, formula=_activation("hardswish"))
_add(static.ELU, formula=_activation("elu"))
_add(static.LeakyReLU, formula=_activation("leaky_relu"))
_add(static.Sigmoid, formula=_activation("sigmoid"))
_add(
    static.Softmax, hyper="dim",
    formula=lambda call: f.quantised_activation(name="softmax", shape=call.shape, dim=call["dim"]),
)  # fmt: skip


def _batch_norm(call: Call) -> LayerCost:
    batch, channels, *size = call.shape
    return f.quantised_batch_norm(channels=channels, size=tuple(size), batch=batch)


def _affine(module: Any) -> Mapping[str, Any]:
    return {"weight": module.weight is not None, "bias": module.bias is not None}


def _layer_norm(call: Call) -> LayerCost:
    normalized = call["normalized_shape"]
    return f.quantised_layer_norm(
        normalized_shape=normalized, rows=call.shape[: -len(normalized)], affine=call["weight"], bias=call["bias"]
    )


def _group_norm(call: Call) -> LayerCost:
    batch, channels, *size = call.shape
    return f.quantised_group_norm(
        channels=channels, groups=call.hyper.get("num_groups", channels), size=tuple(size), batch=batch,
        affine=call["weight"], bias=call["bias"],
    )  # fmt: skip


_add(static.BatchNorm2d, static.BatchNorm3d, fused.BNReLU2d, fused.BNReLU3d, params="weight bias", formula=_batch_norm)
_add(static.LayerNorm, hyper="normalized_shape", read=_affine, params="weight bias", formula=_layer_norm)
_add(static.GroupNorm, hyper="num_groups", read=_affine, params="weight bias", formula=_group_norm)
_add(
    static.InstanceNorm1d,
    static.InstanceNorm2d,
    static.InstanceNorm3d,
    read=_affine,
    params="weight bias",
    formula=_group_norm,
)

# -- recurrent layers and embeddings ------------------------------------------------------------------------------


def _of_recurrent(module: Any) -> Mapping[str, Any]:
    dtype = module.dtype if hasattr(module, "dtype") else module.weight_dtype
    return {"how": "float16" if dtype is torch.float16 else "dynamic"}


def _recurrent(formula: Callable[..., LayerCost]) -> Formula:
    def cost_of(call: Call) -> LayerCost | None:
        shape = call.shape
        if len(shape) != 3 or isinstance(call.given["input"], tuple):
            return None  # a packed sequence: its lengths are in no shape
        length, batch = reversed(shape[:2]) if call["batch_first"] else shape[:2]
        cost = formula(
            input_size=call["input_size"], hidden_size=call["hidden_size"], length=length, batch=batch,
            num_layers=call["num_layers"], bidirectional=call["bidirectional"], batch_first=call["batch_first"],
            hx_given=len(call.inputs) > 1, how=call["how"], training=call.training, dropout=call["dropout"],
        )  # fmt: skip
        return replace(cost, read=cost.read - call.given_again)

    return cost_of


_LAYERS = "input_size hidden_size num_layers batch_first bidirectional dropout"
_add(dynamic.LSTM, hyper=_LAYERS, read=_of_recurrent, formula=_recurrent(f.quantised_lstm), kind="recurrent")
_add(dynamic.GRU, hyper=_LAYERS, read=_of_recurrent, formula=_recurrent(f.quantised_gru), kind="recurrent")


def _cell(name: str) -> Formula:
    def cost_of(call: Call) -> LayerCost:
        cost = f.quantised_cell(
            cell=name + call.hyper.get("nonlinearity", ""), input_size=call["input_size"],
            hidden_size=call["hidden_size"], batch=call.shape[0], hx_given=len(call.inputs) > 1, how=call["how"],
        )  # fmt: skip
        return replace(cost, read=cost.read - call.given_again)

    return cost_of


_CELL = "input_size hidden_size"
_add(dynamic.LSTMCell, hyper=_CELL, read=_of_recurrent, formula=_cell("lstm"))
_add(dynamic.GRUCell, hyper=_CELL, read=_of_recurrent, formula=_cell("gru"))
_add(dynamic.RNNCell, hyper=f"{_CELL} nonlinearity", read=_of_recurrent, formula=_cell("rnn_"))


def _embedding_bag(call: Call) -> LayerCost | None:
    if len(call.inputs) > 1 or len(call.shape) != 2:
        return None  # with offsets or weights, the bags' sizes are in no shape
    bags, bag_size = call.shape
    return f.quantised_embedding_bag(
        num_embeddings=call["num_embeddings"], embedding_dim=call["embedding_dim"], bags=bags, bag_size=bag_size
    )


_add(static.EmbeddingBag, hyper="num_embeddings embedding_dim", formula=_embedding_bag)
_add(
    static.Embedding, hyper="num_embeddings embedding_dim",
    formula=lambda call: f.quantised_embedding(
        num_embeddings=call["num_embeddings"], embedding_dim=call["embedding_dim"], shape=call.shape
    ),
)  # fmt: skip
