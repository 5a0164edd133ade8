"""What attention computes behind a causal mask, and what of it a kernel does that skips what the mask hides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from costmodel.profiling import Profile

if TYPE_CHECKING:
    from costmodel.pricing import PricedOp


def visible(tokens: int, window: int | None = None, chunk: int | None = None) -> int:
    """Pairs of a query and a key that a causal mask lets through, in a prompt of so many tokens.

    With a window, a token sees itself and at most ``window - 1`` before it; in chunks, those of its chunk up to itself.

    >>> visible(4), visible(4, window=2), visible(5, chunk=2)
    (10, 7, 7)
    """
    if chunk is not None and chunk < tokens:
        return tokens // chunk * visible(chunk) + visible(tokens % chunk)
    if window is not None and window < tokens:
        return visible(window) + (tokens - window) * window
    return tokens * (tokens + 1) // 2


def executed_macs(p: Profile, model: Any, tokens: int, windows: Sequence[int | None]) -> int:
    """The MACs without those of pairs that a causal mask hides, of a call that is given so many tokens at once."""
    chunk = getattr(getattr(model, "config", None), "attention_chunk_size", None)
    left_out = 0
    for op in p.pricing.ops:
        if tokens > 1 and op.work.macs and _joins(op, tokens):
            module = _module(model, p.pricing.module_name(op.call))
            if op.call.args.get("is_causal") or getattr(module, "is_causal", False):
                at = getattr(module, "layer_idx", None)
                window = windows[at] if isinstance(at, int) and at < len(windows) else None
                in_chunks = chunk if window is not None and window == chunk else None
                pairs = visible(tokens, window, in_chunks)
                left_out += op.work.macs - op.work.macs * pairs // tokens**2
    return p.macs - left_out


def _joins(op: PricedOp, tokens: int) -> bool:
    """Whether an op is a product over all pairs of tokens: attention, or one of its two matrix products."""
    factors = [tensor for _, tensor in op.call.tensors()]
    if op.kind == "attention":
        query, key = (op.call.args.get(name) for name in ("query", "key"))
        return query is not None and key is not None and query.shape[-2] == key.shape[-2] == tokens
    if op.kind != "matmul" or any(factor.role == "parameter" for factor in factors):
        return False
    pairs = (tokens, tokens)
    return any(tensor.shape[-2:] == pairs for tensor in (*op.call.outputs, *factors[:1]))


def _module(model: Any, name: str) -> Any:
    """The module in which an op ran; the model itself, where it is in none of that name."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        return model
