"""Between torch's tensors and the library's records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from costmodel.graph import TensorSpec

DTYPE_NAME: dict[torch.dtype, str] = {
    value: str(value).removeprefix("torch.") for value in vars(torch).values() if isinstance(value, torch.dtype)
}
"""``torch.float32`` is ``"float32"`` in the records."""

DTYPE: dict[str, torch.dtype] = {name: dtype for dtype, name in DTYPE_NAME.items()}

META = torch.device("meta")

PLAIN = frozenset({bool, int, float, complex, str, type(None)})
"""Types of arguments that are their own record."""


def spec_of(tensor: torch.Tensor) -> TensorSpec:
    """The record of a tensor: its shape, dtype and strides, nothing of its values."""
    shape = tuple(tensor.shape)
    if tensor.layout is not torch.strided:
        return TensorSpec(shape, DTYPE_NAME[tensor.dtype])
    strides = None if tensor.is_contiguous() else tuple(tensor.stride())
    return TensorSpec(shape, DTYPE_NAME[tensor.dtype], strides)


def empty_meta(spec: TensorSpec) -> torch.Tensor:
    """A tensor without memory that has the record's shape, dtype and strides."""
    if spec.strides is None:
        return torch.empty(spec.shape, dtype=DTYPE[spec.dtype], device=META)
    return torch.empty_strided(spec.shape, spec.strides, dtype=DTYPE[spec.dtype], device=META)


def twin_on_meta(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor without memory that is laid out as the given one; ``Tensor.to`` would lay it out anew."""
    if tensor.layout is not torch.strided:
        return tensor.detach().to(META)
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)


def map_tensors(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """The same nest of tuples, lists and mappings with every tensor changed, and no hold on other objects.

    >>> map_tensors({"a": (torch.zeros(2), 3)}, lambda t: tuple(t.shape))
    {'a': ((2,), 3)}
    """
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) in PLAIN:
        return value
    if isinstance(value, tuple):
        return tuple([map_tensors(item, change) for item in value])
    if isinstance(value, list):
        return [map_tensors(item, change) for item in value]
    if isinstance(value, Mapping):
        return {key: map_tensors(item, change) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: map_tensors(getattr(value, name, None), change) for name in value.__dataclass_fields__}
    return f"<{type(value).__name__}>"
