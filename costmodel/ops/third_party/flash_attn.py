"""flash_attn: attention in tiles, counted as the attention that it computes: all queries meet all keys.

A causal or local window is computed and masked in the definition, as in torch's own attention here; the kernel skips
tiles that are masked as a whole. Source: the signatures of flash_attn 2.7 (``flash_attn_interface.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.activation import softmax_work
from costmodel.ops.custom import register_op
from costmodel.ops.functions import register_function
from costmodel.ops.rule import Outputs
from costmodel.quantities import Work

_INTERFACE = "flash_attn.flash_attn_interface"


def attention(args: Arguments, rows: int, scores: int, width: int, value_width: int) -> Work:
    """softmax(q k' scale) v for ``rows`` queries of all heads, which have ``scores`` scores together."""
    total = Work(macs=scores * (width + value_width), multiplies=scores)
    of_all = softmax_work(1, scores)  # each row finds its own greatest, and its own sum
    total += Work(
        compares=scores - rows, adds=2 * scores - rows, transcendentals=of_all.transcendentals, divides=of_all.divides
    )
    if args.get("softcap"):  # tanh(score / cap) * cap
        total += Work(divides=scores, transcendentals=scores, multiplies=scores)
    if args.get("alibi_slopes") is not None:  # slope * distance, added
        total += Work(multiplies=scores, adds=scores)
    if args.get("dropout_p"):
        total += Work(multiplies=2 * scores)
    return total


def _results(args: Arguments, y: TensorSpec, rows: tuple[int, ...]) -> Outputs:
    return (y, TensorSpec(rows, "float32"), TensorSpec((0,), y.dtype)) if args.get("return_softmax") else y


# -- sequences of one length: (batch, length, heads, width) ------------------------------------------------------------


def _dense(q: TensorSpec, k: TensorSpec, v: TensorSpec, args: Arguments) -> Work:
    batch, length, heads, width = q.shape
    rows = batch * heads * length
    return attention(args, rows, rows * k.shape[1], width, v.shape[-1])


def _attended(args: Arguments) -> Outputs:
    q, v = args["q"], args["v"] if "v" in args else args["kv"]
    y = TensorSpec((*q.shape[:-1], v.shape[-1]), q.dtype)
    return _results(args, y, (q.shape[0], q.shape[2], q.shape[1]))


def _packed(args: Arguments) -> Outputs:
    batch, length, _, heads, width = args["qkv"].shape
    return _results(args, TensorSpec((batch, length, heads, width), args["qkv"].dtype), (batch, heads, length))


def _part(packed: TensorSpec) -> TensorSpec:
    """One of the tensors that are packed along the third dimension from the end."""
    return TensorSpec((*packed.shape[:-3], *packed.shape[-2:]), packed.dtype)


@register_function(f"{_INTERFACE}:FlashAttnFunc", outputs=_attended, kind="attention")
def _attention(call: OpCall) -> Work:
    return _dense(call.args["q"], call.args["k"], call.args["v"], call.args)


@register_function(f"{_INTERFACE}:FlashAttnKVPackedFunc", outputs=_attended, kind="attention")
def _kv_packed(call: OpCall) -> Work:
    kv = _part(call.args["kv"])
    return _dense(call.args["q"], kv, kv, call.args)


@register_function(f"{_INTERFACE}:FlashAttnQKVPackedFunc", outputs=_packed, kind="attention")
def _qkv_packed(call: OpCall) -> Work:
    qkv = _part(call.args["qkv"])
    return _dense(qkv, qkv, qkv, call.args)


def _op_outputs(args: Arguments) -> Outputs:
    q = args["q"]
    lse = TensorSpec((q.shape[0], q.shape[2], q.shape[1]), "float32")
    return TensorSpec(q.shape, q.dtype), lse, TensorSpec((0,), q.dtype), TensorSpec((2,), "int64")


@register_op("flash_attn::_flash_attn_forward", outputs=_op_outputs, kind="attention")
def _op(call: OpCall) -> Work:
    return _dense(call.args["q"], call.args["k"], call.args["v"], call.args)


# -- sequences of several lengths, one after the other: (total, heads, width) ------------------------------------------


def _lengths(starts: Any) -> list[int]:
    """The lengths of sequences, from where each starts and the last ends."""
    at = starts.tolist()
    return [end - start for start, end in pairwise(at)]


def _observed_pairs(queries: str, keys: str) -> Callable[[Mapping[str, Any]], dict[str, int]]:
    """How many pairs of a query and a key of one sequence there are."""

    def observe(args: Mapping[str, Any]) -> dict[str, int]:
        pairs = zip(_lengths(args[queries]), _lengths(args[keys]), strict=True)
        return {"pairs": sum(q * k for q, k in pairs)}

    return observe


def _unequal(call: OpCall) -> str | None:
    if "observed" in call.args or _sequences(call) == 1:
        return None
    return f"how long the sequences of {call.op} are depends on values; they are taken to be of one length"


def _sequences(call: OpCall) -> int:
    args = call.args
    starts = args["cu_seqlens"] if "cu_seqlens" in args else args["cu_seqlens_q"]
    return int(starts.shape[0]) - 1


def _pairs(call: OpCall, queries: int, keys: int) -> int:
    if "observed" in call.args:
        return int(call.args["observed"]["pairs"])
    if queries == keys or _sequences(call) == 1:
        return queries * keys // max(_sequences(call), 1)  # never less where both have the same lengths
    return 0


def _varlen(call: OpCall, q: TensorSpec, k: TensorSpec, v: TensorSpec) -> Work:
    total, heads, width = q.shape
    return attention(call.args, total * heads, _pairs(call, total, k.shape[0]) * heads, width, v.shape[-1])


def _varlen_attended(args: Arguments) -> Outputs:
    q, v = args["q"], args["v"] if "v" in args else args["kv"]
    return _results(args, TensorSpec((*q.shape[:-1], v.shape[-1]), q.dtype), (q.shape[1], q.shape[0]))


def _varlen_packed(args: Arguments) -> Outputs:
    total, _, heads, width = args["qkv"].shape
    return _results(args, TensorSpec((total, heads, width), args["qkv"].dtype), (heads, total))


_OF_TWO = _observed_pairs("cu_seqlens_q", "cu_seqlens_k")


@register_function(
    f"{_INTERFACE}:FlashAttnVarlenFunc", outputs=_varlen_attended, kind="attention", observe=_OF_TWO,
    bound_because=_unequal,
)  # fmt: skip
def _varlen_attention(call: OpCall) -> Work:
    return _varlen(call, call.args["q"], call.args["k"], call.args["v"])


@register_function(
    f"{_INTERFACE}:FlashAttnVarlenKVPackedFunc", outputs=_varlen_attended, kind="attention", observe=_OF_TWO,
    bound_because=_unequal,
)  # fmt: skip
def _varlen_kv_packed(call: OpCall) -> Work:
    kv = _part(call.args["kv"])
    return _varlen(call, call.args["q"], kv, kv)


@register_function(
    f"{_INTERFACE}:FlashAttnVarlenQKVPackedFunc", outputs=_varlen_packed, kind="attention",
    observe=_observed_pairs("cu_seqlens", "cu_seqlens"), bound_because=_unequal,
)  # fmt: skip
def _varlen_qkv_packed(call: OpCall) -> Work:
    qkv = _part(call.args["qkv"])
    return _varlen(call, qkv, qkv, qkv)


# -- one step of generation -------------------------------------------------------------------------------------------


def _observed_keys(args: Mapping[str, Any]) -> dict[str, int]:
    """Keys of all sequences in the cache together, before this step."""
    lengths: Any = args.get("cache_seqlens")
    return {"keys": sum(lengths.tolist())} if hasattr(lengths, "tolist") else {}


def _cached(args: Arguments) -> Outputs:
    q = args["q"]
    y = TensorSpec((*q.shape[:-1], args["v_cache"].shape[-1]), q.dtype)
    lse = TensorSpec((q.shape[0], q.shape[2], q.shape[1]), "float32")
    return (y, lse) if args.get("return_softmax_lse") else y


def _unknown_lengths(call: OpCall) -> str | None:
    if "observed" in call.args or not isinstance(call.args.get("cache_seqlens"), TensorSpec):
        return None
    return f"how much of its cache {call.op} reads depends on values; it is taken to be empty"


@register_function(
    f"{_INTERFACE}:flash_attn_with_kvcache", outputs=_cached, kind="attention", observe=_observed_keys,
    bound_because=_unknown_lengths,
)  # fmt: skip
def _with_cache(call: OpCall) -> Work:
    args = call.args
    q, cache, new = args["q"], args["k_cache"], args.get("k")
    batch, length, heads, width = q.shape
    held = args.get("cache_seqlens")
    if "observed" in args:
        keys = int(args["observed"]["keys"])
    elif isinstance(held, TensorSpec):
        keys = 0
    else:
        keys = batch * (cache.shape[1] if held is None else held)
    keys += batch * new.shape[1] if new is not None else 0
    return attention(
        args, batch * length * heads if keys else 0, keys * length * heads, width, args["v_cache"].shape[-1]
    )
