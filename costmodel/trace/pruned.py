"""Pruned weights: how many of their elements masks make zero, wherever the forward takes them.

Masks are buffers of zeros and ones, which a model multiplies its parameters by: those of ``torch.nn.utils.prune``, of
parametrisations, and of layers of one's own. Zeros of a weight's own, which stay when masks are removed, are values
like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import field

import torch
from torch import nn

from costmodel.graph import TensorSpec
from costmodel.records import dataclass
from costmodel.torch_private import registered_on, without_modes
from costmodel.trace.tensor_table import LAZY, TensorTable

_PARAMETER, _MASK = "_orig", "_mask"
"""What torch appends to a parameter's name to call the dense parameter, and the buffer that it is multiplied by."""

Masks = dict[TensorSpec, torch.Tensor]
"""By a tensor's record, which of its elements may be other than zero."""


@dataclass
class Pruning:
    """The masks that a model has."""

    masks: Masks = field(default_factory=dict)
    """Buffers of zeros and ones."""
    computed: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    """By ``id()``, masked weights that ``torch.nn.utils.prune`` has left as attributes, each with its mask. A module
    makes its own anew when it is called; some, as attention's output projection, never are."""
    may_be: bool = False
    """Whether it has buffers that are masks if their values are zeros and ones."""

    def __bool__(self) -> bool:
        return bool(self.masks)


def pruning_of(modules: Iterable[nn.Module], table: TensorTable) -> Pruning:
    """The masks of a model. Parameters that ``torch.nn.utils.prune`` masks get their zeros at once."""
    found = Pruning()
    infos = table.log.modules_by_id
    shapes: set[tuple[int, ...]] = set()
    for module in modules:
        buffers = infos[id(module)].buffers
        if not buffers:
            continue
        # The vectors of torch's own modules are statistics.
        least = 2 if type(module).__module__.startswith("torch.nn.") else 1
        if all(len(spec.shape) < least for spec in buffers):
            continue
        shapes = shapes or {parameter.shape for info in infos.values() for parameter in info.parameters}
        for buffer in registered_on(module)[1].values():
            if buffer is None or type(buffer) in LAZY:
                continue
            if buffer.dim() >= least and _fits_any(tuple(buffer.shape), shapes):
                found.may_be = True
                _add(found.masks, table.spec(buffer), buffer)
    if "torch.nn.utils.prune" in sys.modules:
        for module in modules:
            _add_pruned(found, module, table)
    return found


def _add_pruned(found: Pruning, module: nn.Module, table: TensorTable) -> None:
    parameters, buffers, _ = registered_on(module)
    for name, parameter in parameters.items():
        if parameter is None or not name.endswith(_PARAMETER):
            continue
        weight = name.removesuffix(_PARAMETER)
        mask = buffers.get(weight + _MASK)
        if mask is not None and mask.shape == parameter.shape:
            found.may_be = True
            _add(found.masks, table.spec(mask), mask)
            nonzero = found.masks.get(table.spec(mask))
            if nonzero is not None:
                table.spec(parameter).zeros = zeros_of(nonzero)
                computed = vars(module).get(weight)
                if isinstance(computed, torch.Tensor):
                    found.computed[id(computed)] = computed, nonzero


def _fits_any(shape: tuple[int, ...], of_parameters: Iterable[tuple[int, ...]]) -> bool:
    """Whether a mask of this shape covers a parameter, rows or channels of it at once among others."""
    if len(shape) == 1:
        return any(shape[0] in whole for whole in of_parameters)
    return any(
        len(shape) == len(whole) and all(n in (1, m) for n, m in zip(shape, whole, strict=True))
        for whole in of_parameters
    )


def _add(masks: Masks, spec: TensorSpec, buffer: torch.Tensor) -> None:
    if spec in masks or buffer.is_meta or buffer.is_complex() or buffer.layout is not torch.strided:
        return
    with without_modes():
        nonzero = buffer != 0
        if not bool(nonzero.all()) and bool((buffer.to(torch.float32) == nonzero).all()):
            masks[spec] = nonzero


def zeros_of(mask: torch.Tensor) -> int:
    """How many elements a mask makes zero."""
    return mask.numel() - int(mask.count_nonzero())
