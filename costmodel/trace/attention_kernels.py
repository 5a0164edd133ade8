"""Scaled dot-product attention above autograd: the kernel that a real run takes, by shapes and dtypes.

Source: ``scaled_dot_product_attention`` in aten/src/ATen/native/transformers/attention.cpp, sdp_utils_cpp.cpp, and
cuda/sdp_utils.cpp.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn.functional import pad

from costmodel.torch_private import run_for_cpu, without_modes

_FLASH = 1
"""What ``aten._fused_sdp_choice`` calls the fused kernel; torch has no other enumeration of all its answers."""


def on_cpu(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """The fused kernel, where torch chooses it for the CPU. Else torch's own composite of matrix products."""
    if _is_refused(query, key, value, attn_mask, is_causal):
        return NotImplemented
    has_batch = query.dim() == 4
    with nullcontext() if has_batch else without_modes():  # which would see it add a dimension
        choice = run_for_cpu(
            torch.ops.aten._fused_sdp_choice.default,
            (query, key, value, attn_mask, dropout_p, is_causal),
            {"scale": scale, "enable_gqa": enable_gqa},
        )
    if choice != _FLASH:
        return NotImplemented
    if not has_batch:
        query, key, value = query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0)
        while attn_mask is not None and attn_mask.dim() < 4:
            attn_mask = attn_mask.unsqueeze(0)
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    mask = _added(attn_mask, query.dtype)
    result = fused(query, key, value, dropout_p, is_causal, attn_mask=mask, scale=scale)[0]
    return result if has_batch else result.squeeze(0)


def on_cuda(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """On a GPU since Ampere: FlashAttention in half precision without a mask, else the memory-efficient kernel.

    Where torch prefers cuDNN's kernel, it keeps as much as FlashAttention.
    """
    given = query, key, value
    if _is_refused(*given, attn_mask, is_causal) or not _fits_a_fused_kernel(*given):
        return NotImplemented
    if attn_mask is None and _fits_flash(*given, is_causal, enable_gqa):
        depth = query.shape[-1]
        query, key, value = (pad(t, (0, -depth % 8)) if depth % 8 else t for t in given)
        scale = scale if scale is not None else 1 / math.sqrt(depth)
        flash = torch.ops.aten._scaled_dot_product_flash_attention.default
        result = flash(query, key, value, dropout_p, is_causal, False, scale=scale)[0]
        return result.narrow(-1, 0, depth) if depth % 8 else result
    if _fits_efficient(*given):
        mask = _added(attn_mask, query.dtype)
        if mask is not None:
            mask = _aligned(mask).expand(*query.shape[:3], key.shape[2])
        keeps = torch.is_grad_enabled() and any(t.requires_grad for t in given)
        efficient = torch.ops.aten._scaled_dot_product_efficient_attention.default
        return efficient(query, key, value, mask, keeps, dropout_p, is_causal, scale=scale)[0]
    return NotImplemented


def _is_refused(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, is_causal: bool
) -> bool:
    return (mask is not None and is_causal) or not query.dtype is key.dtype is value.dtype


def _added(mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """What is added to the scores: a boolean mask as zeros and minus infinity."""
    if mask is None or mask.dtype is not torch.bool:
        return mask
    return torch.where(mask, 0.0, torch.scalar_tensor(float("-inf"), dtype=dtype, device="meta"))


def _fits_a_fused_kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    given = query, key, value
    return (
        all(t.dim() == 4 and 0 not in t.shape and not t.is_nested for t in given)
        and all(t.stride(-1) == 1 or t.shape[-1] == 1 for t in given)
        and query.shape[0] == key.shape[0] == value.shape[0]
        and key.shape[1:3] == value.shape[1:3]
    )


def _fits_flash(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, is_causal: bool, enable_gqa: bool) -> bool:
    heads, kv_heads = query.shape[1], key.shape[1]
    return (
        torch.backends.cuda.flash_sdp_enabled()
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] == key.shape[-1] == value.shape[-1] <= 256
        and not (is_causal and query.shape[2] != key.shape[2])
        and (heads == kv_heads or (enable_gqa and heads % kv_heads == 0))
    )


def _fits_efficient(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    aligned = 4 if query.dtype is torch.float32 else 8
    return (
        torch.backends.cuda.mem_efficient_sdp_enabled()
        and query.dtype in (torch.float16, torch.bfloat16, torch.float32)
        and query.shape[-1] == key.shape[-1]
        and query.shape[-1] % aligned == value.shape[-1] % aligned == 0
        and query.shape[1] == key.shape[1]
    )


def _aligned(mask: torch.Tensor) -> torch.Tensor:
    """Rows of the mask begin at multiples of 8 elements."""
    keys = mask.shape[-1]
    return pad(mask, (0, -keys % 8)).narrow(-1, 0, keys) if keys % 8 else mask
