"""Indices that have values are held to the size of what they index: on meta no kernel reads them, and none refuses one.

A table of learnt positions is one: its indices are an ``arange``, which has values, as long as the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from costmodel.records import dataclass
from costmodel.torch_private import is_transformed, without_modes
from costmodel.trace.dispatch_cache import CachedOutput, Invocation
from costmodel.trace.events import Bind
from costmodel.trace.executor import map_leaves
from costmodel.trace.tensor_table import PLAIN_TENSORS, TensorTable
from costmodel.trace.traced_tensor import is_on_meta
from costmodel.trace.values import SMALL

Indices = Callable[[Mapping[str, Any]], Iterable[tuple[Any, range]]]
"""What ``Rule.indices`` is."""

_INTEGERS = frozenset({torch.int64, torch.int32})


@dataclass(slots=True, eq=False)
class Indexed(CachedOutput):
    """Of an op that takes indices: of their values, which may be known, the key says nothing."""

    indices: Indices
    cached: CachedOutput
    """How it is answered."""

    def answer(self, table: TensorTable, invocation: Invocation) -> Any:
        """What the op returns, if no index is out of range."""
        require_in_range(table, self.indices, self.bind, invocation)
        return self.cached.answer(table, invocation)


def require_in_range(table: TensorTable, indices: Indices, bind: Bind, invocation: Invocation) -> None:
    """Raises what torch raises where an index, as far as its values are known, is one of nothing."""
    op, args, kwargs, _, _ = invocation
    if is_transformed():
        return  # shapes are those inside of a transform
    for index, allowed in indices(bind(list(args), kwargs)):
        if _has_values(table, index):
            with without_modes():
                if int(index.min()) not in allowed or int(index.max()) not in allowed:
                    op(*map_leaves(args, _with_values), **map_leaves(dict(kwargs), _with_values))


def _has_values(table: TensorTable, index: torch.Tensor) -> bool:
    if type(index) not in PLAIN_TENSORS or index.dtype not in _INTEGERS or is_on_meta(index):
        return False
    known = table.specs.get(id(index))
    return known is not None and known.storage not in table.stale and 0 < index.numel() <= SMALL


def _with_values(tensor: torch.Tensor) -> torch.Tensor:
    """Zeros, which take the memory of one, in the place of a tensor without values."""
    return torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) if is_on_meta(tensor) else tensor
