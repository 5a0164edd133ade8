"""Validates JSON by a JSON Schema (draft 2020-12), in the keywords that ``views/profile.schema.json`` uses.

jsonschema, which knows all keywords, takes two seconds for the megabyte of a large network; this takes a tenth of that.
A test holds it to jsonschema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from reprlib import repr as short
from typing import Any, TypeAlias

DEEPEST = 64
"""Levels of nesting that are read. A schema that refers to itself would else allow more than Python can follow."""

Check: TypeAlias = Callable[[Any, int], str | None]
"""Takes a value and how deeply it is nested; returns what is wrong with it, after where, or ``None``."""

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda v: type(v) is dict,
    "array": lambda v: type(v) is list,
    "string": lambda v: type(v) is str,
    "boolean": lambda v: type(v) is bool,
    "integer": lambda v: type(v) is int,
    "number": lambda v: type(v) in (int, float),
    "null": lambda v: v is None,
}
_DESCRIPTIVE = {"$schema", "$id", "$defs", "title", "description"}


def validator(schema: Mapping[str, Any]) -> Callable[[Any], str | None]:
    """A function that says what is wrong with a document, and where; ``None`` where it is valid.

    >>> check = validator({"type": "array", "items": {"type": "integer", "minimum": 0}})
    >>> check([1, 2]), check([1, -2]), check({})
    (None, '[1]: -2 is less than 0', ': {} is not of type array')
    """
    check = _Compiler(schema).check_of(schema)
    return lambda document: check(document, 0)


class _Compiler:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._named: dict[str, Check] = {}

    def check_of(self, schema: Mapping[str, Any] | bool) -> Check:
        """The check of a schema: the checks of its keywords, one after the other."""
        if isinstance(schema, bool):
            return lambda value, _: None if schema else f": {short(value)} is not expected"
        checks = [getattr(self, f"_{key.removeprefix('$')}")(schema) for key in schema if key not in _DESCRIPTIVE]
        if len(checks) == 1:
            only: Check = checks[0]
            return only

        def check(value: Any, depth: int) -> str | None:
            for part in checks:
                wrong: str | None = part(value, depth)
                if wrong is not None:
                    return wrong
            return None

        return check

    def _ref(self, schema: Mapping[str, Any]) -> Check:
        name = schema["$ref"].rpartition("/")[2]
        if name not in self._named:
            self._named[name] = lambda value, depth: self._named[name](value, depth)  # it may refer to itself
            self._named[name] = self.check_of(self._root["$defs"][name])
        return lambda value, depth: self._named[name](value, depth)

    def _type(self, schema: Mapping[str, Any]) -> Check:
        names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        tests = [_TYPES[name] for name in names]
        said = " or ".join(names)
        return lambda value, _: (
            None if any(test(value) for test in tests) else f": {short(value)} is not of type {said}"
        )

    def _const(self, schema: Mapping[str, Any]) -> Check:
        return self._enum({"enum": [schema["const"]]})

    def _enum(self, schema: Mapping[str, Any]) -> Check:
        choices = schema["enum"]
        return lambda value, _: (
            None
            if any(type(value) is type(c) and value == c for c in choices)
            else f": {short(value)} is none of {choices}"
        )

    def _minimum(self, schema: Mapping[str, Any]) -> Check:
        least = schema["minimum"]
        return lambda value, _: (
            f": {short(value)} is less than {least}" if type(value) in (int, float) and value < least else None
        )

    def _pattern(self, schema: Mapping[str, Any]) -> Check:
        pattern = re.compile(schema["pattern"])
        return lambda value, _: (
            f": {short(value)} does not match {pattern.pattern}"
            if type(value) is str and not pattern.search(value)
            else None
        )

    def _size(
        self, kind: type[list[Any]] | type[dict[str, Any]], at: str, sign: int, schema: Mapping[str, Any]
    ) -> Check:
        limit, said = schema[at], "fewer" if sign > 0 else "more"
        return lambda value, _: (
            f": has {said} than {limit} parts" if isinstance(value, kind) and sign * (len(value) - limit) < 0 else None
        )

    def _minItems(self, schema: Mapping[str, Any]) -> Check:  # noqa: N802  # the keyword's name
        return self._size(list, "minItems", 1, schema)

    def _maxItems(self, schema: Mapping[str, Any]) -> Check:  # noqa: N802
        return self._size(list, "maxItems", -1, schema)

    def _minProperties(self, schema: Mapping[str, Any]) -> Check:  # noqa: N802
        return self._size(dict, "minProperties", 1, schema)

    def _maxProperties(self, schema: Mapping[str, Any]) -> Check:  # noqa: N802
        return self._size(dict, "maxProperties", -1, schema)

    def _required(self, schema: Mapping[str, Any]) -> Check:
        required = schema["required"]

        def check(value: Any, _: int) -> str | None:
            if type(value) is dict:
                for name in required:
                    if name not in value:
                        return f": {name!r} is missing"
            return None

        return check

    def _items(self, schema: Mapping[str, Any]) -> Check:
        each, first = self.check_of(schema["items"]), len(schema.get("prefixItems", ()))

        def check(value: Any, depth: int) -> str | None:
            if type(value) is list:
                for i in range(first, len(value)):
                    if (wrong := _inside(each, value[i], depth)) is not None:
                        return f"[{i}]{wrong}"
            return None

        return check

    def _prefixItems(self, schema: Mapping[str, Any]) -> Check:  # noqa: N802
        parts = [self.check_of(part) for part in schema["prefixItems"]]

        def check(value: Any, depth: int) -> str | None:
            if type(value) is list:
                for i, (part, item) in enumerate(zip(parts, value, strict=False)):
                    if (wrong := _inside(part, item, depth)) is not None:
                        return f"[{i}]{wrong}"
            return None

        return check

    def _properties(self, schema: Mapping[str, Any]) -> Check:
        named = {name: self.check_of(part) for name, part in schema["properties"].items()}

        def check(value: Any, depth: int) -> str | None:
            if type(value) is dict:
                for name, item in value.items():
                    if name in named and (wrong := _inside(named[name], item, depth)) is not None:
                        return f".{name}{wrong}"
            return None

        return check

    def _additionalProperties(self, schema: Mapping[str, Any]) -> Check:  # noqa: N802
        named, other = schema.get("properties", {}), self.check_of(schema["additionalProperties"])

        def check(value: Any, depth: int) -> str | None:
            if type(value) is dict:
                for name, item in value.items():
                    if name not in named and (wrong := _inside(other, item, depth)) is not None:
                        return f".{short(name)}{wrong}"
            return None

        return check

    def _oneOf(self, schema: Mapping[str, Any]) -> Check:  # noqa: N802
        choices = [self.check_of(choice) for choice in schema["oneOf"]]

        def check(value: Any, depth: int) -> str | None:
            wrongs = [wrong for choice in choices if (wrong := choice(value, depth)) is not None]
            if len(wrongs) == len(choices) - 1:
                return None
            # That of the choice that fits best: what is wrong with it lies deepest inside.
            return max(wrongs, key=lambda wrong: len(wrong.partition(": ")[0]), default=": fits several choices")

        return check


def _inside(check: Check, value: Any, depth: int) -> str | None:
    return f": is nested more than {DEEPEST} levels deep" if depth >= DEEPEST else check(value, depth + 1)
