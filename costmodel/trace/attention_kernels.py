"""Scaled dot-product attention above autograd: the kernel that a real run takes, by shapes and dtypes.

Source: ``scaled_dot_product_attention`` in aten/src/ATen/native/transformers/attention.cpp, sdp_utils_cpp.cpp.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch

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
    if (attn_mask is not None and is_causal) or not query.dtype is key.dtype is value.dtype:
        return NotImplemented  # which torch refuses
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
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        minus_infinity = torch.scalar_tensor(float("-inf"), dtype=query.dtype, device="meta")
        attn_mask = torch.where(attn_mask, 0.0, minus_infinity)
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    result = fused(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]
    return result if has_batch else result.squeeze(0)
