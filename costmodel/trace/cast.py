"""A model as if it were of another dtype."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from costmodel.errors import InputError
from costmodel.torch_private import registered_on
from costmodel.trace.inputs import FLOATING
from costmodel.trace.specs import DTYPE_NAME, META
from costmodel.trace.tensor_meta import TENSOR_METAS
from costmodel.trace.tensor_table import LAZY, TensorTable

_WITH_VALUES = 1 << 12
"""Elements of a parameter up to which a model may read its value; weights are larger."""


def require_floating(dtype: torch.dtype) -> None:
    """Raises ``InputError`` for a dtype that no model is cast to."""
    if dtype not in FLOATING:
        raise InputError(f"dtype is that of floating parameters and inputs, such as torch.bfloat16, not {dtype}")


def cast_model(modules: Iterable[nn.Module], table: TensorTable, dtype: torch.dtype, *, real: bool) -> None:
    """Replaces floating parameters and buffers as ``Module.to(dtype)`` would; ``restored`` puts them back.

    A trace that computes nothing is given large parameters without values.
    """
    require_floating(dtype)
    cast: dict[int, torch.Tensor] = {}
    for module in modules:
        for registered in registered_on(module)[:2]:
            if isinstance(module, torch.jit.ScriptModule) and len(registered):
                raise InputError(
                    f"the parameters of {type(module).__name__}, a module of torch.jit, cannot be replaced: convert a "
                    f"copy of it, model.to({dtype}), and leave dtype out"
                )
            for name, tensor in registered.items():
                if tensor is None or tensor.dtype not in FLOATING or tensor.dtype == dtype:
                    continue
                if id(tensor) not in cast:
                    cast[id(tensor)] = _cast(tensor, table, dtype, real)
                registered[name] = cast[id(tensor)]


def _cast(tensor: torch.Tensor, table: TensorTable, dtype: torch.dtype, real: bool) -> torch.Tensor:
    if type(tensor) in LAZY:
        return type(tensor)(tensor.requires_grad, tensor.device, dtype)
    if real or not isinstance(tensor, nn.Parameter) or tensor.numel() <= _WITH_VALUES:
        result = tensor.detach().to(dtype)
    else:
        result = torch.empty_like(tensor, dtype=dtype, device=META)
    if isinstance(tensor, nn.Parameter):
        result = nn.Parameter(result, tensor.requires_grad)
    spec = table.spec(tensor)
    spec.dtype = DTYPE_NAME[dtype]
    spec.strides = None if result.is_contiguous() else tuple(result.stride())
    spec.meta = TENSOR_METAS[spec.shape, spec.dtype, spec.strides, spec.role]
    table.bind(result, spec)
    return result
