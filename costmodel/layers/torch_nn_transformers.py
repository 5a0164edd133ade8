"""The transformers of ``torch.nn``: composites, whose parts are layers with closed forms of their own.

Each is derived as a whole, from the hyper-parameters of its parts, which stand in their calls; it has no closed form
where something else stands in the place of a part, or runs beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from costmodel import formulas as f
from costmodel.formulas import ACTIVATIONS, BlockCost, LayerCost
from costmodel.graph import ModuleCall, TensorSpec
from costmodel.layers.names import ClassName, nn
from costmodel.layers.registry import Also, Call, add_composite
from costmodel.layers.torch_nn import ACTIVATION_NAMES
from costmodel.layers.torch_nn_attention import again, always_copied_back, kind_of_mask

if TYPE_CHECKING:
    from torch.nn import Module

Hyper = Mapping[str, Any]


# -- what is read off a module when it has run -------------------------------------------------------------------


def _is_plain(module: Module, base: type[Module], *methods: str) -> bool:
    """Whether the methods that the forward calls are the base's, and nothing is hooked to the module."""
    from costmodel.torch_private import FORWARD_PRE_HOOKS

    if any(getattr(type(module), name) is not getattr(base, name) or name in module.__dict__ for name in methods):
        return False
    return not getattr(module, FORWARD_PRE_HOOKS)


def _are_unhooked(parts: Iterable[Module]) -> bool:
    """Whether nothing runs before or after the parts that is no part itself."""
    from costmodel.torch_private import FORWARD_HOOKS, FORWARD_PRE_HOOKS

    hooks = (getattr(part, name) for part in parts for name in (FORWARD_PRE_HOOKS, FORWARD_HOOKS))
    return not any(hooks)


def _own_of_layer(base: ClassName, *methods: str) -> Also:
    """What an encoder or decoder layer is asked for itself: the norms' place, and the activation."""

    def own(module: Module) -> Hyper | None:
        activation = _activation(getattr(module, "activation", None))
        if activation is None or not _is_plain(module, base.load(), *methods) or not _are_unhooked(module.children()):
            return None
        return {"norm_first": module.norm_first, "activation": activation}

    return own


def _activation(given: Any) -> str | None:
    """The name of an activation, which is a function of torch's or a module."""
    import torch

    from costmodel.layers.capture import capture

    if isinstance(given, torch.nn.Module):
        captured = capture(given, None)
        if captured is None:
            return None
        to_spec, found = captured
        spec = to_spec(found)
        if spec.key == nn.GELU.name:
            return "gelu_tanh" if spec.hyper["approximate"] == "tanh" else "gelu"
        return ACTIVATION_NAMES.get(spec.key)
    name = getattr(given, "__name__", "")
    if name not in ACTIVATIONS:
        return None
    return name if given is getattr(torch.nn.functional, name, None) or given is getattr(torch, name, None) else None


def _own_of_stack(module: Module) -> Hyper | None:
    """Nothing: all stands in the calls of what is stacked."""
    import torch

    stacked = module.layers if isinstance(module.layers, torch.nn.ModuleList) else ()
    return {} if _is_plain(module, type(module)) and _are_unhooked((*module.children(), *stacked)) else None


def _own_of_transformer(module: Module) -> Hyper | None:
    """Nothing: all stands in the calls of the two stacks."""
    return {} if _is_plain(module, type(module)) and _are_unhooked(module.children()) else None


# -- what stands in the calls of the parts -----------------------------------------------------------------------


def _parts(call: ModuleCall, within: Sequence[ModuleCall]) -> dict[str, ModuleCall]:
    """The calls of the parts by their names in the whole; none where one was called twice, or is of no formula."""
    calls = [inner for inner in within if inner.parent == call.index]
    parts = {inner.name.removeprefix(call.name).lstrip("."): inner for inner in calls}
    plain = all(inner.layer is not None and inner.training == call.training for inner in calls)
    return parts if plain and len(parts) == len(calls) else {}


def _hyper(parts: Mapping[str, ModuleCall], kind: ClassName, *names: str) -> list[Hyper]:
    """The hyper-parameters of some parts; none where one of them is missing, or of another kind."""
    specs = [part.layer for name in names if (part := parts.get(name)) is not None and part.layer is not None]
    return [spec.hyper for spec in specs if spec.key == kind.name] if len(specs) == len(names) else []


def _has(hyper: Hyper, **wanted: Any) -> bool:
    return all(hyper[name] == value for name, value in wanted.items())


def _layer(call: ModuleCall, within: Sequence[ModuleCall], *attentions: str) -> dict[str, Any] | None:
    """The hyper-parameters of an encoder or decoder layer, if its parts fit each other."""
    parts = _parts(call, within)
    numbers = range(1, len(attentions) + 2)
    norm_names = [f"norm{n}" for n in numbers]
    dropout_names = ["dropout", *(f"dropout{n}" for n in numbers)]
    attention = _hyper(parts, nn.MultiheadAttention, *attentions)
    linear = _hyper(parts, nn.Linear, "linear1", "linear2")
    norms = _hyper(parts, nn.LayerNorm, *norm_names)
    dropouts = _hyper(parts, nn.Dropout, *dropout_names)
    found = len(attention) + len(linear) + len(norms) + len(dropouts)
    if call.layer is None or found != len(parts) - ("activation" in parts) or found != 3 * len(numbers) + 2:
        return None
    own = attention[0]
    d_model, bias, wide = own["embed_dim"], own["in_proj_bias"], linear[0]["out_features"]
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
        **call.layer.hyper, "d_model": d_model, "nhead": own["num_heads"], "dim_feedforward": wide, "bias": bias,
        "batch_first": own["batch_first"], "dropout_p": dropouts[0]["p"],
    }  # fmt: skip


def _encoder_layer(call: ModuleCall, within: Sequence[ModuleCall]) -> dict[str, Any] | None:
    return _layer(call, within, "self_attn")


def _decoder_layer(call: ModuleCall, within: Sequence[ModuleCall]) -> dict[str, Any] | None:
    return _layer(call, within, "self_attn", "multihead_attn")


def _stack(call: ModuleCall, within: Sequence[ModuleCall], kind: ClassName) -> dict[str, Any] | None:
    """The hyper-parameters of an encoder or a decoder: of its layers, which must be equal, and how many they are."""
    parts = _parts(call, within)
    layers = [part for name, part in parts.items() if name != "norm"]
    if not layers or len(_hyper(parts, kind, *(name for name in parts if name != "norm"))) != len(layers):
        return None
    of_layer = _encoder_layer if kind == nn.TransformerEncoderLayer else _decoder_layer
    hyper, *others = (of_layer(layer, within) for layer in layers)
    if hyper is None or any(other != hyper for other in others):
        return None
    norm = _hyper(parts, nn.LayerNorm, "norm")
    if len(norm) != len(parts) - len(layers):
        return None
    if norm and not _has(norm[0], normalized_shape=(hyper["d_model"],), weight=True, bias=hyper["bias"]):
        return None
    return {**hyper, "num_layers": len(layers), "norm": bool(norm)}


def _encoder(call: ModuleCall, within: Sequence[ModuleCall]) -> dict[str, Any] | None:
    return _stack(call, within, nn.TransformerEncoderLayer)


def _decoder(call: ModuleCall, within: Sequence[ModuleCall]) -> dict[str, Any] | None:
    return _stack(call, within, nn.TransformerDecoderLayer)


def _transformer(call: ModuleCall, within: Sequence[ModuleCall]) -> dict[str, Any] | None:
    parts = _parts(call, within)
    if parts.keys() != {"encoder", "decoder"}:
        return None
    encoder, decoder = _encoder(parts["encoder"], within), _decoder(parts["decoder"], within)
    if encoder is None or decoder is None:
        return None
    counts = {"num_encoder_layers": encoder.pop("num_layers"), "num_decoder_layers": decoder.pop("num_layers")}
    return None if encoder != decoder or not encoder.pop("norm") else {**encoder, **counts}


# -- how they were called ----------------------------------------------------------------------------------------


def _sizes(call: Call, hyper: Hyper | None, given: Mapping[str, Any], **sequences: str) -> dict[str, Any] | None:
    """The arguments that all formulas take, and lengths by name; None where no formula covers the tensors."""
    if hyper is None:
        return None
    tensors = [given[name] for name in sequences.values()]
    floats = [mask for name, mask in given.items() if name.endswith("padding_mask") and kind_of_mask(mask) == "float"]
    if call.complex_valued or any(map(again, (*tensors, *floats))):
        return None
    batched = len(tensors[0].shape) == 3
    axis = 1 if batched and hyper["batch_first"] else 0
    masks = {name: given.get(name) for name in given if name.endswith("mask")}
    per_head = {f"{name}_per_head": mask is not None and len(mask.shape) == 3 for name, mask in masks.items()}
    return {
        **hyper,
        **{name: kind_of_mask(mask) for name, mask in masks.items()},
        **{name: flag for name, flag in per_head.items() if "padding" not in name},
        **{length: tensor.shape[axis] for length, tensor in zip(sequences, tensors, strict=True)},
        "batch": tensors[0].shape[1 - axis] if batched else 1, "batched": batched, "training": call.training,
        "always_copied_back": always_copied_back(),
    }  # fmt: skip


def _stated(call: Call, kind: ClassName, name: str) -> bool:
    """What the layers in a stack were given: whether a mask was found to be causal is in no shape."""
    layers = (inner for inner in call.within if inner.layer is not None and inner.layer.key == kind.name)
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


def _cost_of_encoder_layer(call: Call) -> LayerCost | None:
    given = call.given
    sizes = _sizes(call, _encoder_layer(call.record, call.within), given, length="src")
    if sizes is None:
        return None
    is_causal = given.get("is_causal", False)
    cost = f.transformer_encoder_layer(**sizes, is_causal=is_causal)
    return _less(cost, _repeated(given.get("src_mask"), given.get("src_key_padding_mask"), is_causal=is_causal))


def _cost_of_decoder_layer(call: Call) -> LayerCost | None:
    given = call.given
    sizes = _sizes(call, _decoder_layer(call.record, call.within), given, length="tgt", memory_length="memory")
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
    given = call.given
    sizes = _sizes(call, _encoder(call.record, call.within), given, length="src")
    if sizes is None:
        return None
    is_causal = _stated(call, nn.TransformerEncoderLayer, "is_causal")
    detects = given.get("is_causal") is None
    cost = f.transformer_encoder(**sizes, is_causal=is_causal, detects_causal=detects)
    masks = given.get("mask"), given.get("src_key_padding_mask")
    how = {"layers": sizes["num_layers"], "detects": detects, "once": True}
    return _less(cost, _repeated(*masks, is_causal=is_causal, **how))


def _cost_of_decoder(call: Call) -> LayerCost | None:
    given = call.given
    sizes = _sizes(call, _decoder(call.record, call.within), given, length="tgt", memory_length="memory")
    if sizes is None:
        return None
    causal = _causal_in_decoder(call)
    detects = given.get("tgt_is_causal") is None
    cost = f.transformer_decoder(**sizes, **causal, detects_causal=detects)
    return _less(cost, _repeated_in_decoder(given, causal, layers=sizes["num_layers"], detects=detects))


def _causal_in_decoder(call: Call) -> dict[str, Any]:
    names = "tgt_is_causal", "memory_is_causal"
    return {name: _stated(call, nn.TransformerDecoderLayer, name) for name in names}


def _cost_of_transformer(call: Call) -> LayerCost | None:
    given = call.given
    sizes = _sizes(call, _transformer(call.record, call.within), given, src_length="src", tgt_length="tgt")
    if sizes is None:
        return None
    causal = _causal_in_decoder(call)
    is_causal = _stated(call, nn.TransformerEncoderLayer, "is_causal")
    of_source, of_target = (given.get(name) is None for name in ("src_is_causal", "tgt_is_causal"))
    cost = f.transformer(
        **sizes, **causal, src_is_causal=is_causal, detects_src_causal=of_source, detects_tgt_causal=of_target
    )
    masks = given.get("src_mask"), given.get("src_key_padding_mask")
    how = {"layers": sizes["num_encoder_layers"], "detects": of_source, "once": True}
    repeated = _repeated(*masks, is_causal=is_causal, **how)
    how = {"layers": sizes["num_decoder_layers"], "detects": of_target}
    return _less(cost, repeated + _repeated_in_decoder(given, causal, **how))


_DECODED = "tgt memory tgt_mask memory_mask tgt_key_padding_mask memory_key_padding_mask tgt_is_causal memory_is_causal"
add_composite(
    nn.TransformerEncoderLayer,
    also=_own_of_layer(nn.TransformerEncoderLayer, "_sa_block", "_ff_block"),
    formula=_cost_of_encoder_layer,
    takes="src src_mask src_key_padding_mask is_causal",
)
add_composite(
    nn.TransformerDecoderLayer,
    also=_own_of_layer(nn.TransformerDecoderLayer, "_sa_block", "_mha_block", "_ff_block"),
    formula=_cost_of_decoder_layer,
    takes=_DECODED,
)
add_composite(
    nn.TransformerEncoder, also=_own_of_stack, formula=_cost_of_encoder,
    takes="src mask src_key_padding_mask is_causal",
)  # fmt: skip
add_composite(nn.TransformerDecoder, also=_own_of_stack, formula=_cost_of_decoder, takes=_DECODED)
add_composite(
    nn.Transformer, also=_own_of_transformer, formula=_cost_of_transformer,
    takes="src tgt src_mask tgt_mask memory_mask src_key_padding_mask tgt_key_padding_mask memory_key_padding_mask "
    "src_is_causal tgt_is_causal memory_is_causal",
)  # fmt: skip
