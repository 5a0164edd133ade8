"""An op's arguments by the names of its schema, with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import torch
from torch._ops import OpOverload

from costmodel.graph import Arguments, TensorSpec
from costmodel.trace.specs import DTYPE_NAME

_OMITTED = frozenset({"device", "layout", "pin_memory", "generator"})
"""Arguments that say where a tensor lives, not what it costs."""


class Specs(Protocol):
    """Where the records of tensors are looked up."""

    specs: dict[int, TensorSpec]

    def spec(self, tensor: torch.Tensor) -> TensorSpec:
        """The record of a tensor."""


class Signature:
    """What a schema says of an op: its argument names, defaults and aliases."""

    def __init__(self, op: OpOverload) -> None:
        arguments = [a for a in op._schema.arguments if not a.is_out]
        self.outs = tuple(a.name for a in op._schema.arguments if a.is_out)
        self._written = tuple(
            (i, a.name)
            for i, a in enumerate(op._schema.arguments)
            if a.alias_info is not None and a.alias_info.is_write
        )
        kinds = {a.name: str(a.type) for a in arguments}
        self.names = tuple(a.name for a in arguments)
        self.takes = tuple(kinds.items())
        self.defaults = {a.name: a.default_value for a in arguments if a.has_default_value()}
        self.tensors = tuple(n for n, k in kinds.items() if k in ("Tensor", "Optional[Tensor]"))
        self.tensor_lists = tuple(n for n, k in kinds.items() if k.startswith("List[") and "Tensor" in k)
        self.enumerations = tuple(n for n in ("dtype", "memory_format") if n in kinds)
        self.omitted = tuple(_OMITTED & kinds.keys())
        first = arguments[0].alias_info if arguments else None
        self.is_inplace = first is not None and first.is_write and arguments[0].name in self.tensors
        self.returns_list = any(str(r.type).startswith("List") for r in op._schema.returns)
        self.is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in op._schema.returns)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any], recorder: Specs) -> Arguments:
        """The call's arguments by name, tensors as their records."""
        bound: Arguments = dict(zip(self.names, args, strict=False))
        if kwargs:
            bound.update(kwargs)
            for name in self.outs:
                bound.pop(name, None)
        if len(bound) < len(self.names):
            bound = self.defaults | bound
        specs = recorder.specs
        for name in self.tensors:
            value = bound[name]
            if value is not None:
                bound[name] = specs.get(id(value)) or _spec(value, recorder)
        for name in self.tensor_lists:
            value = bound[name]
            if value is not None:
                bound[name] = [specs.get(id(t)) or _spec(t, recorder) for t in value]
        for name in self.enumerations:
            bound[name] = plain(bound[name])
        for name in self.omitted:
            del bound[name]
        return bound

    def written(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """The arguments that the op writes into."""
        return [
            kwargs[name] if name in kwargs else args[i] for i, name in self._written if name in kwargs or i < len(args)
        ]


def _spec(value: Any, recorder: Specs) -> Any:
    # A number may stand where the schema says Tensor, and None in a list of tensors.
    return recorder.spec(value) if isinstance(value, torch.Tensor) else value


def plain(value: Any) -> Any:
    """torch's own enumerations as strings, all else as it is."""
    if isinstance(value, torch.dtype):
        return DTYPE_NAME[value]
    if isinstance(value, torch.memory_format):
        return str(value).removeprefix("torch.")
    return value


@cache
def signature(op: OpOverload) -> Signature:
    """The signature of an op; reading a schema takes about 20 µs, so it is read once."""
    return Signature(op)
