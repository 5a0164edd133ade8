"""An op's arguments by the names of its schema, with every default filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch._ops import OpOverload

from costmodel.graph import Arguments, TensorSpec
from costmodel.trace.specs import DTYPE_NAME

_OMITTED = frozenset({"device", "layout", "pin_memory", "generator"})
"""Arguments that say where a tensor lives, not what it costs."""


Known: TypeAlias = Callable[[int, Any], Any]
"""Gives the record of a tensor by its identity, or else its own second argument."""
Described: TypeAlias = Callable[[Sequence[Any], Known], tuple[list[Any], tuple[Any, ...]]]


class Signature:
    """What a schema says of an op: its argument names, defaults and aliases."""

    def __init__(self, op: OpOverload) -> None:
        self.op = op
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
        self.describe = Describers(op, tuple(kinds.values()))
        self.enumerations = tuple(n for n in ("dtype", "memory_format") if n in kinds)
        self.omitted = tuple(_OMITTED & kinds.keys())
        first = arguments[0].alias_info if arguments else None
        self.is_inplace = first is not None and first.is_write and str(arguments[0].type) == "Tensor"
        self.returns_nothing = not op._schema.returns
        self.returns_list = any(str(r.type).startswith("List") for r in op._schema.returns)
        self.is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in op._schema.returns)

    def described(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], known: Known
    ) -> tuple[list[Any], Mapping[str, Any], tuple[Any, ...]]:
        """Arguments by position and by keyword with records for tensors, and what all calls like this one share."""
        given, key = self.describe[len(args)](args, known)
        if not kwargs:
            return given, kwargs, key
        named, more = {}, list(key)
        for name, value in kwargs.items():
            spec = named[name] = _listed(value, known) if type(value) is list else known(id(value), value)
            more += name, _alike(spec)
        return given, named, tuple(more)

    def bind(self, given: Sequence[Any], named: Mapping[str, Any]) -> Arguments:
        """The arguments by name, from those given by position and by keyword, with records in the place of tensors."""
        bound: Arguments = dict(zip(self.names, given, strict=False))
        if named:
            bound.update(named)
            for name in self.outs:
                bound.pop(name, None)
        if len(bound) < len(self.names):
            bound = self.defaults | bound
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


def _alike(value: Any) -> Any:
    """What is compared instead of an argument: 1, 1.0 and True are equal, and not the same to torch."""
    if type(value) is TensorSpec:
        return value.form
    return tuple(map(_alike, value)) if type(value) is list else (type(value), value)


def _listed(values: Iterable[Any], known: Known) -> list[Any]:
    return [known(id(value), value) for value in values]


class Describers(dict[int, Described]):
    """By how many arguments are given by position: what ``described`` does without keywords.

    Every op passes here, and a function written out for its kinds of arguments takes a third of the time of a loop.

    >>> print(_source(("Tensor", "number", "bool")))
    def describe(args, known):
        a0, a1, a2, = args
        a0 = known(id(a0), a0)
        return [a0, a1, a2], (op, a0.form if type(a0) is TensorSpec else alike(a0), alike(a1), a2,)
    """

    def __init__(self, op: OpOverload, kinds: Sequence[str]) -> None:
        self._op, self._kinds = op, kinds

    def __missing__(self, n: int) -> Described:
        scope: dict[str, Any] = {"op": id(self._op), "alike": _alike, "listed": _listed, "TensorSpec": TensorSpec}
        exec(_source(self._kinds[:n]), scope)
        describe: Described = scope["describe"]
        self[n] = describe
        return describe


def _source(kinds: Sequence[str]) -> str:
    names, lines, parts = [], [], ["op"]
    for i, kind in enumerate(kinds):
        a = f"a{i}"
        names.append(a)
        if "List[" in kind and "Tensor" in kind:
            lines.append(f"    {a} = {a} and listed({a}, known)")
            parts.append(f"alike({a})")
        elif "Tensor" in kind:
            lines.append(f"    {a} = known(id({a}), {a})")
            parts.append(f"{a}.form if type({a}) is TensorSpec else alike({a})")
        elif "List[int]" in kind:
            parts.append(f"None if {a} is None else tuple({a})")
        elif "List[" in kind or "number" in kind:
            parts.append(f"alike({a})")
        else:
            parts.append(a)
    unpack = [f"    {', '.join(names)}, = args"] if names else []
    result = f"    return [{', '.join(names)}], ({', '.join(parts)},)"
    return "\n".join(["def describe(args, known):", *unpack, *lines, result])


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
