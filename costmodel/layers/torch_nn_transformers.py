"""The transformers of ``torch.nn``: composites, whose parts are layers with closed forms of their own.

Each is derived as a whole, from hyper-parameters that are read off its parts; it has no closed form where something
else stands in the place of a part, or runs beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from costmodel import formulas as f
from costmodel.formulas import ACTIVATIONS, BlockCost, LayerCost
from costmodel.graph import LayerSpec, TensorSpec
from costmodel.layers.capture import capture
from costmodel.layers.registry import Call, add_composite
from costmodel.layers.torch_nn import ACTIVATION_NAMES
from costmodel.layers.torch_nn_attention import ALWAYS_COPIED_BACK, again, kind_of_mask
from costmodel.torch_private import FORWARD_HOOKS, FORWARD_PRE_HOOKS

Hyper = Mapping[str, Any]


# -- reading hyper-parameters off the parts ----------------------------------------------------------------------


def _spec(part: Any) -> LayerSpec | None:
    captured = capture(part, None) if isinstance(part, nn.Module) else None
    if captured is None:
        return None
    to_spec, found = captured
    return to_spec(found)


def _parts(module: nn.Module, kind: type[nn.Module], *names: str) -> list[Hyper] | None:
    """The hyper-parameters of some parts, if they are layers of that kind, in the mode of the whole."""
    parts = [getattr(module, name, None) for name in names]
    specs = [_spec(part) for part in parts]
    if any(spec is None or spec.key != kind.__name__ for spec in specs):
        return None
    if any(part is not None and part.training != module.training for part in parts):
        return None
    return [spec.hyper for spec in specs if spec is not None]


def _has(hyper: Hyper, **wanted: Any) -> bool:
    return all(hyper[name] == value for name, value in wanted.items())


def _is_plain(module: nn.Module, base: type[nn.Module], *methods: str) -> bool:
    """Whether nothing runs beside the parts, by methods of its own or by hooks, and no two share a parameter."""
    if any(getattr(type(module), name) is not getattr(base, name) or name in module.__dict__ for name in methods):
        return False
    if any(getattr(part, FORWARD_HOOKS) or getattr(part, FORWARD_PRE_HOOKS) for part in module.modules()):
        return False
    parameters = [id(parameter) for _, parameter in module.named_parameters(remove_duplicate=False)]
    return len(parameters) == len(set(parameters))


def _activation(given: Any) -> str | None:
    """The name of an activation, which is a function of torch's or a module."""
    if isinstance(given, nn.Module):
        spec = _spec(given)
        if spec is None:
            return None
        if spec.key == nn.GELU.__name__:
            return "gelu_tanh" if spec.hyper["approximate"] == "tanh" else "gelu"
        return ACTIVATION_NAMES.get(spec.key)
    name = getattr(given, "__name__", "")
    if name not in ACTIVATIONS:
        return None
    return name if given is getattr(F, name, None) or given is getattr(torch, name, None) else None


def _layer(module: nn.Module, *attentions: str) -> dict[str, Any] | None:
    """The hyper-parameters of an encoder or decoder layer, if its parts fit each other."""
    numbers = range(1, len(attentions) + 2)
    attention = _parts(module, nn.MultiheadAttention, *attentions)
    linear = _parts(module, nn.Linear, "linear1", "linear2")
    norms = _parts(module, nn.LayerNorm, *(f"norm{n}" for n in numbers))
    dropouts = _parts(module, nn.Dropout, "dropout", *(f"dropout{n}" for n in numbers))
    activation = _activation(getattr(module, "activation", None))
    if attention is None or linear is None or norms is None or dropouts is None or activation is None:
        return None
    own = attention[0]
    d_model, nhead, bias, batch_first = own["embed_dim"], own["num_heads"], own["in_proj_bias"], own["batch_first"]
    wide = linear[0]["out_features"]
    drops = {part["dropout"] > 0 for part in attention} | {part["p"] > 0 for part in dropouts}
    fit = (
        all(dict(part, dropout=0) == dict(own, dropout=0) for part in attention)
        and _has(own, _qkv_same_embed_dim=True, bias_k=False, add_zero_attn=False)
        and _has(linear[0], in_features=d_model, bias=bias)
        and _has(linear[1], in_features=wide, out_features=d_model, bias=bias)
        and all(_has(part, normalized_shape=(d_model,), weight=True, bias=bias) for part in norms)
        and all(_has(part, inplace=False) for part in dropouts)
        and len(drops) == 1
    )
    return None if not fit else {
        "d_model": d_model, "nhead": nhead, "dim_feedforward": wide, "activation": activation, "bias": bias,
        "norm_first": module.norm_first, "batch_first": batch_first, "dropout_p": dropouts[0]["p"],
    }  # fmt: skip


def _encoder_layer(module: nn.Module) -> Hyper | None:
    plain = _is_plain(module, nn.TransformerEncoderLayer, "_sa_block", "_ff_block")
    return _layer(module, "self_attn") if plain else None


def _decoder_layer(module: nn.Module) -> Hyper | None:
    plain = _is_plain(module, nn.TransformerDecoderLayer, "_sa_block", "_mha_block", "_ff_block")
    return _layer(module, "self_attn", "multihead_attn") if plain else None


def _stack(module: nn.Module, kind: type[nn.Module]) -> Hyper | None:
    """The hyper-parameters of an encoder or a decoder: of its layers, which must be equal, and how many they are."""
    layers, norm = module.layers, module.norm
    if not isinstance(layers, nn.ModuleList) or not _is_plain(module, type(module)):
        return None
    hyper = _parts(layers, kind, *map(str, range(len(layers))))
    if not hyper or any(one != hyper[0] for one in hyper):
        return None
    if norm is not None:
        found = _parts(module, nn.LayerNorm, "norm")
        wanted = {"normalized_shape": (hyper[0]["d_model"],), "weight": True, "bias": hyper[0]["bias"]}
        if found is None or not _has(found[0], **wanted):
            return None
    return {**hyper[0], "num_layers": len(layers), "norm": norm is not None}


def _encoder(module: nn.Module) -> Hyper | None:
    return _stack(module, nn.TransformerEncoderLayer)


def _decoder(module: nn.Module) -> Hyper | None:
    return _stack(module, nn.TransformerDecoderLayer)


def _transformer(module: nn.Module) -> Hyper | None:
    encoder, decoder = (
        _parts(module, kind, name)
        for kind, name in ((nn.TransformerEncoder, "encoder"), (nn.TransformerDecoder, "decoder"))
    )
    if not encoder or not decoder or not _is_plain(module, nn.Transformer):
        return None
    own, layers = dict(encoder[0]), encoder[0]["num_layers"]
    if own != {**decoder[0], "num_layers": layers} or not own["norm"]:
        return None
    del own["num_layers"], own["norm"]
    return {**own, "num_encoder_layers": layers, "num_decoder_layers": decoder[0]["num_layers"]}


# -- how they were called ----------------------------------------------------------------------------------------


def _sizes(call: Call, given: Mapping[str, Any], **sequences: str) -> dict[str, Any] | None:
    """The arguments that all formulas take, and lengths by name; None where no formula covers the tensors."""
    tensors = [given[name] for name in sequences.values()]
    floats = [mask for name, mask in given.items() if name.endswith("padding_mask") and kind_of_mask(mask) == "float"]
    if call.complex_valued or any(map(again, (*tensors, *floats))):
        return None
    batched = len(tensors[0].shape) == 3
    axis = 1 if batched and call["batch_first"] else 0
    masks = {name: given.get(name) for name in given if name.endswith("mask")}
    per_head = {f"{name}_per_head": mask is not None and len(mask.shape) == 3 for name, mask in masks.items()}
    return {
        **call.hyper,
        **{name: kind_of_mask(mask) for name, mask in masks.items()},
        **{name: flag for name, flag in per_head.items() if "padding" not in name},
        **{length: tensor.shape[axis] for length, tensor in zip(sequences, tensors, strict=True)},
        "batch": tensors[0].shape[1 - axis] if batched else 1, "batched": batched, "training": call.training,
        "always_copied_back": ALWAYS_COPIED_BACK,
    }  # fmt: skip


def _stated(call: Call, kind: type[nn.Module], name: str) -> bool:
    """What the layers in a stack were given: whether a mask was found to be causal is in no shape."""
    layers = (inner for inner in call.within if inner.layer is not None and inner.layer.key == kind.__name__)
    return bool(next(layers).kwargs[name])


def _repeated(
    mask: TensorSpec | None, padding: TensorSpec | None, *, is_causal: bool = False, layers: int = 1,
    detects: bool = False, once: bool = False,
) -> int:  # fmt: skip
    """The elements that expanded masks repeat, for each kernel that reads the masks as they were given.

    With ``once``, bool masks are made float before the layers, of which each else reads what was given.
    """
    times = layers
    if kind_of_mask(mask) == "bool":
        times = 1 if once else layers
    elif is_causal and padding is None:
        times = 0
    if detects and mask is not None and len(mask.shape) == 2 and not (once and kind_of_mask(mask) == "bool"):
        times += 1
    return again(mask) * times + again(padding) * (1 if once else layers)


def _less(cost: BlockCost, repeated: int) -> LayerCost:
    return replace(cost.total, read=cost.total.read - repeated)


_ENCODER_LAYER = ("src", "src_mask", "src_key_padding_mask", "is_causal")
_ENCODER = ("src", "mask", "src_key_padding_mask", "is_causal")
_DECODER = (
    "tgt", "memory", "tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask", "tgt_is_causal",
    "memory_is_causal",
)  # fmt: skip
_TRANSFORMER = (
    "src", "tgt", "src_mask", "tgt_mask", "memory_mask", "src_key_padding_mask", "tgt_key_padding_mask",
    "memory_key_padding_mask", "src_is_causal", "tgt_is_causal", "memory_is_causal",
)  # fmt: skip


def _cost_of_encoder_layer(call: Call) -> LayerCost | None:
    given = call.arguments(_ENCODER_LAYER)
    sizes = _sizes(call, given, length="src")
    if sizes is None:
        return None
    is_causal = given.get("is_causal", False)
    cost = f.transformer_encoder_layer(**sizes, is_causal=is_causal)
    return _less(cost, _repeated(given.get("src_mask"), given.get("src_key_padding_mask"), is_causal=is_causal))


def _cost_of_decoder_layer(call: Call) -> LayerCost | None:
    given = call.arguments(_DECODER)
    sizes = _sizes(call, given, length="tgt", memory_length="memory")
    if sizes is None:
        return None
    causal: dict[str, Any] = {name: given.get(name, False) for name in ("tgt_is_causal", "memory_is_causal")}
    return _less(f.transformer_decoder_layer(**sizes, **causal), _repeated_in_decoder(given, causal))


def _repeated_in_decoder(given: Mapping[str, Any], causal: Mapping[str, Any], **how: Any) -> int:
    own = given.get("tgt_mask"), given.get("tgt_key_padding_mask")
    memory = given.get("memory_mask"), given.get("memory_key_padding_mask")
    return _repeated(*own, is_causal=causal["tgt_is_causal"], **how) + _repeated(
        *memory, is_causal=causal["memory_is_causal"], **how | {"detects": False}
    )


def _cost_of_encoder(call: Call) -> LayerCost | None:
    given = call.arguments(_ENCODER)
    sizes = _sizes(call, given, length="src")
    if sizes is None:
        return None
    is_causal = _stated(call, nn.TransformerEncoderLayer, "is_causal")
    detects = given.get("is_causal") is None
    cost = f.transformer_encoder(**sizes, is_causal=is_causal, detects_causal=detects)
    masks = given.get("mask"), given.get("src_key_padding_mask")
    how = {"layers": call["num_layers"], "detects": detects, "once": True}
    return _less(cost, _repeated(*masks, is_causal=is_causal, **how))


def _cost_of_decoder(call: Call) -> LayerCost | None:
    given = call.arguments(_DECODER)
    sizes = _sizes(call, given, length="tgt", memory_length="memory")
    if sizes is None:
        return None
    causal = _causal_in_decoder(call)
    detects = given.get("tgt_is_causal") is None
    cost = f.transformer_decoder(**sizes, **causal, detects_causal=detects)
    return _less(cost, _repeated_in_decoder(given, causal, layers=call["num_layers"], detects=detects))


def _causal_in_decoder(call: Call) -> dict[str, Any]:
    names = "tgt_is_causal", "memory_is_causal"
    return {name: _stated(call, nn.TransformerDecoderLayer, name) for name in names}


def _cost_of_transformer(call: Call) -> LayerCost | None:
    given = call.arguments(_TRANSFORMER)
    sizes = _sizes(call, given, src_length="src", tgt_length="tgt")
    if sizes is None:
        return None
    causal = _causal_in_decoder(call)
    is_causal = _stated(call, nn.TransformerEncoderLayer, "is_causal")
    of_source, of_target = (given.get(name) is None for name in ("src_is_causal", "tgt_is_causal"))
    cost = f.transformer(
        **sizes, **causal, src_is_causal=is_causal, detects_src_causal=of_source, detects_tgt_causal=of_target
    )
    masks = given.get("src_mask"), given.get("src_key_padding_mask")
    how = {"layers": call["num_encoder_layers"], "detects": of_source, "once": True}
    repeated = _repeated(*masks, is_causal=is_causal, **how)
    how = {"layers": call["num_decoder_layers"], "detects": of_target}
    return _less(cost, repeated + _repeated_in_decoder(given, causal, **how))


add_composite(nn.TransformerEncoderLayer, also=_encoder_layer, formula=_cost_of_encoder_layer)
add_composite(nn.TransformerDecoderLayer, also=_decoder_layer, formula=_cost_of_decoder_layer)
add_composite(nn.TransformerEncoder, also=_encoder, formula=_cost_of_encoder)
add_composite(nn.TransformerDecoder, also=_decoder, formula=_cost_of_decoder)
add_composite(nn.Transformer, also=_transformer, formula=_cost_of_transformer)
