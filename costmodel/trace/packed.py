"""Packed weights: the objects of torch's C++ code in which quantised layers hold a weight and a bias."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any

import torch

from costmodel.graph import Arguments, TensorSpec
from costmodel.records import dataclass
from costmodel.torch_private import qualified_type, without_modes

_GEOMETRY = ("stride", "padding", "output_padding", "dilation", "groups", "transpose")
"""What a packed convolution tells besides its weight and bias."""


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """What a trace knows of one such object; ``expand`` makes arguments of it, by which rules know it."""

    tensors: tuple[TensorSpec, ...]
    """The weight, and the bias where there is one; of a recurrent cell, both weights, then both biases."""
    geometry: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Any, ...]:
        """What stands for it in the key of the dispatch cache."""
        geometry = ((name, tuple(v) if isinstance(v, list) else v) for name, v in self.geometry.items())
        return (*(t.meta for t in self.tensors), *geometry)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A tensor in packed weights, as torch unpacks it."""

    name: str
    tensor: torch.Tensor
    is_half: bool = False
    """Whether it is stored in 16 bits, and was unpacked to 32."""


def is_packed(value: Any) -> bool:
    """Whether an object is packed weights."""
    return type(value) is torch.ScriptObject and qualified_type(value).endswith("ParamsBase")


def unpacked(packed: Any) -> tuple[list[Unpacked], dict[str, Any]]:
    """The tensors in packed weights, copies where torch makes them; and the geometry of a convolution."""
    kind = qualified_type(packed)
    with without_modes(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch makes a quantised tensor, which it calls deprecated
        if kind.endswith("CellParamsBase"):
            return list(_of_cell(packed)), {}
        if kind.endswith("EmbeddingPackedParamsBase"):
            return [Unpacked("weight", packed.unpack())], {}
        weight, bias = packed.unpack()
        # fbgemm's floating weights are of 16 bits, and are unpacked to 32.
        found = [Unpacked("weight", weight, is_half=not weight.is_quantized)]
        if bias is not None:
            found.append(Unpacked("bias", bias))
        is_conv = "LinearPacked" not in kind
        return found, {name: getattr(packed, name)() for name in _GEOMETRY} if is_conv else {}


def _of_cell(packed: Any) -> Iterator[Unpacked]:
    (_, _, _, _, halves), _ = packed.__getstate__()
    of_halves = [unpacked(half)[0] for half in halves]
    for position in (0, 1):
        for name, half in zip(("ih", "hh"), of_halves, strict=True):
            if position < len(half):
                found = half[position]
                yield Unpacked(f"{found.name}_{name}", found.tensor, found.is_half)


def scale_bytes(weight: torch.Tensor) -> int:
    """Bytes of a quantised tensor's scales and zero points, one pair or one for each channel, as torch stores them."""
    if not weight.is_quantized:
        return 0
    with without_modes():
        if weight.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            return 16  # a double and an int64
        return weight.q_per_channel_scales().nbytes + weight.q_per_channel_zero_points().nbytes


def packed_records(value: Any, find: Callable[[int, Any], Any]) -> Any:
    """The record of packed weights, or those of a list.

    torch hands on new Python objects of one and the same C++ object, whose address is the hash.
    """
    if isinstance(value, (list, tuple)):
        return [packed_records(item, find) for item in value]
    return find(hash(value), _Unknown()) if isinstance(value, torch.ScriptObject) else value


class _Unknown:
    """In the place of packed weights that have no record yet: equal to nothing else."""


def expand(bound: Arguments, name: str) -> None:
    """Replaces packed weights among an op's arguments by their tensors, and adds the geometry of a convolution."""
    value = bound[name]
    if isinstance(value, Packed):
        bound[name] = list(value.tensors)
        bound.update(value.geometry)
    elif isinstance(value, list):
        bound[name] = [tensor for item in value if isinstance(item, Packed) for tensor in item.tensors]
