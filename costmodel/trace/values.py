"""The tensors that a model's inputs become: on meta without values, or real ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from costmodel.errors import NeedsValuesError
from costmodel.torch_private import refuse_data_pointers
from costmodel.trace.specs import DTYPE_NAME, copy_as_laid_out, refuse_strided_nested, twin_on_meta
from costmodel.trace.tensor_meta import new_on_meta
from costmodel.trace.traced_tensor import as_traced

SMALL = 1 << 16
"""The most elements of tensors that have values on meta."""


class MetaInputs:
    """Inputs without values; small tensors of integers that are given have them, as models look into those."""

    def __init__(self, device: torch.device, integers_are_zeros: bool) -> None:
        self._device, self._integers_are_zeros = device, integers_are_zeros
        self.copies: dict[int, torch.Tensor] = {}
        """Inputs with values, by ``id()``."""
        self.withheld_integers = False
        """Whether an integer input, of which the shape was given, could have had values."""

    def make(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """An input of which the shape is given."""
        tensor = new_on_meta(shape, DTYPE_NAME[dtype])
        if not has_values(tensor):
            return tensor
        if self._integers_are_zeros:
            return self._with_values(torch.zeros(shape, dtype=dtype))
        self.withheld_integers = True
        return tensor

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """What stands for a given tensor."""
        refuse_strided_nested(tensor)
        if tensor.is_nested:
            raise NeedsValuesError("a nested tensor has sizes that only its values tell")
        if has_values(tensor) and not tensor.is_meta:
            return _as(tensor, self._with_values(tensor))
        twin = as_traced(twin_on_meta(tensor))
        refuse_data_pointers(twin)
        return _as(tensor, twin)

    def _with_values(self, tensor: torch.Tensor) -> torch.Tensor:
        device = torch.device("cpu") if self._device.type == "meta" else self._device
        copy = copy_as_laid_out(tensor).to(device)
        self.copies[id(copy)] = copy
        return copy


class RealInputs:
    """Inputs with values: random numbers, zeros where they are integers, on the model's device."""

    withheld_integers = False
    copies: Mapping[int, torch.Tensor] = {}
    """None that need to be known: on real tensors, all have values."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._generator = torch.Generator().manual_seed(0)

    def make(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """An input of which the shape is given."""
        if not (dtype.is_floating_point or dtype.is_complex):
            return torch.zeros(shape, dtype=dtype, device=self._device)
        drawn = torch.complex64 if dtype.is_complex else torch.float32
        return torch.randn(shape, generator=self._generator, dtype=drawn).to(dtype=dtype, device=self._device)

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """What stands for a given tensor: a copy of it."""
        refuse_strided_nested(tensor)
        if tensor.is_nested:
            return tensor.detach().clone()
        return _as(tensor, copy_as_laid_out(tensor))


def _as(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The other tensor, with what the user has set on the first: attributes, and whether it wants a gradient."""
    if tensor.requires_grad:
        other.requires_grad_()
    if type(tensor) is torch.Tensor:
        vars(other).update(vars(tensor))
    return other


def has_values(tensor: torch.Tensor) -> bool:
    """Whether a given tensor keeps its values on meta: it is small, and holds integers or truth values."""
    dtype = tensor.dtype
    is_number = dtype.is_floating_point or dtype.is_complex
    return not is_number and tensor.layout is torch.strided and tensor.numel() <= SMALL
