"""An op's arguments: by the names of its schema, with every default filled in, and as a key of the dispatch cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from costmodel.graph import Arguments, TensorSpec
from costmodel.torch_private import OpOverload, schema_of
from costmodel.trace.packed import Packed, expand, packed_records
from costmodel.trace.specs import DTYPE_NAME

_OMITTED = frozenset({"device", "layout", "pin_memory", "generator"})
"""Arguments that say where a tensor lives, not what it costs."""


FindRecord: TypeAlias = Callable[[int, Any], Any]
"""Gives the record of a tensor by its ``id()``, or else its own second argument."""

_PLAIN, _TENSOR, _TENSORS, _SIZES, _NUMBER, _PACKED = range(6)
"""How an argument enters a key: flags and texts as they are, numbers with their types, tensors by their metadata."""


def _kind(schema_type: str) -> int:
    is_list = "List[" in schema_type
    if "ParamsBase" in schema_type:
        return _PACKED
    if "Tensor" in schema_type:
        return _TENSORS if is_list else _TENSOR
    if "List[int]" in schema_type:
        return _SIZES
    return _NUMBER if is_list or "number" in schema_type else _PLAIN


class Signature:
    """What a schema says of an op: its argument names, defaults and aliases."""

    def __init__(self, op: OpOverload) -> None:
        self.op, self._id = op, id(op)
        schema = schema_of(op)
        arguments = [a for a in schema.arguments if not a.is_out]
        self.outs = tuple(a.name for a in schema.arguments if a.is_out)
        self._written = tuple(
            (i, a.name) for i, a in enumerate(schema.arguments) if a.alias_info is not None and a.alias_info.is_write
        )
        types = {a.name: str(a.type) for a in arguments}
        self.names = tuple(types)
        self.takes = tuple(types.items())
        self.defaults = {a.name: a.default_value for a in arguments if a.has_default_value()}
        kinds = tuple(map(_kind, types.values()))
        self._not_plain = tuple((i, kind) for i, kind in enumerate(kinds) if kind != _PLAIN)
        self.packed = tuple(name for name, kind in zip(types, kinds, strict=True) if kind == _PACKED)
        """Arguments that are packed weights, or lists of those."""
        self._enumerations = tuple(n for n in types if n.endswith("dtype") or n == "memory_format")
        self._omitted = tuple(_OMITTED & types.keys())
        first = arguments[0].alias_info if arguments else None
        written = str(arguments[0].type) if first is not None and first.is_write else ""
        self.is_inplace = written == "Tensor"
        self.writes_lists = written == "List[Tensor]" and not schema.returns
        self.returns_nothing = not schema.returns
        self.returns_list = any(str(r.type).startswith("List") for r in schema.returns)
        self.is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)

    def read(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], find: FindRecord
    ) -> tuple[list[Any], Mapping[str, Any], tuple[Any, ...]]:
        """Arguments by position and by keyword with records in the place of tensors, and the dispatch cache's key."""
        given, key, n = [*args], [self._id, *args], len(args)
        # Of batch norm's nine arguments five are looked at: 0.8 µs, where a loop over all of them takes 1.7.
        for i, kind in self._not_plain:
            if i >= n:
                break
            value = args[i]
            if kind is _TENSOR:
                if value is not None:
                    record = given[i] = find(id(value), value)
                    key[i + 1] = record.meta if type(record) is TensorSpec else _key_part(record)
            elif kind is _SIZES:
                if value is not None:
                    key[i + 1] = tuple(value)
            elif kind is _PACKED:
                given[i] = record = packed_records(value, find)
                key[i + 1] = _key_part(record)
            else:
                if kind is _TENSORS and value:
                    given[i] = _with_records(value, find)
                key[i + 1] = _key_part(given[i])
        if not kwargs:
            return given, kwargs, tuple(key)
        named = {}
        for name, value in kwargs.items():
            record = named[name] = _with_records(value, find) if type(value) is list else find(id(value), value)
            key += name, _key_part(record)
        return given, named, tuple(key)

    def bind(self, given: Sequence[Any], named: Mapping[str, Any]) -> Arguments:
        """The arguments by name, from those given by position and by keyword, with records in the place of tensors."""
        bound: Arguments = dict(zip(self.names, given, strict=False))
        if named:
            bound.update(named)
            for name in self.outs:
                bound.pop(name, None)
        if len(bound) < len(self.names):
            bound = self.defaults | bound
        for name in self.packed:
            expand(bound, name)
        for name in self._enumerations:
            bound[name] = plain(bound[name])
        for name in self._omitted:
            del bound[name]
        return bound

    def written_names(self) -> tuple[str, ...]:
        """The names of the arguments that the op writes into."""
        return tuple(name for _, name in self._written)

    def written(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """The arguments that the op writes into."""
        return [
            kwargs[name] if name in kwargs else args[i] for i, name in self._written if name in kwargs or i < len(args)
        ]


def _key_part(value: Any) -> Any:
    """What stands for an argument in a key: 1, 1.0 and True are equal, and not the same to torch."""
    if type(value) is TensorSpec:
        return value.meta
    if type(value) is Packed:
        return value.key
    return tuple(map(_key_part, value)) if type(value) is list else (type(value), value)


def _with_records(values: Iterable[Any], find: FindRecord) -> list[Any]:
    return [find(id(value), value) for value in values]


def plain(value: Any) -> Any:
    """torch's own enumerations as strings, all else as it is."""
    if isinstance(value, torch.dtype):
        return DTYPE_NAME[value]
    if isinstance(value, torch.memory_format):
        return str(value).removeprefix("torch.")
    return value


SIGNATURES: dict[int, Signature] = {}
"""By the op's identity: an ``OpOverload`` has its hash worked out by Python code."""


def signature(op: OpOverload) -> Signature:
    """The signature of an op; reading a schema takes about 20 µs, so it is read once."""
    known = SIGNATURES.get(id(op))
    if known is None:
        known = SIGNATURES[id(op)] = Signature(op)
    return known
