"""The layers of ``torch.ao.nn``: quantised linear layers, convolutions, norms, recurrent layers and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from costmodel import formulas as f
from costmodel.formulas import LayerCost
from costmodel.layers.names import ClassName, Names
from costmodel.layers.registry import Call, Formula, add
from costmodel.layers.torch_nn import batched

if TYPE_CHECKING:
    from torch.nn import Module

Read = Callable[[Any], Mapping[str, Any]]
_STATIC, _DYNAMIC = "torch.ao.nn.quantized.modules", "torch.ao.nn.quantized.dynamic.modules"
_FUSED, _FUSED_DYNAMIC = "torch.ao.nn.intrinsic.quantized.modules", "torch.ao.nn.intrinsic.quantized.dynamic.modules"


def _add(
    *names: ClassName, formula: Formula, read: Read = lambda _: {}, hyper: str = "", kind: str = "",
    params: str = "", takes: str = "input",
) -> None:  # fmt: skip
    """Registers layer types; names of types of ``torch.nn`` are taken by those."""

    def also(module: Module) -> Mapping[str, Any]:
        from costmodel.torch_private import without_modes

        with without_modes():
            return {"numbers": _numbers(module), **read(module)}

    for name in names:
        key, cost = ".".join(name), _with_numbers(formula)
        add(
            name, key=key, hyper=hyper, also=also, formula=cost, kind=kind, params=lambda _: params.split(), takes=takes
        )


def _numbers(module: Module) -> int:
    """How many of the output's scale and zero point are tensors, of which a number is read at every call."""
    from costmodel.torch_private import BUFFERS

    return sum(vars(module)[BUFFERS].get(name) is not None for name in ("scale", "zero_point"))


def _with_numbers(formula: Formula) -> Formula:
    def cost_of(call: Call) -> LayerCost | None:
        cost = formula(call)
        return None if cost is None else replace(cost, read=cost.read + call["numbers"])

    return cost_of


# -- to and from quantised tensors --------------------------------------------------------------------------------

_static = Names(_STATIC)
add(_static.Quantize, key="torch.ao.Quantize", formula=lambda call: f.quantise(shape=call.shape), takes="X")
add(_static.DeQuantize, key="torch.ao.DeQuantize", formula=lambda call: f.dequantise(shape=call.shape), takes="Xq")


# -- products -----------------------------------------------------------------------------------------------------


def _of_linear(module: Any) -> Mapping[str, Any]:
    import torch

    packed = module._packed_params
    is_dynamic = isinstance(module, _dynamic.Linear.load())
    how = "static" if not is_dynamic else "float16" if packed.dtype is torch.float16 else "dynamic"
    return {"bias": packed._packed_params.bias() is not None, "how": how}


def _linear(then: str) -> Formula:
    return lambda call: f.quantised_linear(
        in_features=call["in_features"], out_features=call["out_features"], bias=call["bias"], rows=call.shape[:-1],
        how=call["how"], fused=then,
    )  # fmt: skip


_static, _dynamic = Names(f"{_STATIC}.linear"), Names(f"{_DYNAMIC}.linear")
_fused, _fused_dynamic = Names(f"{_FUSED}.linear_relu"), Names(f"{_FUSED_DYNAMIC}.linear_relu")
for _types, _then in (
    ((_static.Linear, _dynamic.Linear), "none"),
    ((_fused.LinearReLU, _fused_dynamic.LinearReLU), "relu"),
    ((_fused.LinearLeakyReLU,), "leaky_relu"),
    ((_fused.LinearTanh,), "tanh"),
):
    _add(*_types, hyper="in_features out_features", read=_of_linear, formula=_linear(_then), takes="x")


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
for _how, _of, _takes in (
    ("static", Names(f"{_STATIC}.conv"), "input"),
    ("dynamic", Names(f"{_DYNAMIC}.conv"), "input reduce_range"),
):
    for _axes in (1, 2, 3):
        _plain, _transposed = getattr(_of, f"Conv{_axes}d"), getattr(_of, f"ConvTranspose{_axes}d")
        _add(
            _plain, hyper=_CONV, read=_of_conv(_how), formula=batched(_axes, _conv(added=False)), takes=_takes
        )  # fmt: skip
        _add(
            _transposed, hyper=f"{_CONV} output_padding", read=_of_conv(_how), takes=_takes,
            formula=batched(_axes, _conv_transpose),
        )  # fmt: skip
_conv_relu, _conv_add = Names(f"{_FUSED}.conv_relu"), Names(f"{_FUSED}.conv_add")
for _axes, _type in enumerate((_conv_relu.ConvReLU1d, _conv_relu.ConvReLU2d, _conv_relu.ConvReLU3d), start=1):
    _add(_type, hyper=_CONV, read=_of_conv("static"), formula=batched(_axes, _conv(added=False)))
_add(
    _conv_add.ConvAdd2d, _conv_add.ConvAddReLU2d, hyper=_CONV, read=_of_conv("static"),
    formula=batched(2, _conv(added=True)), takes="input extra_input",
)  # fmt: skip

# -- activations and norms ----------------------------------------------------------------------------------------


def _activation(name: str) -> Formula:
    return lambda call: f.quantised_activation(name=name, shape=call.shape)


_static = Names(f"{_STATIC}.activation")
_add(_static.ReLU6, formula=_activation("relu6"))
_add(_static.Hardswish, formula=_activation("hardswish"))
_add(_static.ELU, formula=_activation("elu"))
_add(_static.LeakyReLU, formula=_activation("leaky_relu"))
_add(_static.Sigmoid, formula=_activation("sigmoid"))
_add(
    _static.Softmax, hyper="dim",
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


_static, _fused = Names(f"{_STATIC}.batchnorm"), Names(f"{_FUSED}.bn_relu")
_add(
    _static.BatchNorm2d, _static.BatchNorm3d, _fused.BNReLU2d, _fused.BNReLU3d, params="weight bias",
    formula=_batch_norm,
)  # fmt: skip
_static = Names(f"{_STATIC}.normalization")
_add(_static.LayerNorm, hyper="normalized_shape", read=_affine, params="weight bias", formula=_layer_norm)
_add(_static.GroupNorm, hyper="num_groups", read=_affine, params="weight bias", formula=_group_norm)
_add(
    _static.InstanceNorm1d,
    _static.InstanceNorm2d,
    _static.InstanceNorm3d,
    read=_affine,
    params="weight bias",
    formula=_group_norm,
)

# -- recurrent layers and embeddings ------------------------------------------------------------------------------


def _of_recurrent(module: Any) -> Mapping[str, Any]:
    import torch

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
_of_rnn = Names(f"{_DYNAMIC}.rnn")
for _type, _formula in ((_of_rnn.LSTM, f.quantised_lstm), (_of_rnn.GRU, f.quantised_gru)):
    _add(
        _type, hyper=_LAYERS, read=_of_recurrent, formula=_recurrent(_formula), kind="recurrent", takes="input hx"
    )  # fmt: skip


def _cell(name: str) -> Formula:
    def cost_of(call: Call) -> LayerCost:
        cost = f.quantised_cell(
            cell=name + call.hyper.get("nonlinearity", ""), input_size=call["input_size"],
            hidden_size=call["hidden_size"], batch=call.shape[0], hx_given=len(call.inputs) > 1, how=call["how"],
        )  # fmt: skip
        return replace(cost, read=cost.read - call.given_again)

    return cost_of


_CELL = "input_size hidden_size"
for _type, _more, _name in (
    (_of_rnn.LSTMCell, "", "lstm"),
    (_of_rnn.GRUCell, "", "gru"),
    (_of_rnn.RNNCell, " nonlinearity", "rnn_"),
):
    _add(_type, hyper=_CELL + _more, read=_of_recurrent, formula=_cell(_name), takes="input hx")


def _embedding_bag(call: Call) -> LayerCost | None:
    if len(call.inputs) > 1 or len(call.shape) != 2:
        return None  # with offsets or weights, the bags' sizes are in no shape
    bags, bag_size = call.shape
    return f.quantised_embedding_bag(
        num_embeddings=call["num_embeddings"], embedding_dim=call["embedding_dim"], bags=bags, bag_size=bag_size
    )


_static = Names(f"{_STATIC}.embedding_ops")
_add(
    _static.EmbeddingBag, hyper="num_embeddings embedding_dim", formula=_embedding_bag,
    takes="indices offsets per_sample_weights compressed_indices_mapping",
)  # fmt: skip
_add(
    _static.Embedding, hyper="num_embeddings embedding_dim", takes="indices",
    formula=lambda call: f.quantised_embedding(
        num_embeddings=call["num_embeddings"], embedding_dim=call["embedding_dim"], shape=call.shape
    ),
)  # fmt: skip
