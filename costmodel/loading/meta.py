"""A model without weights, in another dtype."""

from __future__ import annotations

import copy
from typing import Any

from costmodel.errors import LoadError
from costmodel.loading.building import summary


def on_meta(model: Any, dtype: Any) -> Any:
    """A copy of a model whose parameters are of a dtype and lie on the meta device; nothing else of it is copied twice.

    The parameters themselves are never copied, so that a model that fills the memory has such a copy too. Buffers are
    the model's own.
    """
    import torch
    from torch import nn

    memo: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
    for parameter in model.parameters():
        to = dtype if parameter.is_floating_point() else parameter.dtype
        bare = torch.empty_strided(parameter.shape, parameter.stride(), dtype=to, device="meta")
        memo[id(parameter)] = nn.Parameter(bare, requires_grad=parameter.requires_grad)
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise LoadError(
            f"{type(model).__name__} cannot be copied, which another dtype takes ({summary(error)}): build it in that "
            f"dtype, and leave dtype out"
        ) from error
