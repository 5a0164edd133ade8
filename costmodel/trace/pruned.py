"""Parameters that ``torch.nn.utils.prune`` masks: how many of their elements are zero."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from torch import nn

from costmodel.torch_private import registered_on
from costmodel.trace.tensor_table import TensorTable

_PARAMETER, _MASK = "_orig", "_mask"
"""What torch appends to a parameter's name to call the dense parameter, and the buffer that it is multiplied by."""


def record_pruned(modules: Iterable[nn.Module], table: TensorTable) -> None:
    """Records the zeros of every mask that has values, with the parameter that is masked."""
    if "torch.nn.utils.prune" not in sys.modules:
        return
    for module in modules:
        parameters, buffers, _ = registered_on(module)
        for name, parameter in parameters.items():
            if parameter is None or not name.endswith(_PARAMETER):
                continue
            mask = buffers.get(name.removesuffix(_PARAMETER) + _MASK)
            if mask is not None and not mask.is_meta and mask.shape == parameter.shape:
                table.spec(parameter).zeros = mask.numel() - int(mask.count_nonzero())
