"""Multi-head attention of ``torch.nn``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from costmodel import formulas as f
from costmodel.graph import TensorSpec
from costmodel.layers.names import nn
from costmodel.layers.registry import Call, add
from costmodel.machine import torch_release

if TYPE_CHECKING:
    from costmodel.formulas import LayerCost
    from costmodel.formulas.gradient import BackwardCost, Gradient, Needs


def always_copied_back() -> bool:
    """Whether torch makes the result contiguous where a view would do: until 2.6, and no longer in 2.13."""
    return torch_release() <= (2, 6)


def _multi_head_attention(call: Call) -> LayerCost | None:
    given = call.given
    query, key, value = given["query"], given["key"], given["value"]
    if any(t.distinct != t.size for t in (query, key, value)):
        return None
    attn_mask, padding_mask = given.get("attn_mask"), given.get("key_padding_mask")
    if kind_of_mask(padding_mask) == "float" and again(padding_mask):
        return None  # how it lies in memory decides what is copied
    batched = len(query.shape) == 3
    batch_first = call["batch_first"] and batched
    batch, queries = (1, query.shape[0]) if not batched else query.shape[:2] if batch_first else query.shape[1::-1]
    # torch gives each unbatched tensor a batch dimension of its own, and no longer sees that they are the same.
    same = "self" if query is key and key is value else "shared_key_value" if key is value else "distinct"
    need_weights, is_causal = given.get("need_weights", True), given.get("is_causal", False)
    cost = f.multi_head_attention(
        embed_dim=call["embed_dim"], num_heads=call["num_heads"], queries=queries,
        keys=key.shape[1 if batch_first else 0], batch=batch, inputs=same if batched else "distinct",
        kdim=None if call["_qkv_same_embed_dim"] else call["kdim"],
        vdim=None if call["_qkv_same_embed_dim"] else call["vdim"],
        bias=call["in_proj_bias"], batch_first=batch_first, need_weights=need_weights,
        average_attn_weights=given.get("average_attn_weights", True), attn_mask=kind_of_mask(attn_mask),
        attn_mask_per_head=attn_mask is not None and len(attn_mask.shape) == 3,
        key_padding_mask=kind_of_mask(padding_mask), is_causal=is_causal, training=call.training,
        dropout_p=call["dropout"],
        # Dropout is what the fused kernels cannot do: without them the result is contiguous, and is copied back.
        transposed_output=not (call.training and call["dropout"]),
        transposed_inputs=[_is_transposed(t, batch_first=batch_first) for t in (query, key, value)],
        add_bias_kv=call["bias_k"], add_zero_attn=call["add_zero_attn"], always_copied_back=always_copied_back(),
    )  # fmt: skip
    unread = is_causal and padding_mask is None and not need_weights and kind_of_mask(attn_mask) == "float"
    repeated = sum(again(mask) for mask in (padding_mask, None if unread else attn_mask))
    sequences = [query, key, value]
    first = [next(i for i, t in enumerate(sequences) if t is own) for own in sequences]
    assert cost.gradient is not None
    return replace(
        cost,
        read=cost.read - repeated,
        gradient=partial(_kept_once, cost.gradient, first) if first != [0, 1, 2] else cost.gradient,
        output_shape=cost.output_shape if batched else (queries, call["embed_dim"]),
    )


def _kept_once(gradient: Gradient, first: Sequence[int], needs: Needs) -> BackwardCost:
    """A tensor that is given as several of query, key and value is one; ``first`` is where each stands first."""
    cost = gradient(needs)
    names = {f"input {i}": f"input {at}" for i, at in enumerate(first)}
    saved = {name: replace(kept, tensor=name) for kept in cost.saved for name in [names.get(kept.tensor, kept.tensor)]}
    return replace(cost, saved=tuple(saved.values()))


def _is_transposed(t: TensorSpec, *, batch_first: bool) -> bool:
    """Whether a sequence of (L, N, E), as it is worked on, lies in memory in another order."""
    if not batch_first:
        return not t.is_contiguous
    axes = (1, 0, 2)
    shape, strides = (tuple(sizes[axis] for axis in axes) for sizes in (t.shape, t.full_strides))
    return not replace(t, shape=shape, strides=strides).is_contiguous


def kind_of_mask(mask: TensorSpec | None) -> str | None:
    """The word that formulas have for a mask of this dtype."""
    return None if mask is None else "bool" if mask.dtype == "bool" else "float"


def again(mask: TensorSpec | None) -> int:
    """Elements of an expanded mask that lie where others do: what reads it reads those once."""
    return 0 if mask is None else mask.size - mask.distinct


def _of_projection(module: Any) -> Mapping[str, Any] | None:
    """Nothing: the projection of the heads is as wide as all else. Its parameters are read without calling it."""
    from costmodel.torch_private import registered_on

    projection = registered_on(module.out_proj)[0]
    has_bias = projection.get("bias") is not None
    return {} if projection.keys() == {"weight", "bias"} and has_bias == (module.in_proj_bias is not None) else None


add(
    nn.MultiheadAttention,
    hyper="embed_dim num_heads kdim vdim dropout batch_first add_zero_attn _qkv_same_embed_dim",
    optional_params="in_proj_bias bias_k",
    also=_of_projection,
    params=lambda _: ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "bias_v"),
    formula=_multi_head_attention,
    kind="attention",
    takes_expanded=True,
    takes="query key value key_padding_mask need_weights attn_mask average_attn_weights is_causal",
)
